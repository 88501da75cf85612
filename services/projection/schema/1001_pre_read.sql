-- migrate:up
-- The read set (everything that people see in lists, how far the topics were heard for it, and what could not be handled)
-- stands in a schema of its own, `projection_lists`. It is built from the topics of ingest, validation, routing, storage
-- and registry and from nothing else, so that it can be thrown away and built again: in `projection_beside`, by another
-- consumer, and then the two schemas change names. What must live on through that stands in `projection` itself: the
-- feeds, whose numbers clients hold, and the kit's journal and outbox. Both roles look into `projection_lists` first, so
-- no statement but those about the rebuild names a schema.

-- How long an office's feed is. The row's lock makes the feed dense and in commit order.
CREATE TABLE feed (
    office text PRIMARY KEY,
    change_no bigint NOT NULL
) WITH (fillfactor = 70);
SELECT grant_worker('feed');
SELECT office_policy('feed', 'office');

-- The change feed of each office, 1, 2, 3 …, written in the transaction that changes the lists: what is pushed is
-- already in the list. The newest CHANGES_KEPT of an office are kept. It tells what was pushed, in the order in which it
-- was; the log does not hold that order, so a rebuild leaves the feed alone.
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

-- One row while a read set stands beside the live one: one that is being built, or, once the two were switched, the one
-- that was live before, which is kept until `kept_until`. An abandoned one is removed by the process that fills it.
CREATE TABLE rebuild (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    run uuid NOT NULL,
    began_at timestamptz NOT NULL,
    kept_until timestamptz,
    abandoned boolean NOT NULL DEFAULT false
);
SELECT grant_worker('rebuild');

-- How far the two read sets were compared: messages up to `after_message`, then (`after_office` is not null) the counts of
-- offices up to that one. Gone as soon as they change places.
CREATE TABLE comparison (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    began_at timestamptz NOT NULL,
    ended_at timestamptz,
    after_message uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    after_office text,
    compared_until timestamptz
);
SELECT grant_worker('comparison');

-- The rows of each table that were compared so far.
CREATE TABLE comparison_count (
    name text PRIMARY KEY,
    live bigint NOT NULL,
    beside bigint NOT NULL
);
SELECT grant_worker('comparison_count');

-- Offices whose rows of a table were found to differ.
CREATE TABLE comparison_difference (
    office text NOT NULL,
    name text NOT NULL,
    live bigint NOT NULL,
    beside bigint NOT NULL,
    PRIMARY KEY (office, name)
);
SELECT grant_worker('comparison_difference');
ALTER TABLE comparison_difference ENABLE ROW LEVEL SECURITY;
ALTER TABLE comparison_difference FORCE ROW LEVEL SECURITY;
CREATE POLICY inside ON comparison_difference TO projection_owner, projection_worker USING (true) WITH CHECK (true);

-- Every read set has a number of its own, which is part of every ETag: those of one set say nothing about another.
CREATE SEQUENCE edition AS integer START 2;

-- Makes an empty read set beside the live one, with the same tables, rights and row-level security. The role that calls
-- it owns nothing: this runs as the owner, and the schema's name is not for the caller to choose.
CREATE FUNCTION make_beside() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    home text := current_schema();
    live text := home || '_lists';
    beside text := home || '_beside';
    made regclass;
    model record;
    rule record;
