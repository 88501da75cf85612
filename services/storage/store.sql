-- name: keep_custody!
-- Take new messages into custody; known ones stay as they are.
INSERT INTO custody (message_id, sender, recipient, object_key, package, recall_requested_at, recall_reason_sealed)
SELECT message_id, sender, recipient, object_key, package, early_recall.requested_at, early_recall.reason_sealed
FROM unnest(:message_ids::uuid[], :senders::text[], :recipients::text[], :object_keys::text[], :packages::text[])
    AS new (message_id, sender, recipient, object_key, package)
LEFT JOIN early_recall USING (message_id)
ORDER BY message_id
ON CONFLICT DO NOTHING;

-- name: end_messages!
-- Start the clock of erasure for messages that came to an end; the first end counts.
INSERT INTO ended (message_id, sender, recipient, cause, ended_at)
SELECT message_id, sender, recipient, cause, ended_at
FROM unnest(:message_ids::uuid[], :senders::text[], :recipients::text[], :causes::text[], :times::timestamptz[])
    AS new (message_id, sender, recipient, cause, ended_at)
ORDER BY message_id
ON CONFLICT DO NOTHING;

-- name: lock_custody
-- Lock messages in key order, so that none of them is recalled while it arrives; the bounds name their months. None is
-- locked unless all are there: who held some while it waits to make the others would wait for those who wait for it.
SELECT message_id, recall_requested_at, recall_reason_sealed FROM custody
WHERE message_id = ANY(:message_ids::uuid[]) AND message_id BETWEEN :low AND :high
    AND (
        SELECT count(*) FROM custody AS one
        WHERE one.message_id = ANY(:message_ids::uuid[]) AND one.message_id BETWEEN :low AND :high
    ) = cardinality(:message_ids::uuid[])
ORDER BY message_id
FOR UPDATE;

-- name: ended_among
-- Which of these messages have come to an end already.
SELECT message_id FROM ended WHERE message_id = ANY(:message_ids::uuid[]) AND message_id BETWEEN :low AND :high;

-- name: claim_deliveries
-- Make the mailbox rows of messages that arrive for the first time, and name those.
INSERT INTO delivery (message_id, sender, recipient, status, recalled_at)
SELECT message_id, sender, recipient, status, recalled_at
FROM unnest(:message_ids::uuid[], :senders::text[], :recipients::text[], :statuses::text[], :recalled::timestamptz[])
    AS new (message_id, sender, recipient, status, recalled_at)
ORDER BY message_id
ON CONFLICT DO NOTHING
RETURNING message_id;

-- name: lock_counters
-- Lock the counters of recipients in key order, making those of recipients that never had a delivery.
INSERT INTO counter AS known (recipient, last_no)
SELECT recipient, 0 FROM unnest(:recipients::text[]) AS new (recipient)
ORDER BY recipient
ON CONFLICT (recipient) DO UPDATE SET last_no = known.last_no
RETURNING recipient, last_no, last_at;

-- name: number_deliveries!
-- Give claimed rows their numbers and times, and write down the last of each counter (their rows are locked).
WITH counted AS (
    UPDATE counter SET last_no = drawn.last_no, last_at = drawn.last_at
    FROM unnest(:recipients::text[], :last_numbers::bigint[], :last_times::timestamptz[])
        AS drawn (recipient, last_no, last_at)
    WHERE counter.recipient = drawn.recipient
)
UPDATE delivery SET status = 'delivered', delivery_no = drawn.delivery_no, delivered_at = drawn.delivered_at
FROM unnest(:message_ids::uuid[], :numbers::bigint[], :times::timestamptz[])
    AS drawn (message_id, delivery_no, delivered_at)
WHERE delivery.message_id = drawn.message_id AND delivery.message_id BETWEEN :low AND :high;

-- name: find_message^
-- One message as far as the calling office may see it.
SELECT c.message_id, c.sender, c.recipient, c.object_key, c.package,
       d.status, d.recalled_at, e.erase_started_at IS NOT NULL AS erased
FROM custody c
LEFT JOIN delivery d ON d.message_id = c.message_id
LEFT JOIN ended e ON e.message_id = c.message_id
WHERE c.message_id = :message_id;

