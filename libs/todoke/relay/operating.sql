-- name: holds_page
-- Subjects that are held, oldest first, after a place in that order.
SELECT h.subject, h.state, h.nth, h.error, h.attempts, h.held_at, h.decided_at, h.decided_by,
       (SELECT count(*) FROM parked p WHERE p.subject = h.subject) AS records
FROM hold h
WHERE h.state IN ('held', 'retry', 'discard') AND (h.held_at, h.subject) > (:held_at, :subject)
ORDER BY h.held_at, h.subject LIMIT :rows_max;

-- name: hold_of^
-- The hold of one subject, whatever became of it.
SELECT h.subject, h.state, h.nth, h.error, h.attempts, h.held_at, h.decided_at, h.decided_by,
       (SELECT count(*) FROM parked p WHERE p.subject = h.subject) AS records
FROM hold h WHERE h.subject = :subject;

-- name: records_of
-- The first raw records of a subject, without their bodies.
SELECT topic, partition, log_offset, key, header_names, header_values, coalesce(octet_length(value), 0) AS bytes, error,
       parked_at
FROM parked WHERE subject = :subject ORDER BY id LIMIT :rows_max;

-- name: bodies_of
-- The first raw records of a subject, whole: to find out which message and which offices they are about.
SELECT key, header_names, header_values, value FROM parked WHERE subject = :subject ORDER BY id LIMIT :rows_max;

-- name: breaker_row^
-- Why the breaker is open and since when; nothing while it is closed.
SELECT reason, tripped_at FROM breaker;

-- name: open_breaker$
-- Stop consuming; answers true unless it had stopped already.
INSERT INTO breaker (reason, tripped_at) VALUES (:reason, :tripped_at) ON CONFLICT DO NOTHING RETURNING true;

-- name: close_breaker$
-- Consume again; answers true unless it did already.
DELETE FROM breaker RETURNING true;

-- name: offsets
-- How far each partition was heard.
SELECT topic, partition, next FROM consumer_offset ORDER BY topic, partition;

-- name: refused_out$
-- How many events the broker will never take.
SELECT count(*) FROM parked_out;

-- name: said_about
-- Every event that this service said about a message, and every act of an operator on it, oldest first.
SELECT seq, event_id, type, payload::text AS payload, recorded_at FROM journal WHERE message_id = :message_id
UNION ALL
SELECT seq, event_id, type, payload::text, recorded_at FROM journal_office WHERE subject_id = :message_id
ORDER BY seq;
