-- migrate:up
-- What every service has, in its own schema: what it said (journal), what Kafka has not acknowledged (outbox), how far
-- it has heard (consumer_offset), what it could not handle (hold, parked), and its copy of the public office directory.

-- The smallest UUIDv7 of a moment: months of a partitioned table are ranges of message ids.
CREATE FUNCTION uuid_floor(moment timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;

-- Months for a table partitioned by message id: one back, 24 ahead, and a default that should stay empty (it alarms).
-- Databases that are made and thrown away by the hundred ask for fewer (`todoke.months_ahead`).
CREATE FUNCTION partition_by_month(parent regclass) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    month timestamptz := date_trunc('month', now(), 'UTC') - interval '1 month';
    ahead int := coalesce(nullif(current_setting('todoke.months_ahead', true), ''), '24')::int;
    home text;
    bare text;
BEGIN
    SELECT relnamespace::regnamespace, relname INTO STRICT home, bare FROM pg_class
    WHERE oid = parent AND relkind = 'p' AND relowner = current_user::regrole;
    FOR step IN 0..ahead + 1 LOOP
        EXECUTE format('CREATE TABLE IF NOT EXISTS %s.%I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)',
            home, bare || to_char(month AT TIME ZONE 'UTC', '_YYYY_MM'), parent,
            uuid_floor(month), uuid_floor(month + interval '1 month'));
        month := month + interval '1 month';
    END LOOP;
    EXECUTE format('CREATE TABLE IF NOT EXISTS %s.%I PARTITION OF %s DEFAULT', home, bare || '_rest', parent);
END
$$;

-- Tops up the months of every partitioned table of this service.
CREATE FUNCTION top_up_months() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    parent regclass;
BEGIN
    FOR parent IN
        SELECT c.oid::regclass FROM pg_class c JOIN pg_partitioned_table p ON p.partrelid = c.oid
        WHERE c.relowner = current_user::regrole AND p.partstrat = 'r'
    LOOP
        PERFORM partition_by_month(parent);
    END LOOP;
END
$$;

CREATE FUNCTION grant_worker(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', target, current_schema() || '_worker');
END
$$;

-- Row-level security: owner and worker see all rows, the API role those in which one of `columns` is its office.
CREATE FUNCTION office_policy(target regclass, VARIADIC columns name[]) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY inside ON %s TO %I, %I USING (true) WITH CHECK (true)', target,
        current_schema() || '_owner', current_schema() || '_worker');
    EXECUTE format('CREATE POLICY own_office ON %s TO %I USING (current_setting(''app.office'', true) IN (%s))', target,
        current_schema() || '_api', (SELECT string_agg(quote_ident(c), ', ') FROM unnest(columns) c));
    EXECUTE format('GRANT SELECT ON %s TO %I', target, current_schema() || '_api');
END
$$;

-- Public facts: everybody may read them.
CREATE FUNCTION public_policy(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY inside ON %s TO %I, %I USING (true) WITH CHECK (true)', target,
        current_schema() || '_owner', current_schema() || '_worker');
    EXECUTE format('CREATE POLICY everybody ON %s FOR SELECT TO %I USING (true)', target, current_schema() || '_api');
    EXECUTE format('GRANT SELECT ON %s TO %I', target, current_schema() || '_api');
END
$$;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is insert-only';
END
$$;

CREATE SEQUENCE journal_seq AS bigint;

-- Every event about a message that this service said. The same fact has the same event id, so it stands here once.
-- A whole story lies in one partition, because the month is taken from the message id itself.
CREATE TABLE journal (
    message_id uuid NOT NULL,
    event_id uuid NOT NULL,
    seq bigint NOT NULL DEFAULT nextval('journal_seq'),
    key text NOT NULL,
    type text NOT NULL,
    version smallint NOT NULL,
    payload json NOT NULL CHECK (octet_length(payload::text) <= 65536),
    traceparent text,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (message_id, event_id)
) PARTITION BY RANGE (message_id);
SELECT partition_by_month('journal');
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON journal FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- The same for events about offices, users and everything else that is no message.
CREATE TABLE journal_office (
    subject_id uuid NOT NULL,
    event_id uuid NOT NULL,
    seq bigint NOT NULL DEFAULT nextval('journal_seq'),
    subject text NOT NULL,
    key text NOT NULL,
    type text NOT NULL,
    version smallint NOT NULL,
    payload json NOT NULL CHECK (octet_length(payload::text) <= 65536),
    traceparent text,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (subject_id, event_id)
);
CREATE TRIGGER insert_only BEFORE UPDATE OR DELETE ON journal_office FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- What Kafka has not acknowledged yet, in the order it was said. Rows are deleted only after the acknowledgement.
CREATE TABLE outbox (
    seq bigint PRIMARY KEY,
    subject_id uuid NOT NULL,
    event_id uuid NOT NULL,
    about_office boolean NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000);

-- What the broker refused as invalid or too large: set aside, alarmed, never silently dropped.
CREATE TABLE parked_out (
    seq bigint PRIMARY KEY,
    subject_id uuid NOT NULL,
    event_id uuid NOT NULL,
    about_office boolean NOT NULL,
    error text NOT NULL,
    refused_at timestamptz NOT NULL
);

-- How far this service's own topic goes: the last record of each partition that Kafka acknowledged, noted in the
-- statement that forgets its outbox row. So whatever of the journal is in neither outbox nor parked_out stands in the
-- topic below these marks, and what stands above them is in the journal, unless one of the two was restored, emptied or
-- cut: a look at the marks and at what is above them tells. `first` is where the log began when it was last compared;
-- `suspect` says that an acknowledgement came from below its mark.
CREATE TABLE own_log (
    partition integer PRIMARY KEY,
    first bigint NOT NULL DEFAULT 0,
    next bigint NOT NULL DEFAULT 0,
    event_id text,
    append_time bigint,
    suspect boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- What was found, and mended, each time journal and topic (or rows and objects) were compared. `trigger`: at a start, on
-- an operator's demand, or on suspicion; `compared`: the topic behind the marks (tail), all of it (topic), or objects.
-- `clean` says that nothing is left that was not mended: it stays false until an operator has had all of it compared.
CREATE TABLE reconcile_report (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    trigger text NOT NULL CHECK (trigger IN ('start', 'demand', 'suspect')),
    compared text NOT NULL CHECK (compared IN ('tail', 'topic', 'objects')),
    mismatch text,
    looked_at bigint NOT NULL,
    taken_back bigint NOT NULL DEFAULT 0,
    published_again bigint NOT NULL DEFAULT 0,
    orphans bigint NOT NULL DEFAULT 0,
    unhealed bigint NOT NULL,
    clean boolean NOT NULL
);

-- What could not be mended, by message id (or office number, or place in the topic).
CREATE TABLE reconcile_unhealed (
    report_id bigint NOT NULL REFERENCES reconcile_report ON DELETE CASCADE,
    kind text NOT NULL,
    subject text NOT NULL,
    PRIMARY KEY (report_id, kind, subject)
);

-- What the topic was found to lack, collected before it goes into the outbox: so it goes out in the order it was said.
CREATE TABLE reconcile_missing (
    seq bigint PRIMARY KEY,
    subject_id uuid NOT NULL,
    event_id uuid NOT NULL,
    about_office boolean NOT NULL
);

-- An operator's wish that everything be compared; removed when it is done.
CREATE TABLE reconcile_wish (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    asked_at timestamptz NOT NULL,
    asked_by text NOT NULL
);

-- How far this service has heard each partition. Written in the transaction of the batch (compare-and-set), so that an
-- effect and its offset are one. `event_id` and `append_time` (ms) identify the last applied record.
CREATE TABLE consumer_offset (
    topic text NOT NULL,
    partition integer NOT NULL,
    next bigint NOT NULL CHECK (next >= 0),
    event_id text,
    append_time bigint,
    PRIMARY KEY (topic, partition)
);

-- A subject (message, or office for office events) whose record failed for good. Its row is the lock between the
-- consumer, which parks later records behind it, and a retry. Of cause `parked` an operator decides, `scan` comes again
-- by itself.
CREATE TABLE hold (
    subject text PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('held', 'retry', 'discard', 'released', 'discarded')),
    cause text NOT NULL CHECK (cause IN ('parked', 'scan')),
    nth integer NOT NULL DEFAULT 1,
    error text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    held_at timestamptz NOT NULL,
    decided_at timestamptz,
    decided_by text,
    reason_sealed text
);

-- The raw records of held subjects, in the order they came.
CREATE TABLE parked (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    record text NOT NULL,
    append_time bigint NOT NULL,
    key bytea,
    header_names text[] NOT NULL,
    header_values bytea[] NOT NULL,
    value bytea,
    error text NOT NULL,
    parked_at timestamptz NOT NULL,
    UNIQUE (topic, partition, log_offset)
);
CREATE INDEX parked_subject ON parked (subject, id);

-- Records that an operator gave up with their subject, by event id, or by their place where they have none. The log keeps
-- them for ever: whoever hears it again passes them over, for a human's word is not asked for twice.
CREATE TABLE given_up (
    subject text NOT NULL,
    record text NOT NULL,
    given_up_at timestamptz NOT NULL,
    PRIMARY KEY (subject, record)
);

-- One row when parking has gone so wrong that it must be our own fault; consuming stops until an operator removes it.
CREATE TABLE breaker (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    reason text NOT NULL,
    tripped_at timestamptz NOT NULL
);

-- Whether an instance ended by itself; if it did not, it begins with batches of one and counts tries per record.
CREATE TABLE running (
    instance text PRIMARY KEY,
    clean boolean NOT NULL,
    started_at timestamptz NOT NULL
);
CREATE TABLE suspect (
    topic text NOT NULL,
    partition integer NOT NULL,
    log_offset bigint NOT NULL,
    attempts integer NOT NULL,
    PRIMARY KEY (topic, partition, log_offset)
);

-- Who may do a thing that only one process does at a time: relay the outbox, run a timer.
CREATE TABLE lease (
    name text PRIMARY KEY,
    owner text NOT NULL,
    until timestamptz NOT NULL,
    last_run timestamptz
);

-- This service's copy of the public rows of offices, as of its `version`.
CREATE TABLE directory (
    office text PRIMARY KEY,
    version integer NOT NULL,
    facts json NOT NULL
);
SELECT public_policy('directory');

DO $$
DECLARE
    worker text := current_schema() || '_worker';
    api text := current_schema() || '_api';
    target text;
BEGIN
    FOREACH target IN ARRAY ARRAY['outbox', 'parked_out', 'own_log', 'reconcile_report', 'reconcile_unhealed',
                                  'reconcile_missing', 'reconcile_wish', 'consumer_offset', 'hold', 'parked', 'given_up',
                                  'breaker', 'running', 'suspect', 'lease', 'directory'] LOOP
        PERFORM grant_worker(target::regclass);
    END LOOP;
    EXECUTE format('GRANT SELECT, INSERT ON journal, journal_office TO %I', worker);
    EXECUTE format('GRANT USAGE ON SEQUENCE journal_seq TO %I, %I', worker, api);
    EXECUTE format('GRANT INSERT ON journal, journal_office, outbox TO %I', api);
    EXECUTE format('GRANT SELECT (message_id, event_id, seq, traceparent) ON journal TO %I', api);
    EXECUTE format('GRANT SELECT (subject_id, event_id, seq) ON journal_office TO %I', api);
    REVOKE ALL ON FUNCTION partition_by_month(regclass), top_up_months() FROM PUBLIC;
    EXECUTE format('GRANT EXECUTE ON FUNCTION top_up_months() TO %I', worker);
END
$$;

-- migrate:down