-- name: lock_message^
-- Lock one message that its sender wants back against its arrival.
SELECT recall_requested_at FROM custody WHERE message_id = :message_id FOR UPDATE;

-- name: lock_delivery^
-- Lock one mailbox row: of a recall and a receipt, and of a recall and a first fetch, one comes first.
SELECT status, delivery_no, delivered_at, opened_at, downloaded_at, receipt_sealed, recalled_at FROM delivery
WHERE message_id = :message_id
FOR UPDATE;

-- name: lock_content^
-- The same, and whether the content is (being) erased.
SELECT d.status, d.delivery_no, d.delivered_at, d.opened_at, d.downloaded_at, d.receipt_sealed, d.recalled_at,
       e.erase_started_at IS NOT NULL AS erased
FROM delivery d
LEFT JOIN ended e ON e.message_id = d.message_id
WHERE d.message_id = :message_id
FOR UPDATE OF d;

-- name: end_of^
-- How a message ended, if it did, and whether its content is (being) erased.
SELECT cause, erase_started_at IS NOT NULL AS erased FROM ended WHERE message_id = :message_id;

-- name: log_access!
-- Write down that an office is about to get content.
INSERT INTO access_log (message_id, access_id, sender, recipient, office, user_id, what, at)
VALUES (:message_id, :access_id, :sender, :recipient, :office, :user_id, :what, :at);

-- name: log_first_access!
-- The same, when the recipient is about to see content for the first time.
WITH logged AS (
    INSERT INTO access_log (message_id, access_id, sender, recipient, office, user_id, what, at)
    VALUES (:message_id, :access_id, :sender, :recipient, :office, :user_id, :what, :at)
)
UPDATE delivery SET opened_at = :opened_at WHERE message_id = :message_id AND opened_at IS NULL;

-- name: download!
-- The recipient holds every file.
UPDATE delivery SET status = 'downloaded', downloaded_at = :at, receipt_sealed = :receipt_sealed
WHERE message_id = :message_id;

-- name: recall!
-- The sender has taken the message back.
UPDATE delivery SET status = 'recalled', recalled_at = :at WHERE message_id = :message_id;

-- name: request_recall!
-- Remember that the sender wants the message back once it arrives.
UPDATE custody SET recall_requested_at = :at, recall_reason_sealed = :reason_sealed WHERE message_id = :message_id;

-- name: accesses
-- Every fetch of a message in the order it happened.
SELECT office, user_id, what, at FROM access_log WHERE message_id = :message_id ORDER BY access_id;

-- name: due_for_reminder
-- Messages that wait too long and whose recipient was not reminded; rows that somebody is busy with come next time.
SELECT message_id, sender, recipient FROM delivery
WHERE status = 'delivered' AND reminded_at IS NULL AND delivered_at <= :before
ORDER BY delivered_at, message_id
LIMIT :rows_max
FOR UPDATE SKIP LOCKED;

-- name: reminded!
-- Write down that the recipients of these (locked) rows are reminded now.
UPDATE delivery SET reminded_at = :at WHERE message_id = ANY(:message_ids::uuid[]);

-- name: due_for_expiry
-- Messages that nobody collected in time; rows that somebody is busy with come next time.
SELECT message_id, sender, recipient, delivery_no FROM delivery
WHERE status = 'delivered' AND delivered_at <= :before
ORDER BY delivered_at, message_id
LIMIT :rows_max
FOR UPDATE SKIP LOCKED;

-- name: expire!
-- These (locked) rows expire now.
UPDATE delivery SET status = 'expired', expired_at = :at WHERE message_id = ANY(:message_ids::uuid[]);

-- name: due_for_erasure
-- Messages whose content has been kept long enough after their end, with the place of their bytes.
SELECT e.message_id, c.object_key, c.package
FROM ended e
JOIN custody c ON c.message_id = e.message_id
WHERE e.erased_at IS NULL AND e.ended_at <= :before
ORDER BY e.ended_at, e.message_id
LIMIT :rows_max
FOR UPDATE OF e SKIP LOCKED;