BEGIN
    EXECUTE format('CREATE SCHEMA %I', beside);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I, %I', beside, home || '_worker', home || '_api');
    FOR model IN
        SELECT c.oid, c.relname, c.relkind = 'p' AS by_month, c.relrowsecurity, c.relforcerowsecurity, c.relacl,
               coalesce(array_to_string(c.reloptions, ', '), '') AS options
        FROM pg_class c
        WHERE c.relnamespace = live::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    LOOP
        EXECUTE format('CREATE TABLE %I.%I (LIKE %I.%I INCLUDING ALL)%s%s', beside, model.relname, live, model.relname,
            CASE WHEN model.by_month THEN ' PARTITION BY RANGE (message_id)' ELSE '' END,
            CASE WHEN model.options = '' THEN '' ELSE format(' WITH (%s)', model.options) END);
        made := format('%I.%I', beside, model.relname)::regclass;
        IF model.by_month THEN
            PERFORM partition_by_month(made);
        END IF;
        IF model.relrowsecurity THEN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', made);
        END IF;
        IF model.relforcerowsecurity THEN
            EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', made);
        END IF;
        FOR rule IN
            SELECT policyname, cmd, array_to_string(ARRAY(SELECT quote_ident(r) FROM unnest(roles) r), ', ') AS roles,
                   coalesce(' USING (' || qual || ')', '') || coalesce(' WITH CHECK (' || with_check || ')', '') AS says
            FROM pg_policies WHERE schemaname = live AND tablename = model.relname
        LOOP
            EXECUTE format('CREATE POLICY %I ON %s FOR %s TO %s%s', rule.policyname, made, rule.cmd, rule.roles, rule.says);
        END LOOP;
        FOR rule IN SELECT privilege_type, grantee::regrole AS grantee FROM aclexplode(model.relacl) LOOP
            EXECUTE format('GRANT %s ON %s TO %s', rule.privilege_type, made, rule.grantee);
        END LOOP;
    END LOOP;
    EXECUTE format('ALTER TABLE %I.head ALTER COLUMN edition SET DEFAULT %s', beside, nextval('edition'));
    -- What an operator gave up (`given_up` stays in the home schema) is passed over here too: it is found by its hold.
    EXECUTE format('INSERT INTO %I.hold SELECT * FROM %I.hold WHERE state = %L', beside, live, 'discarded');
END
$$;

-- The live read set and the one beside it change places. Nobody sees half of it: a statement finds its tables by one
-- look at the schemas' names. It refuses unless both have heard exactly as much; the caller holds both consumers still.
CREATE FUNCTION switch_sides() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    live text := current_schema() || '_lists';
    beside text := current_schema() || '_beside';
    aside text := current_schema() || '_aside';
    differs boolean;
BEGIN
    EXECUTE format('LOCK TABLE %I.consumer_offset, %I.consumer_offset IN SHARE MODE', live, beside);
    EXECUTE format('SELECT EXISTS (SELECT FROM %I.consumer_offset l FULL JOIN %I.consumer_offset b USING (topic, partition)'
        ' WHERE coalesce(l.next, 0) <> coalesce(b.next, 0))', live, beside) INTO differs;
    IF differs THEN
        RAISE EXCEPTION 'the two read sets have not heard the same';
    END IF;
    EXECUTE format('ALTER SCHEMA %I RENAME TO %I', live, aside);
    EXECUTE format('ALTER SCHEMA %I RENAME TO %I', beside, live);
    EXECUTE format('ALTER SCHEMA %I RENAME TO %I', aside, beside);
END
$$;

-- Removes the read set beside the live one. Whoever fills it is waited for.
CREATE FUNCTION drop_beside() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    beside text := current_schema() || '_beside';
BEGIN
    EXECUTE format('LOCK TABLE %I.consumer_offset IN ACCESS EXCLUSIVE MODE', beside);
    EXECUTE format('DROP SCHEMA %I CASCADE', beside);
END
$$;

-- From here on everything belongs to the first read set; the kit's tables about hearing go with it.
DO $$
DECLARE
    home text := current_schema();
    live text := home || '_lists';
    worker text := home || '_worker';
    target text;
BEGIN
    REVOKE ALL ON FUNCTION make_beside(), switch_sides(), drop_beside() FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION make_beside(), switch_sides(), drop_beside() TO %I', worker);
    EXECUTE format('CREATE SCHEMA %I', live);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I, %I', live, worker, home || '_api');
    FOREACH target IN ARRAY ARRAY['consumer_offset', 'hold', 'parked', 'breaker', 'suspect'] LOOP
        EXECUTE format('ALTER TABLE %I SET SCHEMA %I', target, live);
    END LOOP;
    PERFORM set_config('search_path', format('%I, %I', live, home), true);
END
$$;

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

-- How far an office's lists have come: `version` counts the facts that the office may see. With the number of the read
-- set it makes the ETag.
CREATE TABLE head (
    office text PRIMARY KEY,
    edition integer NOT NULL DEFAULT 1,
    version bigint NOT NULL
) WITH (fillfactor = 70);
SELECT grant_worker('head');
SELECT office_policy('head', 'office');

-- The operators' word about the whole system: notices that carry a state, as the registry said them. Either event may
-- create the row. No office is named, so everybody may read it.
CREATE TABLE operators_word (
    notice_id uuid PRIMARY KEY,
    published_at timestamptz,
    state text CHECK (state IN ('normal', 'slow', 'down')),
    until timestamptz,
    withdrawn boolean NOT NULL
);
SELECT grant_worker('operators_word');
SELECT public_policy('operators_word');

-- migrate:down
