-- name: standing^
-- The read set beside the live one, if there is any; it is not removed before this transaction ends.
SELECT run, began_at, kept_until, abandoned FROM rebuild FOR KEY SHARE;

-- name: begin$
-- Note that a read set is built; answers nothing when there is one already.
INSERT INTO rebuild (run, began_at) VALUES (:run, :now) ON CONFLICT DO NOTHING RETURNING true;

-- name: make$
-- Make its empty tables.
SELECT make_beside();

-- name: abandon!
-- Nobody wants it any more; the process that fills it removes it.
UPDATE rebuild SET abandoned = true;

-- name: keep!
-- It is the one that was live before, and is kept for a while.
UPDATE rebuild SET kept_until = :kept_until;

-- name: forget!
-- It is gone.
DELETE FROM rebuild;

-- name: drop$
-- Remove its tables.
SELECT drop_beside();

-- name: wake$
-- Let the process that fills it look at once.
SELECT pg_notify('projection_beside', '');

-- name: heard_live
-- How far the topics were heard for the live read set.
SELECT topic, partition, next FROM projection_lists.consumer_offset;

-- name: progress^
-- How many records were heard for each of the two, what is held beside the live one, and why its consumer has stopped.
SELECT (SELECT coalesce(sum(next), 0)::bigint FROM projection_lists.consumer_offset) AS live,
       (SELECT coalesce(sum(next), 0)::bigint FROM projection_beside.consumer_offset) AS beside,
       (SELECT count(*) FROM projection_beside.hold WHERE state = 'held') AS held,
       (SELECT reason FROM projection_beside.breaker) AS stopped;

-- name: hold_live#
-- The live consumer, and retries of what it parked, wait until this transaction ends; who reads does not.
LOCK TABLE projection_lists.consumer_offset IN SHARE MODE;
LOCK TABLE projection_lists.hold IN EXCLUSIVE MODE;

-- name: is_level$
-- Whether both have heard every partition equally far.
SELECT NOT EXISTS (
    SELECT FROM projection_lists.consumer_offset l FULL JOIN projection_beside.consumer_offset b USING (topic, partition)
    WHERE coalesce(l.next, 0) <> coalesce(b.next, 0));

-- name: switch$
-- The two change places.
SELECT switch_sides();

-- name: has_heard$
-- Whether the read set beside the live one has heard these partitions so far.
SELECT NOT EXISTS (
    SELECT FROM unnest(:topics::text[], :partitions::integer[], :ends::bigint[]) AS log (topic, partition, ending)
    LEFT JOIN projection_beside.consumer_offset b USING (topic, partition)
    WHERE coalesce(b.next, 0) < log.ending);
