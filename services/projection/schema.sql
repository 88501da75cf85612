-- The read set: everything here is built from the topics of ingest, validation, routing and storage and from nothing
-- else, so that it can be thrown away and built again. No statement names its schema: a rebuild runs these same steps
-- in a second schema beside this one (`projection_v2`), replays the log into it and then changes the two names in one
-- transaction; the consumer's offsets stand in the same schema and go with it.

-- What was heard of a message, once per event: the timeline, and what findings and evidence are made of.
-- The primary key is what makes a repeated event change nothing: only a row that is new here goes on to the lists.
-- `recipient` is null where the recipient may not know of the fact, so that row-level security hides it.
-- `detail` holds codes, counts and sealed texts, never anything personal in clear.
CREATE TABLE fact (
    message_id uuid NOT NULL,
    event_id uuid NOT NULL,
    service text NOT NULL,
    type text NOT NULL,
    at timestamptz NOT NULL,
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    sender text NOT NULL,
    recipient text,
    detail jsonb,
    PRIMARY KEY (message_id, event_id)
) PARTITION BY RANGE (message_id);
SELECT partition_by_month('fact');
SELECT grant_worker('fact');
SELECT office_policy('fact', 'sender', 'recipient');

-- The send list: one row per message, which any event about the message may create (there is no order between topics).
-- Until an event with the package has come, `submitted_at` is null and the row is in no list and in no count.
-- `hold_…` is 2·n after the n-th MessageHeld of that service and 2·n+1 after its release: the greatest number stands.
-- `status` only rises, by the rank table in rules.py.
CREATE TABLE sent (
    message_id uuid NOT NULL PRIMARY KEY,
    sender text NOT NULL,
    recipient text NOT NULL,
    sequence text,
    csv_version text,
    months text[],
    kinds text[],
    sender_name text,
    recipient_name text,
    service_type text,
    submitted_at timestamptz,
    place integer,
    epoch text,
    parts jsonb,
    manifest text,
    status text NOT NULL,
    delivery_no bigint,
    delivered_at timestamptz,
    opened_at timestamptz,
    downloaded_at timestamptz,
    recall_requested_at timestamptz,
    erased_at timestamptz,
    errors integer NOT NULL,
    warnings integer NOT NULL,
    reason text,
    hold_validation smallint NOT NULL,
    hold_routing smallint NOT NULL,
    hold_storage smallint NOT NULL,
    parked boolean NOT NULL DEFAULT false,
    held boolean NOT NULL GENERATED ALWAYS AS (
        status <> 'undeliverable' AND (parked OR (hold_validation > 0 AND hold_validation % 2 = 0)
            OR (hold_routing > 0 AND hold_routing % 2 = 0) OR (hold_storage > 0 AND hold_storage % 2 = 0))) STORED,
    CHECK (status IN ('submitted', 'accepted', 'routed', 'delivered', 'rejected', 'undeliverable', 'expired',
                      'recalled', 'downloaded'))
) PARTITION BY RANGE (message_id);
CREATE INDEX sent_page ON sent (sender, submitted_at DESC, place DESC, message_id DESC);
-- What is still on its way: few rows at any time, so the oldest is found at once.
CREATE INDEX sent_on_its_way ON sent (submitted_at) WHERE status IN ('submitted', 'accepted', 'routed') AND NOT held;
SELECT partition_by_month('sent');
SELECT grant_worker('sent');
SELECT office_policy('sent', 'sender');

-- The receive list, built from storage's topic alone: a row is in the list once Delivered has come, which carries all
-- that the list shows. `delivery_no` is dense per recipient because storage draws it so; nothing here draws numbers.
-- What the recipient may not know (reason of a refusal, a recall that is only asked for) has no column.
CREATE TABLE received (
    message_id uuid NOT NULL PRIMARY KEY,
    sender text NOT NULL,
    recipient text NOT NULL,
    sequence text,
    csv_version text,
    months text[],
    kinds text[],
    sender_name text,
    recipient_name text,
    service_type text,
    submitted_at timestamptz,
    place integer,
    epoch text,
    parts jsonb,
    manifest text,
    status text NOT NULL,
    delivery_no bigint,
    delivered_at timestamptz,
    opened_at timestamptz,
    downloaded_at timestamptz,
    erased_at timestamptz,
    errors integer NOT NULL,
    warnings integer NOT NULL,
    hold_storage smallint NOT NULL,
    parked boolean NOT NULL DEFAULT false,
    held boolean NOT NULL GENERATED ALWAYS AS (parked OR (hold_storage > 0 AND hold_storage % 2 = 0)) STORED,
    CHECK (status IN ('submitted', 'delivered', 'expired', 'recalled', 'downloaded'))
) PARTITION BY RANGE (message_id);
CREATE INDEX received_page ON received (recipient, delivery_no DESC);
SELECT partition_by_month('received');
SELECT grant_worker('received');
SELECT office_policy('received', 'recipient');

-- How many listed messages an office has per box and status. Written in the transaction that changes the lists, so
-- that it always equals a recount and nobody ever counts on reading.
CREATE TABLE tally (
    office text NOT NULL,
    box text NOT NULL CHECK (box IN ('sent', 'received')),
    status text NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (office, box, status)
) WITH (fillfactor = 70);
SELECT grant_worker('tally');
SELECT office_policy('tally', 'office');

-- How far an office's lists have come. `version` counts the facts that the office may see (it makes the ETag);
-- `change_no` is the last number of its change feed. The row's lock makes the feed dense and in commit order.
CREATE TABLE head (
    office text PRIMARY KEY,
    version bigint NOT NULL,
    change_no bigint NOT NULL
) WITH (fillfactor = 70);
SELECT grant_worker('head');
SELECT office_policy('head', 'office');

-- The change feed of each office, 1, 2, 3 …, written in the transaction that changes the lists: what is pushed is
-- already in the list. The newest CHANGES_KEPT of an office are kept.
CREATE TABLE change (
    office text NOT NULL,
    change_no bigint NOT NULL,
    event text NOT NULL,
    message_id uuid NOT NULL,
    delivery_no bigint,
    at timestamptz NOT NULL,
    PRIMARY KEY (office, change_no)
);
SELECT grant_worker('change');
SELECT office_policy('change', 'office');

-- The health of the whole pipeline as a timer last measured it: since when the oldest message that is neither held nor
-- at an end has been on its way. No office is named, so everybody may read it.
CREATE TABLE pulse (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    measured_at timestamptz NOT NULL,
    oldest_submitted_at timestamptz
);
SELECT grant_worker('pulse');
SELECT public_policy('pulse');

