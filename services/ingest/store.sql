-- name: claim_keys
-- Take idempotency keys in key order; only those nobody had before come back. Waits for another's open transaction.
INSERT INTO idempotency (sender, key_hmac, message_id, content_hmac)
SELECT sender, key_hmac, message_id, content_hmac
FROM unnest(:senders::text[], :key_hmacs::bytea[], :message_ids::uuid[], :content_hmacs::bytea[])
    AS new (sender, key_hmac, message_id, content_hmac)
ORDER BY sender, key_hmac
ON CONFLICT DO NOTHING
RETURNING message_id;

-- name: give_keys_back!
-- Free the idempotency keys of messages that were refused after all: nothing is kept of them.
DELETE FROM idempotency i
USING unnest(:senders::text[], :key_hmacs::bytea[]) AS refused (sender, key_hmac)
WHERE i.sender = refused.sender AND i.key_hmac = refused.key_hmac;

-- name: keys_of
-- To which message each of these idempotency keys belongs, and a digest of what was sent with it.
SELECT i.sender, i.key_hmac, i.message_id, i.content_hmac
FROM unnest(:senders::text[], :key_hmacs::bytea[]) AS asked (sender, key_hmac)
JOIN idempotency i ON i.sender = asked.sender AND i.key_hmac = asked.key_hmac;

-- name: submissions
-- The submissions of these messages, as they were answered.
SELECT message_id, sender, sender_name, recipient, recipient_name, sequence, sequence_hmac, submitted_at, receipt_sealed
FROM submission WHERE message_id = ANY(:message_ids::uuid[]);

-- name: sequences_used
-- Which of these sequences have been used at all, without locking them.
SELECT u.sender, u.recipient, u.sequence_hmac
FROM unnest(:senders::text[], :recipients::text[], :sequence_hmacs::bytea[]) AS asked (sender, recipient, sequence_hmac)
JOIN sequence_use u USING (sender, recipient, sequence_hmac);

-- name: lock_sequences
-- Lock the rows of these sequences in key order, making those that are not there for the messages that want them, and
-- tell who uses them.
INSERT INTO sequence_use AS held (sender, recipient, sequence_hmac, live)
SELECT sender, recipient, sequence_hmac, ARRAY[message_id]
FROM unnest(:senders::text[], :recipients::text[], :sequence_hmacs::bytea[], :message_ids::uuid[])
    AS new (sender, recipient, sequence_hmac, message_id)
ORDER BY sender, recipient, sequence_hmac
ON CONFLICT (sender, recipient, sequence_hmac) DO UPDATE SET live = held.live
RETURNING sender, recipient, sequence_hmac, live;

-- name: use_sequences!
-- Add messages to the users of sequences whose rows are locked; one row stands once in the arrays, with all it gains.
UPDATE sequence_use u SET live = u.live || new.message_ids::uuid[]
FROM unnest(:senders::text[], :recipients::text[], :sequence_hmacs::bytea[], :message_ids::text[])
    AS new (sender, recipient, sequence_hmac, message_ids)
WHERE u.sender = new.sender AND u.recipient = new.recipient AND u.sequence_hmac = new.sequence_hmac;

-- name: lock_sequences_of
-- Lock, in key order, the rows of the sequences that these messages used.
SELECT u.sender, u.recipient, u.sequence_hmac
FROM sequence_use u
JOIN (SELECT DISTINCT sender, recipient, sequence_hmac FROM submission WHERE message_id = ANY(:message_ids::uuid[])) s
    USING (sender, recipient, sequence_hmac)
ORDER BY u.sender, u.recipient, u.sequence_hmac
FOR UPDATE OF u;

