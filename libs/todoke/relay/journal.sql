-- name: say_about_messages!
-- Write new events of messages into the journal and point to them in the outbox; a fact already said stays said once.
-- What no request caused (a timer did) carries the trace of what this service said of the message before.
WITH said AS (
    INSERT INTO journal (message_id, event_id, key, type, version, payload, traceparent, recorded_at)
    SELECT subject_id, event_id, key, type, version, payload, coalesce(traceparent, (
               SELECT told.traceparent FROM journal told
               WHERE told.message_id = subject_id AND told.message_id BETWEEN :low AND :high
                 AND told.traceparent IS NOT NULL ORDER BY told.seq LIMIT 1
           )), :recorded_at
    FROM unnest(:subject_ids::uuid[], :event_ids::uuid[], :keys::text[], :types::text[], :versions::smallint[],
                :payloads::json[], :traceparents::text[])
        WITH ORDINALITY AS new (subject_id, event_id, key, type, version, payload, traceparent, place)
    ORDER BY place
    ON CONFLICT DO NOTHING
    RETURNING seq, message_id, event_id
)
INSERT INTO outbox (seq, subject_id, event_id, about_office)
SELECT seq, message_id, event_id, false FROM said;

-- name: say_about_offices!
-- The same for events about offices and other subjects.
WITH said AS (
    INSERT INTO journal_office (subject_id, event_id, subject, key, type, version, payload, traceparent, recorded_at)
    SELECT subject_id, event_id, subject, key, type, version, payload, traceparent, :recorded_at
    FROM unnest(:subject_ids::uuid[], :event_ids::uuid[], :subjects::text[], :keys::text[], :types::text[],
                :versions::smallint[], :payloads::json[], :traceparents::text[])
        WITH ORDINALITY AS new (subject_id, event_id, subject, key, type, version, payload, traceparent, place)
    ORDER BY place
    ON CONFLICT DO NOTHING
    RETURNING seq, subject_id, event_id
)
INSERT INTO outbox (seq, subject_id, event_id, about_office)
SELECT seq, subject_id, event_id, true FROM said;

-- name: oldest_unsaid
-- The oldest rows that Kafka has not acknowledged, with what they point at (OFFSET 0 keeps the lookups by key).
SELECT o.seq, o.subject_id, o.event_id, o.about_office, j.subject, j.key, j.type, j.version, j.payload, j.traceparent,
       j.recorded_at
FROM (SELECT seq, subject_id, event_id, about_office FROM outbox ORDER BY seq LIMIT :rows_max) o
CROSS JOIN LATERAL (
    SELECT message_id::text AS subject, key, type, version, payload::text AS payload, traceparent, recorded_at
    FROM journal WHERE message_id = o.subject_id AND event_id = o.event_id AND NOT o.about_office
    UNION ALL
    SELECT subject, key, type, version, payload::text, traceparent, recorded_at
    FROM journal_office WHERE subject_id = o.subject_id AND event_id = o.event_id AND o.about_office
    OFFSET 0
) j
ORDER BY o.seq;

-- name: acknowledged!
-- Forget rows that Kafka holds now, and note in the same breath how far the log goes (the marks move up only). A log that
-- goes on below its mark was cut or made anew: suspect. Rows forgotten before, by another relay, say nothing about it.
WITH gone AS (DELETE FROM outbox WHERE seq = ANY(:seqs::bigint[]) RETURNING seq)
UPDATE own_log AS mark
SET next = greatest(mark.next, reached.next),
    event_id = CASE WHEN reached.next > mark.next THEN reached.event_id ELSE mark.event_id END,
    append_time = CASE WHEN reached.next > mark.next THEN reached.append_time ELSE mark.append_time END,
    suspect = mark.suspect OR reached.begins < mark.next
FROM unnest(:partitions::integer[], :begins::bigint[], :nexts::bigint[], :event_ids::text[], :append_times::bigint[])
    AS reached (partition, begins, next, event_id, append_time)
WHERE mark.partition = reached.partition AND EXISTS (SELECT FROM gone);

-- name: refused!
-- Set rows aside that the broker will never take.
WITH gone AS (DELETE FROM outbox WHERE seq = ANY(:seqs::bigint[]) RETURNING seq, subject_id, event_id, about_office)
INSERT INTO parked_out (seq, subject_id, event_id, about_office, error, refused_at)
SELECT seq, subject_id, event_id, about_office, :error, :refused_at FROM gone
ON CONFLICT DO NOTHING;

-- name: outbox_age^
-- How many rows wait, since when the oldest does, and the newest number of the journal.
SELECT (SELECT count(*) FROM outbox) AS waiting, coalesce(pg_sequence_last_value('journal_seq'), 0) AS last_seq,
       (SELECT coalesce(j.recorded_at, f.recorded_at)
        FROM (SELECT subject_id, event_id FROM outbox ORDER BY seq LIMIT 1) o
        LEFT JOIN journal j ON j.message_id = o.subject_id AND j.event_id = o.event_id
        LEFT JOIN journal_office f ON f.subject_id = o.subject_id AND f.event_id = o.event_id) AS oldest;

-- name: journal_of
-- Every event that this service said about a message, in the order it said them.
SELECT event_id, type, version, payload::text AS payload, recorded_at FROM journal
WHERE message_id = :message_id ORDER BY seq;

-- name: take_lease$
-- Take or keep a lease for some seconds; answers the owner if it is us.
INSERT INTO lease (name, owner, until) VALUES (:name, :owner, now() + :seconds * interval '1 second')
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
WHERE lease.owner = excluded.owner OR lease.until < now()
RETURNING owner;

-- name: drop_lease!
-- Give a lease back so that the next one need not wait.
UPDATE lease SET until = now() - interval '1 second' WHERE name = :name AND owner = :owner;

-- name: due_timer$
-- Take a timer's lease if it is due; answers true when this process shall run it.
INSERT INTO lease AS held (name, owner, until, last_run)
VALUES (:name, :owner, now() + :seconds * interval '1 second', now())
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until, last_run = now()
WHERE held.until < now() AND held.last_run <= now() - :every * interval '1 second'
RETURNING true;

-- name: notify$
-- Wake the relay that leads in another process.
SELECT pg_notify(:channel, '');

-- name: answers$
-- Whether the database answers at all.
SELECT 1;

-- name: default_partitions_used
-- Default partitions that rows have gone into: their month was missing (their size is known without a right to read).
SELECT c.relname AS name FROM pg_class c
WHERE c.relowner = (SELECT nspowner FROM pg_namespace WHERE nspname = current_schema()) AND c.relispartition
  AND pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT' AND pg_relation_size(c.oid) > 0
ORDER BY c.relname;

-- name: top_up_months$
-- Make the months ahead that are still missing.
SELECT top_up_months();