-- name: lock_deliveries
-- Wait for whoever is opening one of these messages at this moment: nothing is said of a message after its erasure.
SELECT message_id FROM delivery WHERE message_id = ANY(:message_ids::uuid[]) ORDER BY message_id FOR NO KEY UPDATE;

-- name: start_erasing!
-- From now on nobody gets the content of these (locked) messages.
UPDATE ended SET erase_started_at = :at WHERE message_id = ANY(:message_ids::uuid[]) AND erase_started_at IS NULL;

-- name: keys_in_use
-- Which of these objects hold content of other messages that are still kept.
SELECT DISTINCT c.object_key
FROM custody c
LEFT JOIN ended e ON e.message_id = c.message_id
WHERE c.object_key = ANY(:object_keys::text[]) AND e.erase_started_at IS NULL;

-- name: lock_erasing
-- Lock messages in key order before they are written down as erased; those that already are do not come again.
SELECT message_id FROM ended
WHERE message_id = ANY(:message_ids::uuid[]) AND erased_at IS NULL
ORDER BY message_id
FOR UPDATE;

-- name: erased
-- The content of these (locked) messages is gone; answers what its event says.
UPDATE ended SET erased_at = :at
FROM (SELECT id, (SELECT d.delivery_no FROM delivery d WHERE d.message_id = id) AS delivery_no
      FROM unnest(:message_ids::uuid[]) AS gone (id)) gone
WHERE ended.message_id = gone.id AND ended.message_id = ANY(:message_ids::uuid[])
RETURNING ended.message_id, ended.sender, ended.recipient, gone.delivery_no;

-- name: lock_pack
-- Lock the messages that share an object, in key order; none when it was rewritten meanwhile.
SELECT message_id FROM custody WHERE object_key = :object_key ORDER BY message_id FOR UPDATE;

-- name: move_pack!
-- The messages that shared one object lie in another from now on (their rows are locked).
UPDATE custody SET object_key = :new_key WHERE object_key = :old_key;

-- name: doom!
-- An object may go after a moment.
INSERT INTO doomed_object (object_key, after) VALUES (:object_key, :after)
ON CONFLICT (object_key) DO UPDATE SET after = excluded.after;

-- name: spare!
-- An object is needed after all.
DELETE FROM doomed_object WHERE object_key = :object_key;

-- name: doomed
-- Objects whose time is over.
SELECT object_key FROM doomed_object WHERE after <= :now ORDER BY after LIMIT :rows_max;

-- name: restore_recall_requests!
-- Remember again that these messages are wanted back: in custody, or until they come there.
WITH asked AS (
    SELECT message_id, requested_at, reason_sealed
    FROM unnest(:message_ids::uuid[], :times::timestamptz[], :reasons_sealed::text[])
        AS asked (message_id, requested_at, reason_sealed)
), held AS (
    UPDATE custody SET recall_requested_at = asked.requested_at, recall_reason_sealed = asked.reason_sealed
    FROM asked
    WHERE custody.message_id = asked.message_id AND custody.message_id = ANY(:message_ids::uuid[])
      AND custody.recall_requested_at IS NULL
)
INSERT INTO early_recall (message_id, requested_at, reason_sealed)
SELECT message_id, requested_at, reason_sealed FROM asked
WHERE NOT EXISTS (SELECT FROM custody c WHERE c.message_id = asked.message_id)
ON CONFLICT DO NOTHING;

-- name: restore_deliveries!
-- Set up again the mailbox rows of messages whose arrival (or recall before it) this database has forgotten.
INSERT INTO delivery (message_id, sender, recipient, status, delivery_no, delivered_at, opened_at, reminded_at,
                      downloaded_at, receipt_sealed, recalled_at, expired_at)
SELECT message_id, sender, recipient, status, delivery_no, delivered_at, opened_at, reminded_at, downloaded_at,
       receipt_sealed, recalled_at, expired_at
FROM unnest(:message_ids::uuid[], :senders::text[], :recipients::text[], :statuses::text[], :numbers::bigint[],
            :delivered::timestamptz[], :opened::timestamptz[], :reminded::timestamptz[], :downloaded::timestamptz[],
            :receipts_sealed::text[], :recalled::timestamptz[], :expired::timestamptz[])
    AS old (message_id, sender, recipient, status, delivery_no, delivered_at, opened_at, reminded_at, downloaded_at,
            receipt_sealed, recalled_at, expired_at)
