-- migrate:up
-- Who is told: one row per mail address or webhook of an office. `user_id` is the person whose own setting it is, or
-- empty for the office's. The address (mail address or URL) and a webhook's secret are sealed; `address_hmac` lets the
-- same address keep its row when the settings are written again.
CREATE TABLE target (
    id uuid PRIMARY KEY,
    office text NOT NULL,
    user_id text NOT NULL DEFAULT '',
    kind text NOT NULL CHECK (kind IN ('mail', 'webhook')),
    address_sealed bytea NOT NULL,
    address_hmac bytea NOT NULL,
    secret_sealed bytea,
    events text[] NOT NULL,
    created_at timestamptz NOT NULL,
    -- No further letter goes to a mail address before this moment: many arrivals make one mail.
    quiet_until timestamptz NOT NULL,
    -- A webhook without a secret could not be believed, and mail has none.
    CHECK ((kind = 'webhook') = (secret_sealed IS NOT NULL)),
    UNIQUE (office, user_id, kind, address_hmac)
);
SELECT grant_worker('target');
SELECT office_policy('target', 'office');

-- After how many days of waiting a person (or, with an empty user, the office) wants to be reminded; 0 is never. Who has
-- no row is reminded when storage says ReminderDue.
CREATE TABLE reminder_choice (
    office text NOT NULL,
    user_id text NOT NULL DEFAULT '',
    days smallint NOT NULL CHECK (days BETWEEN 0 AND 60),
    PRIMARY KEY (office, user_id)
);
SELECT grant_worker('reminder_choice');
SELECT office_policy('reminder_choice', 'office');

-- Every delivered message and whether it still waits to be collected: what the chosen reminders are counted by. A row is
-- never removed by its end, so that a replay does not make the message wait again.
CREATE TABLE uncollected (
    message_id uuid PRIMARY KEY,
    sender text NOT NULL,
    recipient text NOT NULL,
    delivered_at timestamptz NOT NULL,
    ended boolean NOT NULL DEFAULT false
) PARTITION BY RANGE (message_id);
SELECT partition_by_month('uncollected');
SELECT grant_worker('uncollected');
SELECT office_policy('uncollected', 'sender', 'recipient');
CREATE INDEX uncollected_waiting ON uncollected (recipient, delivered_at) WHERE NOT ended;

-- What has to be told to whom. The key makes telling unique per event and address: a repeated event adds nothing.
-- `letter` binds rows into one mail before it goes out, so that a second try is the same mail. A row stays after its end
-- until no event so old could be told any more.
CREATE TABLE delivery_queue (
    event_id uuid NOT NULL,
    target_id uuid NOT NULL REFERENCES target ON DELETE CASCADE,
    office text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('mail', 'webhook')),
    event text NOT NULL,
    message_id uuid,
    partner text,
    delivery_no bigint,
    occurred_at timestamptz NOT NULL,
    letter uuid,
    attempts smallint NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (event_id, target_id)
);
SELECT grant_worker('delivery_queue');
SELECT office_policy('delivery_queue', 'office');
CREATE INDEX delivery_queue_due ON delivery_queue (kind, due_at) WHERE finished_at IS NULL;
CREATE INDEX delivery_queue_finished ON delivery_queue (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX delivery_queue_target ON delivery_queue (target_id);

-- How the last tries of a target ended: a word of ours and an HTTP status or SMTP code, never what the other side said.
CREATE TABLE attempt (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target_id uuid NOT NULL REFERENCES target ON DELETE CASCADE,
    office text NOT NULL,
    event text NOT NULL,
    at timestamptz NOT NULL,
    ok boolean NOT NULL,
    status integer,
    error text,
    final boolean NOT NULL
);
SELECT grant_worker('attempt');
SELECT office_policy('attempt', 'office');
CREATE INDEX attempt_target ON attempt (target_id, id);

DO $$
DECLARE
    api text := current_schema() || '_api';
BEGIN
    EXECUTE format('GRANT INSERT, UPDATE, DELETE ON target, reminder_choice TO %I', api);
    EXECUTE format('GRANT INSERT ON delivery_queue TO %I', api);
END
$$;

-- migrate:down
