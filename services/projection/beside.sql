-- name: standing^
-- The read set beside the live one, if there is any.
SELECT run, began_at, kept_until, abandoned FROM rebuild;

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

-- name: stand_still!
-- All further statements of this transaction see the database as the next one finds it.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: look$
-- Look, so that time stands still from here on.
SELECT count(*) FROM rebuild;

-- name: differences
-- Rows of each table in both read sets (office null), and the offices whose rows are not the same in both.
WITH live AS (
    SELECT 'fact' AS name, sender AS office, count(*) AS n, sum(hashtextextended(r::text, 0)::numeric) AS hash
    FROM projection_lists.fact r GROUP BY GROUPING SETS ((sender), ())
    UNION ALL
    SELECT 'sent', sender, count(*), sum(hashtextextended(r::text, 0)::numeric)
    FROM projection_lists.sent r GROUP BY GROUPING SETS ((sender), ())
    UNION ALL
    SELECT 'received', recipient, count(*), sum(hashtextextended(r::text, 0)::numeric)
    FROM projection_lists.received r GROUP BY GROUPING SETS ((recipient), ())
    UNION ALL
    SELECT 'tally', office, count(*), sum(hashtextextended(r::text, 0)::numeric)
    FROM projection_lists.tally r WHERE n <> 0 GROUP BY GROUPING SETS ((office), ())
),
beside AS (
    SELECT 'fact' AS name, sender AS office, count(*) AS n, sum(hashtextextended(r::text, 0)::numeric) AS hash
    FROM projection_beside.fact r GROUP BY GROUPING SETS ((sender), ())
    UNION ALL
    SELECT 'sent', sender, count(*), sum(hashtextextended(r::text, 0)::numeric)
    FROM projection_beside.sent r GROUP BY GROUPING SETS ((sender), ())
    UNION ALL
    SELECT 'received', recipient, count(*), sum(hashtextextended(r::text, 0)::numeric)
    FROM projection_beside.received r GROUP BY GROUPING SETS ((recipient), ())
    UNION ALL
    SELECT 'tally', office, count(*), sum(hashtextextended(r::text, 0)::numeric)
    FROM projection_beside.tally r WHERE n <> 0 GROUP BY GROUPING SETS ((office), ())
)
SELECT name, nullif(key, '') AS office, coalesce(live.n, 0) AS live, coalesce(beside.n, 0) AS beside
FROM (SELECT name, coalesce(office, '') AS key, n, hash FROM live) live
FULL JOIN (SELECT name, coalesce(office, '') AS key, n, hash FROM beside) beside USING (name, key)
WHERE key = '' OR live.n IS DISTINCT FROM beside.n OR live.hash IS DISTINCT FROM beside.hash
ORDER BY key, name;
