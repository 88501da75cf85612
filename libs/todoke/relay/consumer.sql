-- name: begin_partition^
-- How far this service has heard a partition; a partition never heard begins at 0.
WITH made AS (
    INSERT INTO consumer_offset (topic, partition, next) VALUES (:topic, :partition, 0)
    ON CONFLICT DO NOTHING
    RETURNING next, event_id, append_time
)
SELECT next, event_id, append_time FROM made
UNION ALL
SELECT next, event_id, append_time FROM consumer_offset WHERE topic = :topic AND partition = :partition
LIMIT 1;

-- name: advance
-- Move several partitions on, each only if it still stands where this process believes; answers those that moved.
UPDATE consumer_offset o
SET next = n.next, event_id = n.event_id, append_time = n.append_time
FROM unnest(:topics::text[], :partitions::integer[], :expected::bigint[], :nexts::bigint[], :event_ids::text[],
            :append_times::bigint[]) AS n (topic, partition, expected, next, event_id, append_time)
WHERE o.topic = n.topic AND o.partition = n.partition AND o.next = n.expected
RETURNING o.topic, o.partition;

-- name: advance_and_lock
-- The same, and with it what was decided of the subjects at hand, under lock and in key order: a retry cannot overtake.
WITH moved AS (
    UPDATE consumer_offset o
    SET next = n.next, event_id = n.event_id, append_time = n.append_time
    FROM unnest(:topics::text[], :partitions::integer[], :expected::bigint[], :nexts::bigint[], :event_ids::text[],
                :append_times::bigint[]) AS n (topic, partition, expected, next, event_id, append_time)
    WHERE o.topic = n.topic AND o.partition = n.partition AND o.next = n.expected
    RETURNING o.topic, o.partition
), locked AS (
    SELECT subject, state FROM hold WHERE subject = ANY(:subjects::text[]) ORDER BY subject FOR UPDATE
)
SELECT topic, partition, NULL::text AS subject, NULL::boolean AS is_held, NULL::text AS record FROM moved
UNION ALL
SELECT NULL, NULL, l.subject, l.state IN ('held', 'retry', 'discard'), g.record
FROM locked l LEFT JOIN given_up g ON g.subject = l.subject;

-- name: start_over!
-- The log is not the one this offset was about: hear it from its beginning, which is harmless.
UPDATE consumer_offset SET next = :next, event_id = NULL, append_time = NULL
WHERE topic = :topic AND partition = :partition AND next = :expected;

-- name: park!
-- Keep raw records until an operator decides about their subject.
INSERT INTO parked (subject, topic, partition, log_offset, record, append_time, key, header_names, header_values, value,
                    error, parked_at)
VALUES (:subject, :topic, :partition, :log_offset, :record, :append_time, :key, :header_names, :header_values, :value,
        :error, :parked_at)
ON CONFLICT (topic, partition, log_offset) DO NOTHING;

-- name: hold_subject$
-- Hold a subject; one that was released before is held again. Answers the how-manieth hold this is.
INSERT INTO hold (subject, state, cause, error, attempts, held_at)
VALUES (:subject, 'held', :cause, :error, :attempts, :held_at)
ON CONFLICT (subject) DO UPDATE
SET state = 'held', cause = excluded.cause, error = excluded.error, attempts = hold.attempts + excluded.attempts,
    held_at = excluded.held_at, nth = hold.nth + (hold.state IN ('released', 'discarded'))::int
RETURNING nth;

-- name: decided^
-- One subject that an operator wants retried or discarded.
SELECT subject, state FROM hold WHERE state IN ('retry', 'discard') ORDER BY decided_at NULLS FIRST LIMIT 1;

-- name: lock_hold^
-- A held subject under lock.
SELECT subject, state, nth, reason_sealed, decided_by FROM hold WHERE subject = :subject FOR UPDATE;

-- name: parked_of
-- The parked records of a subject in the order they came.
SELECT id, topic, partition, log_offset, append_time, key, header_names, header_values, value FROM parked
WHERE subject = :subject ORDER BY id;

-- name: unpark!
-- The parked records of a subject are dealt with.
DELETE FROM parked WHERE subject = :subject;

-- name: give_up!
-- The records of a discarded subject are passed over from now on, however often the log is heard.
INSERT INTO given_up (subject, record, given_up_at)
SELECT DISTINCT subject, record, :given_up_at::timestamptz FROM parked WHERE subject = :subject
ON CONFLICT DO NOTHING;

-- name: settle_hold!
-- The end of a hold, or its continuation after a retry that failed.
UPDATE hold SET state = :state, cause = coalesce(:cause, cause), error = coalesce(:error, error),
    attempts = attempts + :attempts
WHERE subject = :subject;

-- name: decide$
-- An operator's word about a held subject; answers its number of parked records, or nothing if it is not held.
UPDATE hold SET state = :state, decided_at = :decided_at, decided_by = :decided_by, reason_sealed = :reason_sealed
WHERE subject = :subject AND state = 'held'
RETURNING (SELECT count(*) FROM parked WHERE parked.subject = hold.subject);

-- name: try_set_aside!
-- Have what was set aside for a cause tried again: half a minute after the last try, ever later, an hour at most.
UPDATE hold SET state = 'retry', decided_at = :now, decided_by = NULL, reason_sealed = NULL
WHERE state = 'held' AND cause = :cause
    AND coalesce(decided_at, held_at) + least(attempts * 30, 3600) * interval '1 second' <= :now;

-- name: holds
-- Every subject that is held, oldest first.
SELECT h.subject, h.state, h.cause, h.error, h.attempts, h.held_at,
       (SELECT count(*) FROM parked p WHERE p.subject = h.subject) AS records
FROM hold h WHERE h.state IN ('held', 'retry', 'discard') ORDER BY h.held_at LIMIT :rows_max;

-- name: count_holds$
-- How many subjects wait for an operator.
SELECT count(*) FROM hold WHERE state IN ('held', 'retry', 'discard') AND cause = 'parked';

-- name: breaker$
-- Why the breaker is open, or nothing.
SELECT reason FROM breaker;

-- name: trip_breaker!
-- Stop consuming until an operator looks.
INSERT INTO breaker (reason, tripped_at) VALUES (:reason, :tripped_at) ON CONFLICT DO NOTHING;

-- name: reset_breaker!
-- Consume again.
DELETE FROM breaker;

-- name: start_instance$
-- Note that an instance runs; answers whether it ended by itself the last time (nothing for a new one).
WITH before AS (SELECT clean FROM running WHERE instance = :instance),
     noted AS (
        INSERT INTO running (instance, clean, started_at) VALUES (:instance, false, :started_at)
        ON CONFLICT (instance) DO UPDATE SET clean = false, started_at = excluded.started_at
     )
SELECT clean FROM before;

-- name: end_instance!
-- Note that an instance ended by itself.
UPDATE running SET clean = true WHERE instance = :instance;

-- name: suspect$
-- Count a try at one record before it is made; a record that keeps killing the process is found by this.
INSERT INTO suspect (topic, partition, log_offset, attempts) VALUES (:topic, :partition, :log_offset, 1)
ON CONFLICT (topic, partition, log_offset) DO UPDATE SET attempts = suspect.attempts + 1
RETURNING attempts;

-- name: clear_suspects!
-- Nothing is suspected any more.
DELETE FROM suspect;