ORDER BY message_id
ON CONFLICT DO NOTHING;

-- name: restore_openings!
-- Set up again that content of messages was opened, and that their recipients were reminded.
UPDATE delivery
SET opened_at = coalesce(delivery.opened_at, old.opened_at), reminded_at = coalesce(delivery.reminded_at, old.reminded_at)
FROM unnest(:message_ids::uuid[], :opened::timestamptz[], :reminded::timestamptz[])
    AS old (message_id, opened_at, reminded_at)
WHERE delivery.message_id = old.message_id AND delivery.message_id = ANY(:message_ids::uuid[])
  AND delivery.delivery_no IS NOT NULL;

-- name: restore_ends!
-- Set up again how messages ended that wait here.
UPDATE delivery
SET status = old.status, downloaded_at = old.downloaded_at, receipt_sealed = old.receipt_sealed,
    recalled_at = old.recalled_at, expired_at = old.expired_at
FROM unnest(:message_ids::uuid[], :statuses::text[], :downloaded::timestamptz[], :receipts_sealed::text[],
            :recalled::timestamptz[], :expired::timestamptz[])
    AS old (message_id, status, downloaded_at, receipt_sealed, recalled_at, expired_at)
WHERE delivery.message_id = old.message_id AND delivery.message_id = ANY(:message_ids::uuid[])
  AND delivery.status = 'delivered';

-- name: restore_counters!
-- No number that a recipient may have seen is drawn again.
INSERT INTO counter AS known (recipient, last_no, last_at)
SELECT recipient, last_no, last_at
FROM unnest(:recipients::text[], :numbers::bigint[], :times::timestamptz[]) AS old (recipient, last_no, last_at)
ORDER BY recipient
ON CONFLICT (recipient) DO UPDATE SET last_no = excluded.last_no, last_at = greatest(known.last_at, excluded.last_at)
WHERE known.last_no < excluded.last_no;

-- name: restore_erasures!
-- The content of these messages is gone.
UPDATE ended SET erase_started_at = coalesce(ended.erase_started_at, old.at), erased_at = coalesce(ended.erased_at, old.at)
FROM unnest(:message_ids::uuid[], :times::timestamptz[]) AS old (message_id, at)
WHERE ended.message_id = old.message_id AND ended.message_id = ANY(:message_ids::uuid[]);

-- name: fates_of
-- Under which numbers these messages stand here, and how they stand.
SELECT message_id, delivery_no, status FROM delivery WHERE message_id = ANY(:message_ids::uuid[]);

-- name: newest_contents
-- The newest messages whose content is kept, the newest first.
SELECT c.message_id, c.object_key, c.package FROM custody c
LEFT JOIN ended e ON e.message_id = c.message_id
WHERE e.erase_started_at IS NULL ORDER BY c.message_id DESC LIMIT :rows_max;

-- name: contents_after
-- The next messages whose content is kept, by id.
SELECT c.message_id, c.object_key, c.package FROM custody c
LEFT JOIN ended e ON e.message_id = c.message_id
WHERE c.message_id > :after AND e.erase_started_at IS NULL ORDER BY c.message_id LIMIT :rows_max;

-- name: contents_still
-- Which of these messages still have their content where it was looked for.
SELECT c.message_id, c.object_key FROM unnest(:message_ids::uuid[], :object_keys::text[]) AS asked (message_id, object_key)
JOIN custody c ON c.message_id = asked.message_id AND c.object_key = asked.object_key
LEFT JOIN ended e ON e.message_id = c.message_id
WHERE e.erase_started_at IS NULL;

-- name: is_something_kept$
-- Whether any of these messages has not ended and been erased, or ended after a moment.
SELECT EXISTS (
    SELECT FROM custody c LEFT JOIN ended e ON e.message_id = c.message_id
    WHERE c.message_id >= :first::uuid AND c.message_id < :behind::uuid
      AND (e.erased_at IS NULL OR e.ended_at > :before));
