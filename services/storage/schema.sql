-- Every message that was handed in, from its submission on: whose it is and where its sealed bytes lie. Its row is the
-- lock between a recall and the arrival: both take it first (order of all locks: custody, delivery, counter, ended;
-- within a table by key).
CREATE TABLE custody (
    message_id uuid PRIMARY KEY,
    sender text NOT NULL,
    recipient text NOT NULL,
    -- Where the bytes lie now: the package's key until a shared object was rewritten without an erased message.
    object_key text NOT NULL,
    -- The package as submitted (JSON, names and texts in it sealed); never searched, always read whole.
    package text NOT NULL,
    -- The sender wants the message back before it has arrived; written once.
    recall_requested_at timestamptz,
    recall_reason_sealed text
) PARTITION BY RANGE (message_id);
CREATE INDEX custody_object ON custody (object_key);
SELECT partition_by_month('custody');
SELECT grant_worker('custody');

-- Recalls asked for before the arrival, of messages whose submission this database has forgotten and will hear again: it
-- was restored to an older copy. Custody takes them over when it begins.
CREATE TABLE early_recall (
    message_id uuid PRIMARY KEY,
    requested_at timestamptz NOT NULL,
    reason_sealed text NOT NULL
);
SELECT grant_worker('early_recall');

-- A message that arrived, or that was recalled before it could. `claimed` is seen only inside the transaction that
-- claims the row and draws its number.
CREATE TABLE delivery (
    message_id uuid PRIMARY KEY,
    sender text NOT NULL,
    recipient text NOT NULL,
    status text NOT NULL CHECK (status IN ('claimed', 'delivered', 'downloaded', 'recalled', 'expired')),
    -- Dense per recipient: 1, 2, 3 … It is drawn under the lock of the recipient's counter after this row is claimed,
    -- so a repeated record draws none, and no number is ever left out or given twice.
    delivery_no bigint CHECK (delivery_no > 0),
    delivered_at timestamptz,
    opened_at timestamptz,
    reminded_at timestamptz,
    downloaded_at timestamptz,
    receipt_sealed text,
    recalled_at timestamptz,
    expired_at timestamptz,
    -- A number and its time come together, and only a message recalled before its arrival has none.
    CHECK ((delivery_no IS NULL) = (delivered_at IS NULL)),
    CHECK (delivery_no IS NOT NULL OR status IN ('claimed', 'recalled')),
    -- Nobody saw content, or gave a receipt, before the message arrived.
    CHECK (opened_at IS NULL OR delivery_no IS NOT NULL),
    -- Each end state has its time, and there is one end state only.
    CHECK ((status = 'downloaded') = (downloaded_at IS NOT NULL)),
    CHECK ((status = 'downloaded') = (receipt_sealed IS NOT NULL)),
    CHECK ((status = 'recalled') = (recalled_at IS NOT NULL)),
    CHECK ((status = 'expired') = (expired_at IS NOT NULL))
) PARTITION BY RANGE (message_id);
CREATE INDEX delivery_waiting ON delivery (delivered_at) WHERE status = 'delivered';
CREATE INDEX delivery_to_remind ON delivery (delivered_at) WHERE status = 'delivered' AND reminded_at IS NULL;
SELECT partition_by_month('delivery');
SELECT grant_worker('delivery');

-- Status moves forward only, what was written once stays, and each side may do only its own: the recipient opens and
-- gives receipts, the sender recalls. Held here too, so that a mistake in a statement cannot break it.
CREATE FUNCTION delivery_moves_forward() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    office text := current_setting('app.office', true);
BEGIN
    IF NEW.status <> OLD.status AND NOT (
        (OLD.status = 'claimed' AND NEW.status = 'delivered')
        OR (OLD.status = 'delivered' AND NEW.status IN ('downloaded', 'recalled', 'expired'))
    ) THEN
        RAISE EXCEPTION 'a delivery does not go from % to %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    IF (OLD.delivery_no IS NOT NULL AND (NEW.delivery_no, NEW.delivered_at) IS DISTINCT FROM
            (OLD.delivery_no, OLD.delivered_at))
        OR (OLD.opened_at IS NOT NULL AND NEW.opened_at IS DISTINCT FROM OLD.opened_at)
        OR (OLD.status = NEW.status AND (NEW.downloaded_at, NEW.receipt_sealed, NEW.recalled_at, NEW.expired_at)
            IS DISTINCT FROM (OLD.downloaded_at, OLD.receipt_sealed, OLD.recalled_at, OLD.expired_at))
    THEN
        RAISE EXCEPTION 'what a delivery says once stays' USING ERRCODE = 'check_violation';
    END IF;
    IF current_user = TG_TABLE_SCHEMA || '_api' AND (
        (NEW.status <> OLD.status AND NOT (
            (NEW.status = 'downloaded' AND office = OLD.recipient) OR (NEW.status = 'recalled' AND office = OLD.sender)))
        OR (NEW.opened_at IS DISTINCT FROM OLD.opened_at AND office <> OLD.recipient)
    ) THEN
        RAISE EXCEPTION 'this side of the delivery may not do that' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER moves_forward BEFORE UPDATE ON delivery FOR EACH ROW EXECUTE FUNCTION delivery_moves_forward();

