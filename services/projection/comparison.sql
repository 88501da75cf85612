-- name: standing^
-- The comparison that is under way, or the last one.
SELECT began_at, ended_at, after_message, after_office, compared_until FROM comparison;

-- name: begin$
-- Begin anew, unless one is under way; answers whether it did.
WITH begun AS (
    INSERT INTO comparison (began_at) VALUES (:now)
    ON CONFLICT (only_row) DO UPDATE
    SET began_at = excluded.began_at, ended_at = NULL, after_message = DEFAULT, after_office = NULL, compared_until = NULL
    WHERE comparison.ended_at IS NOT NULL
    RETURNING true
), uncounted AS (
    DELETE FROM comparison_count WHERE EXISTS (SELECT FROM begun)
), forgotten AS (
    DELETE FROM comparison_difference WHERE EXISTS (SELECT FROM begun)
)
SELECT EXISTS (SELECT FROM begun);

-- name: forget#
-- What was compared has changed places, or is gone.
DELETE FROM comparison;
DELETE FROM comparison_count;
DELETE FROM comparison_difference;

-- name: stand_still!
-- All further statements of this transaction see the database as the next one finds it.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: look$
-- Look, so that time stands still from here on.
SELECT count(*) FROM comparison;

-- name: next_message$
-- Where the next piece of messages ends; nothing when it is the last one.
SELECT least(
    (SELECT message_id FROM projection_lists.fact WHERE message_id > :after ORDER BY message_id OFFSET :rows_max LIMIT 1),
    (SELECT message_id FROM projection_beside.fact WHERE message_id > :after ORDER BY message_id OFFSET :rows_max LIMIT 1));

-- name: next_office$
-- Where the next piece of counts ends; nothing when it is the last one.
SELECT least(
    (SELECT office FROM projection_lists.tally WHERE office > :after ORDER BY office OFFSET :rows_max LIMIT 1),
    (SELECT office FROM projection_beside.tally WHERE office > :after ORDER BY office OFFSET :rows_max LIMIT 1));

-- name: messages
-- Rows of each table in both read sets among these messages (office null), and the offices whose rows differ there.
WITH live AS (
    SELECT 'fact' AS name, sender AS office, count(*) AS n, sum(hashtextextended(r::text, 0)::numeric) AS hash
    FROM projection_lists.fact r WHERE message_id > :after AND message_id <= :upto
    GROUP BY GROUPING SETS ((sender), ())
    UNION ALL
    SELECT 'sent', sender, count(*), sum(hashtextextended(r::text, 0)::numeric)
    FROM projection_lists.sent r WHERE message_id > :after AND message_id <= :upto
    GROUP BY GROUPING SETS ((sender), ())
    UNION ALL
    SELECT 'received', recipient, count(*), sum(hashtextextended(r::text, 0)::numeric)
    FROM projection_lists.received r WHERE message_id > :after AND message_id <= :upto
    GROUP BY GROUPING SETS ((recipient), ())
),
beside AS (
    SELECT 'fact' AS name, sender AS office, count(*) AS n, sum(hashtextextended(r::text, 0)::numeric) AS hash
    FROM projection_beside.fact r WHERE message_id > :after AND message_id <= :upto
    GROUP BY GROUPING SETS ((sender), ())
    UNION ALL
    SELECT 'sent', sender, count(*), sum(hashtextextended(r::text, 0)::numeric)
    FROM projection_beside.sent r WHERE message_id > :after AND message_id <= :upto
    GROUP BY GROUPING SETS ((sender), ())
    UNION ALL
    SELECT 'received', recipient, count(*), sum(hashtextextended(r::text, 0)::numeric)
    FROM projection_beside.received r WHERE message_id > :after AND message_id <= :upto
    GROUP BY GROUPING SETS ((recipient), ())
)
SELECT name, nullif(key, '') AS office, coalesce(live.n, 0) AS live, coalesce(beside.n, 0) AS beside
FROM (SELECT name, coalesce(office, '') AS key, n, hash FROM live) live
FULL JOIN (SELECT name, coalesce(office, '') AS key, n, hash FROM beside) beside USING (name, key)
WHERE key = '' OR live.n IS DISTINCT FROM beside.n OR live.hash IS DISTINCT FROM beside.hash;

-- name: counts
-- The same for the counts of these offices.
WITH live AS (
    SELECT 'tally' AS name, office, count(*) AS n, sum(hashtextextended(r::text, 0)::numeric) AS hash
    FROM projection_lists.tally r WHERE n <> 0 AND office > :after AND office <= :upto
    GROUP BY GROUPING SETS ((office), ())
),
beside AS (
    SELECT 'tally' AS name, office, count(*) AS n, sum(hashtextextended(r::text, 0)::numeric) AS hash
    FROM projection_beside.tally r WHERE n <> 0 AND office > :after AND office <= :upto
    GROUP BY GROUPING SETS ((office), ())
)
SELECT name, nullif(key, '') AS office, coalesce(live.n, 0) AS live, coalesce(beside.n, 0) AS beside
FROM (SELECT name, coalesce(office, '') AS key, n, hash FROM live) live
FULL JOIN (SELECT name, coalesce(office, '') AS key, n, hash FROM beside) beside USING (name, key)
WHERE key = '' OR live.n IS DISTINCT FROM beside.n OR live.hash IS DISTINCT FROM beside.hash;

-- name: move$
-- A piece is done; answers nothing when the comparison is no longer where it was.
UPDATE comparison
SET after_message = coalesce(:after_message::uuid, after_message), after_office = :after_office,
    compared_until = coalesce(uuid_extract_timestamp(:after_message::uuid), compared_until),
    ended_at = CASE WHEN :is_last THEN :now::timestamptz END
WHERE began_at = :began_at AND ended_at IS NULL AND after_message = :before_message
  AND after_office IS NOT DISTINCT FROM :before_office::text
RETURNING true;

-- name: count!
-- Add the rows of a piece.
INSERT INTO comparison_count AS told (name, live, beside)
SELECT name, live, beside FROM unnest(:names::text[], :lives::bigint[], :besides::bigint[]) AS piece (name, live, beside)
ON CONFLICT (name) DO UPDATE SET live = told.live + excluded.live, beside = told.beside + excluded.beside;

-- name: differ!
-- Add the differences of a piece.
INSERT INTO comparison_difference AS told (office, name, live, beside)
SELECT office, name, live, beside
FROM unnest(:offices::text[], :names::text[], :lives::bigint[], :besides::bigint[]) AS piece (office, name, live, beside)
ON CONFLICT (office, name) DO UPDATE SET live = told.live + excluded.live, beside = told.beside + excluded.beside;

-- name: counted
-- Rows of each table that were compared.
SELECT name, live, beside FROM comparison_count ORDER BY name;

-- name: differing
-- The first differences, by office and table.
SELECT office, name, live, beside FROM comparison_difference ORDER BY office, name LIMIT :rows_max;

-- name: offices_differing$
-- How many offices have some.
SELECT count(DISTINCT office) FROM comparison_difference;
