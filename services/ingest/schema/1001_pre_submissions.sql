-- migrate:up
-- What was handed in (submission), under which client's key (idempotency), which sequences are in use (sequence_use),
-- and the month keys that seal it all (month_key).

-- One row per message with a receipt. It answers a repeated request word for word: the receipt and what it says stand
-- here, the receipt sealed under the month key because it carries plain hashes.
CREATE TABLE submission (
    message_id uuid PRIMARY KEY,
    sender text NOT NULL,
    sender_name text NOT NULL,
    recipient text NOT NULL,
    recipient_name text NOT NULL,
    sequence text NOT NULL,
    sequence_hmac bytea NOT NULL,
    place integer NOT NULL,
    object_key text NOT NULL,
    submitted_at timestamptz NOT NULL,
    receipt_sealed text NOT NULL
) PARTITION BY RANGE (message_id);
SELECT partition_by_month('submission');
SELECT grant_worker('submission');
SELECT office_policy('submission', 'sender');

-- The client's key of each submission, as HMAC. The unique key decides between two requests that run at once, in two
-- processes too: the second one waits for the first one's commit and answers with its row. It cannot span months, so it
-- is hashed by sender instead.
CREATE TABLE idempotency (
    sender text NOT NULL,
    key_hmac bytea NOT NULL,
    message_id uuid NOT NULL,
    content_hmac bytea NOT NULL,
    PRIMARY KEY (sender, key_hmac)
) PARTITION BY HASH (sender);

-- Which live messages use a sequence: one row per sender, recipient and sequence, and the lock on it. `live` names the
-- messages that are neither rejected, undeliverable, discarded nor recalled; an empty one means the sequence is free.
-- More than one stands there only when the sender said that sending again was meant.
CREATE TABLE sequence_use (
    sender text NOT NULL,
    recipient text NOT NULL,
    sequence_hmac bytea NOT NULL,
    live uuid[] NOT NULL,
    PRIMARY KEY (sender, recipient, sequence_hmac)
) PARTITION BY HASH (sender);

DO $$
BEGIN
    FOR part IN 0..7 LOOP
        EXECUTE format('CREATE TABLE idempotency_%s PARTITION OF idempotency
                        FOR VALUES WITH (MODULUS 8, REMAINDER %s)', part, part);
        EXECUTE format('CREATE TABLE sequence_use_%s PARTITION OF sequence_use
                        FOR VALUES WITH (MODULUS 8, REMAINDER %s)', part, part);
    END LOOP;
END
$$;
SELECT grant_worker('idempotency');
SELECT office_policy('idempotency', 'sender');
SELECT grant_worker('sequence_use');
SELECT office_policy('sequence_use', 'sender');

-- The key of each month, wrapped by the root key. The first row wins between two processes; what is published in object
-- storage is the row's, and where the two differ (a database restored to an older copy) the published one is right.
CREATE TABLE month_key (
    epoch text PRIMARY KEY CHECK (epoch ~ '^[0-9]{4}-[0-9]{2}$'),
    wrapped bytea NOT NULL,
    made_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON month_key TO ingest_worker;

-- How far the sweeper has looked through the bundles of one month (`yyyy/mm`): the last key it has judged.
CREATE TABLE swept (
    month text PRIMARY KEY,
    last_key text NOT NULL
);
SELECT grant_worker('swept');

-- migrate:down