-- name: free_sequences!
-- Take messages that ended off the users of their sequences, whose rows are locked; once or many times alike.
UPDATE sequence_use u
SET live = ARRAY(SELECT message_id FROM unnest(u.live) message_id WHERE message_id <> ALL (:message_ids::uuid[]))
FROM (SELECT DISTINCT sender, recipient, sequence_hmac FROM submission WHERE message_id = ANY(:message_ids::uuid[])) s
WHERE u.sender = s.sender AND u.recipient = s.recipient AND u.sequence_hmac = s.sequence_hmac;

-- name: insert_submissions!
-- Keep the submissions of one group.
INSERT INTO submission (message_id, sender, sender_name, recipient, recipient_name, sequence, sequence_hmac, place,
                        object_key, submitted_at, receipt_sealed)
SELECT message_id, sender, sender_name, recipient, recipient_name, sequence, sequence_hmac, place, object_key,
       :submitted_at, receipt_sealed
FROM unnest(:message_ids::uuid[], :senders::text[], :sender_names::text[], :recipients::text[],
            :recipient_names::text[], :sequences::text[], :sequence_hmacs::bytea[], :places::integer[],
            :object_keys::text[], :receipts_sealed::text[])
    AS new (message_id, sender, sender_name, recipient, recipient_name, sequence, sequence_hmac, place, object_key,
            receipt_sealed);

-- name: keep_month_key!
-- Keep the month's wrapped key unless there is one.
INSERT INTO month_key (epoch, wrapped, made_at) VALUES (:epoch, :wrapped, :made_at) ON CONFLICT DO NOTHING;

-- name: correct_month_key!
-- Keep what is published in the place of a key that never sealed anything, or that was destroyed.
UPDATE month_key SET wrapped = :wrapped WHERE epoch = :epoch;

-- name: month_key$
-- The month's wrapped key.
SELECT wrapped FROM month_key WHERE epoch = :epoch;

-- name: known_objects
-- Which of these object keys belong to a submission made between two moments (as message ids).
SELECT DISTINCT object_key FROM submission
WHERE message_id >= :first::uuid AND message_id < :behind::uuid AND object_key = ANY(:object_keys::text[]);

-- name: swept_to$
-- The last key of a month that the sweeper has judged.
SELECT last_key FROM swept WHERE month = :month;

-- name: sweep_to!
-- Note how far the sweeper has come.
INSERT INTO swept (month, last_key) VALUES (:month, :last_key)
ON CONFLICT (month) DO UPDATE SET last_key = excluded.last_key;

-- name: restore_submissions!
-- Set up again the rows of submissions that this database has forgotten, from their own events.
INSERT INTO submission (message_id, sender, sender_name, recipient, recipient_name, sequence, sequence_hmac, place,
                        object_key, submitted_at, receipt_sealed)
SELECT message_id, sender, sender_name, recipient, recipient_name, sequence, sequence_hmac, place, object_key,
       submitted_at, receipt_sealed
FROM unnest(:message_ids::uuid[], :senders::text[], :sender_names::text[], :recipients::text[],
            :recipient_names::text[], :sequences::text[], :sequence_hmacs::bytea[], :places::integer[],
            :object_keys::text[], :times::timestamptz[], :receipts_sealed::text[])
    AS old (message_id, sender, sender_name, recipient, recipient_name, sequence, sequence_hmac, place, object_key,
            submitted_at, receipt_sealed)
ORDER BY message_id
ON CONFLICT DO NOTHING;

-- name: restore_sequences!
-- Count messages among the users of their sequences again; one row stands once in the arrays, with all its messages.
INSERT INTO sequence_use AS held (sender, recipient, sequence_hmac, live)
SELECT sender, recipient, sequence_hmac, live::uuid[]
FROM unnest(:senders::text[], :recipients::text[], :sequence_hmacs::bytea[], :live::text[])
    AS old (sender, recipient, sequence_hmac, live)
ORDER BY sender, recipient, sequence_hmac
ON CONFLICT (sender, recipient, sequence_hmac) DO UPDATE
SET live = held.live || ARRAY(SELECT id FROM unnest(excluded.live) id WHERE id <> ALL (held.live));
