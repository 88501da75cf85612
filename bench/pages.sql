-- name: look_into_lists#
-- The read set's tables without naming their schema.
SET search_path = projection_lists, projection;

-- name: make_older_id#
-- The id of a message n milliseconds before another one, with n in its last bits (RFC 9562 section 5.7).
CREATE FUNCTION pg_temp.older_id(id uuid, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint - n), 12, '0')
        || '7000' || '8' || lpad(to_hex(n), 15, '0'))::uuid
$$;

-- name: spread_received!
-- So many more received messages, made of one that is there: one in `one_in` for the measured office, the others for offices
-- that nobody asks about. Their ids are older than those of the messages that are really there.
INSERT INTO received (message_id, sender, recipient, sequence, csv_version, months, kinds, sender_name, recipient_name,
    service_type, submitted_at, place, epoch, parts, manifest, status, delivery_no, delivered_at, errors, warnings,
    hold_storage)
SELECT pg_temp.older_id(model.message_id, n), model.sender,
       CASE WHEN n % :one_in = 0 THEN model.recipient ELSE '98' || lpad((n % 1000)::text, 8, '0') END,
       model.sequence, model.csv_version, model.months, model.kinds, model.sender_name, model.recipient_name,
       model.service_type, model.submitted_at - n * interval '1 second', n, model.epoch, model.parts, model.manifest,
       CASE WHEN n % 7 = 0 THEN 'delivered' ELSE 'downloaded' END, -n,
       model.delivered_at - n * interval '1 second', 0, 0, 0
FROM (SELECT * FROM received WHERE recipient = :office LIMIT 1) model, generate_series(1, :count) n;

-- name: spread_sent!
-- The same for the send list.
INSERT INTO sent (message_id, sender, recipient, sequence, csv_version, months, kinds, sender_name, recipient_name,
    service_type, submitted_at, place, epoch, parts, manifest, status, delivery_no, delivered_at, errors, warnings,
    hold_validation, hold_routing, hold_storage)
SELECT pg_temp.older_id(model.message_id, n),
       CASE WHEN n % :one_in = 0 THEN model.sender ELSE '98' || lpad((n % 1000)::text, 8, '0') END, model.recipient,
       model.sequence, model.csv_version, model.months, model.kinds, model.sender_name, model.recipient_name,
       model.service_type, model.submitted_at - n * interval '1 second', n, model.epoch, model.parts, model.manifest,
       CASE WHEN n % 7 = 0 THEN 'delivered' ELSE 'downloaded' END, -n,
       model.delivered_at - n * interval '1 second', 0, 0, 0, 0, 0
FROM (SELECT * FROM sent WHERE sender = :office LIMIT 1) model, generate_series(1, :count) n;

-- name: look_at_tables#
-- What a database does by itself after a while, done now: it is no part of a page.
VACUUM (ANALYZE) received, sent;

-- name: write_back#
-- The same for what still has to be written from memory.
CHECKPOINT;
