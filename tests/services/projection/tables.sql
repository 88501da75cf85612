-- name: forget_everything#
-- An empty read set.
DELETE FROM fact; DELETE FROM sent; DELETE FROM received; DELETE FROM tally; DELETE FROM head; DELETE FROM change;
DELETE FROM pulse;

-- name: facts
-- Everything heard, without what depends on when it was heard.
SELECT message_id, event_id, service, type, at, sender, recipient, detail FROM fact ORDER BY message_id, event_id;

-- name: sent
-- The whole send list.
SELECT * FROM sent ORDER BY message_id;

-- name: received
-- The whole receive list.
SELECT * FROM received ORDER BY message_id;

-- name: tallies
-- All counts that are not nought.
SELECT * FROM tally WHERE n <> 0 ORDER BY office, box, status;

-- name: recount
-- The same, counted.
SELECT sender AS office, 'sent' AS box, status, count(*) AS n FROM sent
WHERE submitted_at IS NOT NULL GROUP BY 1, 3
UNION ALL
SELECT recipient, 'received', status, count(*) FROM received WHERE submitted_at IS NOT NULL GROUP BY 1, 3
ORDER BY office, box, status;

-- name: heads
-- How far every office's lists have come.
SELECT * FROM head ORDER BY office;

-- name: changes
-- All feeds, without the order in which the topics were heard.
SELECT office, event, message_id, delivery_no, at FROM change ORDER BY office, message_id, at, event;

-- name: numbers
-- The numbers of all feeds.
SELECT office, array_agg(change_no ORDER BY change_no) AS numbers FROM change GROUP BY office ORDER BY office;

-- name: tables_of_read_set
-- Every table of the read set, and every partition.
SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced, c.relispartition,
       has_table_privilege('projection_api', c.oid, 'SELECT') AS readable,
       has_table_privilege('projection_api', c.oid, 'INSERT, UPDATE, DELETE') AS writable
FROM pg_class c
WHERE c.relnamespace = 'projection'::regnamespace AND c.relkind IN ('r', 'p')
  AND c.relname ~ '^(fact|sent|received|tally|head|change|pulse)(_|$)'
ORDER BY c.relname;

-- name: see_fact$
SELECT count(*) FROM fact;
-- name: see_sent$
SELECT count(*) FROM sent;
-- name: see_received$
SELECT count(*) FROM received;
-- name: see_tally$
SELECT count(*) FROM tally;
-- name: see_head$
SELECT count(*) FROM head;
-- name: see_change$
SELECT count(*) FROM change;

-- name: prefer_order
-- The plan of a large table: few rows would be sorted instead.
SELECT set_config(name, 'off', true) FROM unnest(ARRAY['enable_sort', 'enable_seqscan', 'enable_bitmapscan']) AS s(name);

-- name: explain_sent
-- How the first page of the send list is found.
EXPLAIN (COSTS OFF) SELECT message_id FROM sent
WHERE sender = :office AND message_id <= :newest
  AND (submitted_at, place, message_id) < (:submitted_at::timestamptz, :place::integer, :message_id::uuid)
ORDER BY submitted_at DESC, place DESC, message_id DESC LIMIT 50;

-- name: explain_received
-- How the first page of the receive list is found.
EXPLAIN (COSTS OFF) SELECT message_id FROM received
WHERE recipient = :office AND message_id <= :newest AND delivery_no < :below AND submitted_at IS NOT NULL
ORDER BY delivery_no DESC LIMIT 50;
