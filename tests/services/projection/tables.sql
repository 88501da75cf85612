-- name: forget_everything#
-- An empty read set.
DELETE FROM fact; DELETE FROM sent; DELETE FROM received; DELETE FROM tally; DELETE FROM head; DELETE FROM change;
DELETE FROM pulse; DELETE FROM operators_word; DELETE FROM feed; DELETE FROM consumer_offset; DELETE FROM hold;
DELETE FROM given_up;

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
SELECT office, version FROM head ORDER BY office;

-- name: feeds
-- How long every office's feed is.
SELECT * FROM feed ORDER BY office;

-- name: changes
-- All feeds, without the order in which the topics were heard.
SELECT office, event, message_id, delivery_no, at FROM change ORDER BY office, message_id, at, event;

-- name: numbers
-- The numbers of all feeds.
SELECT office, array_agg(change_no ORDER BY change_no) AS numbers FROM change GROUP BY office ORDER BY office;

-- name: tables_of_service
-- Every table with what offices may read, and every partition.
SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced, c.relispartition,
       has_table_privilege('projection_api', c.oid, 'SELECT') AS readable,
       has_table_privilege('projection_api', c.oid, 'INSERT, UPDATE, DELETE') AS writable
FROM pg_class c
WHERE c.relnamespace IN ('projection'::regnamespace, 'projection_lists'::regnamespace) AND c.relkind IN ('r', 'p')
  AND c.relname ~ '^(fact|sent|received|tally|head|feed|change|pulse|operators_word)(_|$)'
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
-- name: see_feed$
SELECT count(*) FROM feed;
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

-- name: layout
-- Everything about the tables of a read set that must be the same in another: columns, rights, row security, indexes.
SELECT c.relname, c.relkind::text, c.relrowsecurity, c.relforcerowsecurity, c.relacl::text, c.reloptions,
       pg_get_partkeydef(c.oid) AS partition_key, pg_get_userbyid(c.relowner) AS owner,
       ARRAY(SELECT format('%s %s %s %s', a.attname, a.atttypid::regtype, a.attnotnull, a.attgenerated)
             FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum) AS columns,
       ARRAY(SELECT format('%s %s %s %s %s', p.policyname, p.cmd, p.roles, p.qual, p.with_check)
             FROM pg_policies p WHERE p.schemaname = :schema AND p.tablename = c.relname ORDER BY 1) AS policies,
       ARRAY(SELECT replace(pg_get_constraintdef(k.oid), :schema || '.', '')
             FROM pg_constraint k WHERE k.conrelid = c.oid ORDER BY 1) AS constraints,
       ARRAY(SELECT regexp_replace(pg_get_indexdef(i.indexrelid), 'INDEX \S+ ON (ONLY )?\S+ ', '')
             FROM pg_index i WHERE i.indrelid = c.oid ORDER BY 1) AS indexes
FROM pg_class c
WHERE c.relnamespace = :schema::text::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.relname;

-- name: hear_up_to!
-- As if a partition had been heard so far.
INSERT INTO consumer_offset (topic, partition, next) VALUES (:topic, 0, :next)
ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next;

-- name: heard$
-- How far it was heard.
SELECT next FROM consumer_offset WHERE topic = 't';

-- name: hold_one!
-- As if the records of a message could not be handled.
INSERT INTO hold (subject, state, cause, error, held_at) VALUES (:subject, 'held', 'parked', 'test', now());

-- name: give_up#
-- As if an operator had given up what is held.
UPDATE hold SET state = 'discarded' WHERE subject = 'given up';
INSERT INTO given_up (subject, record, given_up_at) VALUES ('given up', 'event', now());

-- name: holds
-- What is held.
SELECT subject FROM hold;

-- name: damage_received!
-- One row of the receive list is not what it should be.
UPDATE received SET status = 'expired' WHERE message_id = :message_id;

-- name: lose_sent!
-- One row of the send list is gone.
DELETE FROM sent WHERE message_id = :message_id;

-- name: count_tables$
-- How many tables stand in a schema.
SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p');

-- name: make_a_table#
CREATE TABLE mine (x integer);

-- name: call_make$
SELECT projection.make_beside();

-- name: call_switch$
SELECT projection.switch_sides();

-- name: call_drop$
SELECT projection.drop_beside();

-- name: abandon_whatever!
-- Whatever stands beside the live read set may go.
UPDATE rebuild SET abandoned = true;

-- name: make_facts!
-- Facts of messages numbered from one up to another, four each, in both read sets.
WITH made AS (
    SELECT lpad(to_hex(1754000000000 + n), 12, '0') || '7' || repeat('0', 19) AS hex, n, k
    FROM generate_series(:first::bigint, :last::bigint) n, generate_series(1, 4) k
), live AS (
    INSERT INTO projection_lists.fact (message_id, event_id, service, type, at, actor_kind, actor_id, sender)
    SELECT hex::uuid, md5(hex || k)::uuid, 'storage', 'Delivered', now(), 'system', 'storage', '99701' || lpad((n % 5000)::text, 5, '0')
    FROM made
)
INSERT INTO projection_beside.fact (message_id, event_id, service, type, at, actor_kind, actor_id, sender)
SELECT hex::uuid, md5(hex || k)::uuid, 'storage', 'Delivered', now(), 'system', 'storage', '99701' || lpad((n % 5000)::text, 5, '0')
FROM made;

-- name: lose_a_fact!
-- One fact of a message is missing in the live read set.
DELETE FROM projection_lists.fact WHERE (message_id, event_id) = (
    SELECT message_id, event_id FROM projection_lists.fact ORDER BY message_id DESC LIMIT 1);