-- The last delivery number of each recipient, and its time. The row lock makes numbers dense and their times rise.
CREATE TABLE counter (
    recipient text PRIMARY KEY,
    last_no bigint NOT NULL CHECK (last_no >= 0),
    last_at timestamptz
);
SELECT grant_worker('counter');

-- Messages that have come to an end, whichever, and since when: the clock of erasure. Written once per message.
CREATE TABLE ended (
    message_id uuid PRIMARY KEY,
    sender text NOT NULL,
    recipient text NOT NULL,
    cause text NOT NULL
        CHECK (cause IN ('rejected', 'undeliverable', 'discarded', 'downloaded', 'recalled', 'expired')),
    ended_at timestamptz NOT NULL,
    -- From here on nobody gets the content; the bytes go after this is committed, so no reader meets a half-erased one.
    erase_started_at timestamptz,
    erased_at timestamptz CHECK (erased_at IS NULL OR erase_started_at IS NOT NULL)
) PARTITION BY RANGE (message_id);
CREATE INDEX ended_to_erase ON ended (ended_at) WHERE erased_at IS NULL;
SELECT partition_by_month('ended');
SELECT grant_worker('ended');

-- Who was given content, committed before the first byte went out. Not an event: it stays here.
CREATE TABLE access_log (
    message_id uuid NOT NULL,
    access_id uuid NOT NULL,
    sender text NOT NULL,
    recipient text NOT NULL,
    office text NOT NULL,
    user_id text,
    what text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (message_id, access_id)
) PARTITION BY RANGE (message_id);
SELECT partition_by_month('access_log');
SELECT grant_worker('access_log');

-- Objects that nobody will need after a moment: a shared object that was rewritten, or a rewriting that was not finished.
CREATE TABLE doomed_object (
    object_key text PRIMARY KEY,
    after timestamptz NOT NULL
);
SELECT grant_worker('doomed_object');

-- Row-level security. Both offices see their message; the recipient only once it has arrived.
SELECT office_policy('custody', 'sender', 'recipient');
SELECT office_policy('delivery', 'sender', 'recipient');
SELECT office_policy('counter', 'recipient');
SELECT office_policy('ended', 'sender', 'recipient');
SELECT office_policy('access_log', 'sender', 'recipient');

-- The conditions below ask other tables through functions: a function's plan is kept and meets one month only, where a
-- subquery in a policy is planned anew over all months by every statement (five times the time of a lookup). They run
-- with the caller's rights, so they tell nobody more than he may see.
CREATE FUNCTION has_arrived(id uuid) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM storage.delivery d WHERE d.message_id = id AND d.delivery_no IS NOT NULL);
END
$$;

CREATE FUNCTION is_in_custody(id uuid, of_sender text, of_recipient text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM storage.custody c
        WHERE c.message_id = id AND c.sender = of_sender AND c.recipient = of_recipient);
END
$$;

-- VOLATILE: it must see what the same transaction has just written.
CREATE FUNCTION ended_as(id uuid, of_sender text, of_recipient text, as_status text) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM storage.delivery d
        WHERE d.message_id = id AND d.sender = of_sender AND d.recipient = of_recipient AND d.status = as_status);
END
$$;

CREATE POLICY arrived_or_sent ON delivery AS RESTRICTIVE TO storage_api
    USING (sender = current_setting('app.office', true) OR delivery_no IS NOT NULL);
CREATE POLICY arrived_or_sent ON custody AS RESTRICTIVE TO storage_api
    USING (sender = current_setting('app.office', true) OR has_arrived(message_id));
CREATE POLICY arrived_or_sent ON ended AS RESTRICTIVE TO storage_api
    USING (sender = current_setting('app.office', true) OR has_arrived(message_id));

-- Only the sender asks for a message back.
CREATE POLICY sender_recalls ON custody AS RESTRICTIVE FOR UPDATE TO storage_api
    USING (sender = current_setting('app.office', true));
GRANT UPDATE (recall_requested_at, recall_reason_sealed) ON custody TO storage_api;

GRANT UPDATE (status, opened_at, downloaded_at, receipt_sealed, recalled_at) ON delivery TO storage_api;

-- A request may end a message only as the delivery's own row, which it has just changed, says.
CREATE POLICY as_delivered ON ended AS RESTRICTIVE FOR INSERT TO storage_api
    WITH CHECK (ended_as(message_id, sender, recipient, cause));
GRANT INSERT (message_id, sender, recipient, cause, ended_at) ON ended TO storage_api;

-- A request writes accesses of its own office to a message that it may see.
CREATE POLICY own_access ON access_log AS RESTRICTIVE FOR INSERT TO storage_api
    WITH CHECK (office = current_setting('app.office', true) AND is_in_custody(message_id, sender, recipient));
GRANT INSERT ON access_log TO storage_api;

