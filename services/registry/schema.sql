-- Offices and their licences, persons and their rights at offices, and everything a login needs.

-- The public row of an office. Each change is one event, and `version` counts them: nobody may change a row without
-- raising its version by exactly one in the same transaction, or the copies elsewhere would never learn of it.
-- `search` is number and name as they are searched for (NFKC, folded). `csv_version_at` is when the message was handed
-- in that told `csv_version_last`: an older message that is heard again changes nothing.
CREATE TABLE office (
    number text PRIMARY KEY CHECK (number ~ '^[0-9A-Z]{10}$'),
    version integer NOT NULL CHECK (version >= 1),
    name text NOT NULL CHECK (name <> ''),
    search text NOT NULL,
    address text NOT NULL,
    phone text NOT NULL,
    fax text NOT NULL,
    prefecture text NOT NULL,
    service_types text[] NOT NULL,
    suspended boolean NOT NULL DEFAULT false,
    licence_until date,
    csv_version_last text,
    csv_version_at timestamptz,
    predecessor text,
    successor text,
    changed_at timestamptz NOT NULL
);
CREATE INDEX office_licence ON office (licence_until);
SELECT public_policy('office'), grant_worker('office');

-- What of a licence only the office itself and the operator see. Its last day is public and stands in `office`.
CREATE TABLE licence (
    office text PRIMARY KEY REFERENCES office,
    renews boolean NOT NULL,
    cause text NOT NULL CHECK (cause IN ('granted', 'renewed', 'ended', 'corrected', 'auto_renew_stopped')),
    changed_at timestamptz NOT NULL
);
SELECT office_policy('licence', 'office'), grant_worker('licence');

-- A person, known by the c-ID. Passwords are kept as argon2id only. A person may belong to several offices, so the row
-- belongs to none: it is read through `membership`, and changed by the person itself.
CREATE TABLE person (
    id text PRIMARY KEY CHECK (id ~ '^c[0-9]{10}$'),
    name text NOT NULL,
    password_hash text NOT NULL,
    must_change boolean NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'ended')),
    password_changed_at timestamptz NOT NULL,
    last_login_at timestamptz,
    created_at timestamptz NOT NULL
);

-- The KJ-ID of an office and its password; `c_id` is the person made when the office's application was approved, and
-- `c_id_issued_at` when the office last had a password made for it (nobody can log in with it before).
CREATE TABLE office_credential (
    office text PRIMARY KEY REFERENCES office,
    kj_id text NOT NULL UNIQUE CHECK (kj_id ~ '^KJ[0-9]{2}[0-9A-Z]{10}$'),
    password_hash text NOT NULL,
    must_change boolean NOT NULL,
    password_changed_at timestamptz NOT NULL,
    last_login_at timestamptz,
    c_id text REFERENCES person,
    c_id_issued_at timestamptz
);
SELECT office_policy('office_credential', 'office'), grant_worker('office_credential');

-- Who may act for which office, and as what. `version` counts the states of the row for UserChanged.
CREATE TABLE membership (
    user_id text NOT NULL REFERENCES person,
    office text NOT NULL REFERENCES office,
    roles text[] NOT NULL CHECK (roles <@ ARRAY['admin', 'staff', 'viewer'] AND cardinality(roles) >= 1),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'ended')),
    version integer NOT NULL CHECK (version >= 1),
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (office, user_id)
);
CREATE INDEX membership_user ON membership (user_id);
SELECT office_policy('membership', 'office'), grant_worker('membership');

-- The letter that told an office its secrets, once. Both are kept as argon2id only: the password in `office_credential`,
-- the secret with which a certificate is asked for here. Made again, it takes the place of the one before.
CREATE TABLE letter (
    office text PRIMARY KEY REFERENCES office,
    certificate_secret_hash text NOT NULL,
    made_at timestamptz NOT NULL,
    made_by text NOT NULL
);
SELECT grant_worker('letter');
ALTER TABLE letter ENABLE ROW LEVEL SECURITY;
ALTER TABLE letter FORCE ROW LEVEL SECURITY;
CREATE POLICY inside ON letter TO registry_owner, registry_worker USING (true) WITH CHECK (true);

-- How far an import has come that may be gone on with under its id. The row changes in the transactions that take the
-- lines, so that whatever dies each line is taken and counted once, and the operator's act is said once.
CREATE TABLE office_import (
    operator text NOT NULL,
    id uuid NOT NULL,
    line integer NOT NULL DEFAULT 0,
    registered integer NOT NULL DEFAULT 0,
    changed integer NOT NULL DEFAULT 0,
    unchanged integer NOT NULL DEFAULT 0,
    said boolean NOT NULL DEFAULT false,
    begun_at timestamptz NOT NULL,
    PRIMARY KEY (operator, id)
);
SELECT grant_worker('office_import');
ALTER TABLE office_import ENABLE ROW LEVEL SECURITY;
ALTER TABLE office_import FORCE ROW LEVEL SECURITY;
CREATE POLICY inside ON office_import TO registry_owner, registry_worker USING (true) WITH CHECK (true);

-- What an office applied for: a licence, or its renewal. Names and addresses of persons stand here and in no event; so
-- does `answer`, what a refused office reads. `version` counts the states for the events.
CREATE TABLE application (
    id uuid PRIMARY KEY,
    office text NOT NULL REFERENCES office,
    kind text NOT NULL CHECK (kind IN ('new', 'renewal')),
    contact_name text NOT NULL CHECK (contact_name <> ''),
    mail text NOT NULL CHECK (mail <> ''),
    auto_renew boolean NOT NULL,
    state text NOT NULL CHECK (state IN ('received', 'approved', 'refused')),
    version integer NOT NULL CHECK (version >= 1),
    received_at timestamptz NOT NULL,
    decided_at timestamptz,
    decided_by text,
    answer text,
    c_id text REFERENCES person,
    CHECK ((state = 'received') = (decided_at IS NULL))
);
CREATE INDEX application_office ON application (office, received_at);
CREATE INDEX application_state ON application (state, received_at, id);
-- An office has one application at a time that waits.
CREATE UNIQUE INDEX application_waits ON application (office) WHERE state = 'received';
SELECT office_policy('application', 'office'), grant_worker('application');

-- Client certificates of offices as the operator recorded them, the newest last; nothing is bound to them yet.
CREATE TABLE certificate (
    office text NOT NULL REFERENCES office,
    version integer NOT NULL CHECK (version >= 1),
    issuer text NOT NULL,
    serial text NOT NULL CHECK (serial ~ '^[0-9A-F]{2,40}$'),
    not_after timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (office, version),
    UNIQUE (issuer, serial)
);
SELECT office_policy('certificate', 'office'), grant_worker('certificate');

-- Notices to offices, read from `published_at` on until they are withdrawn. With a `state` one is the operators' word
-- about the whole system.
CREATE TABLE notice (
    id uuid PRIMARY KEY,
    title text NOT NULL CHECK (title <> ''),
    body text NOT NULL CHECK (body <> ''),
    published_at timestamptz NOT NULL,
    important boolean NOT NULL,
    audience text NOT NULL CHECK (audience IN ('all', 'service_types', 'prefectures')),
    audience_values text[] NOT NULL,
    state text CHECK (state IN ('normal', 'slow', 'down')),
    until timestamptz,
    made_by text NOT NULL,
    withdrawn_at timestamptz,
    CHECK ((audience = 'all') = (cardinality(audience_values) = 0)),
    CHECK (until IS NULL OR until > published_at)
);
CREATE INDEX notice_published ON notice (published_at DESC, id DESC);
SELECT public_policy('notice'), grant_worker('notice');

-- Who has opened which notice. A person of two offices reads it once.
CREATE TABLE notice_read (
    user_id text NOT NULL REFERENCES person,
    notice uuid NOT NULL REFERENCES notice,
    read_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, notice)
);
ALTER TABLE notice_read ENABLE ROW LEVEL SECURITY;
ALTER TABLE notice_read FORCE ROW LEVEL SECURITY;
CREATE POLICY inside ON notice_read TO registry_owner, registry_worker USING (true) WITH CHECK (true);
CREATE POLICY oneself ON notice_read TO registry_api USING (user_id = current_setting('app.user', true));
GRANT SELECT, INSERT ON notice_read TO registry_api;
SELECT grant_worker('notice_read');

-- Operators log in on their own listener; the secret of their second factor is sealed. `totp_step` is the last time
-- step whose code was taken: a code works once (RFC 6238 section 5.2).
CREATE TABLE operator (
    id text PRIMARY KEY,
    password_hash text NOT NULL,
    totp_sealed bytea NOT NULL,
    totp_step bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'ended'))
);
SELECT grant_worker('operator');

-- A session is a person at an office (scope office) or the office itself (scope usage). It ends at `until` at the
-- latest; `ended_at` says that it ended earlier, by logging out, a changed password or a refresh token used again.
CREATE TABLE session (
    id uuid PRIMARY KEY,
    office text NOT NULL REFERENCES office,
    user_id text REFERENCES person,
    scope text NOT NULL CHECK (scope IN ('office', 'usage')),
    created_at timestamptz NOT NULL,
    until timestamptz NOT NULL,
    used_at timestamptz NOT NULL,
    ended_at timestamptz,
    CHECK ((scope = 'usage') = (user_id IS NULL))
);
CREATE INDEX session_office ON session (office, user_id);
CREATE INDEX session_person ON session (user_id);
CREATE INDEX session_until ON session (until);
SELECT office_policy('session', 'office'), grant_worker('session');

-- Every refresh token of a session, as SHA-256. A used one holds its successor, masked by the token itself, so that the
-- same successor can be answered again for some seconds and the table alone gives no token away. At most one token of a
-- session is unused: who uses one locks its row first.
CREATE TABLE refresh_token (
    hash bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    session uuid NOT NULL REFERENCES session ON DELETE CASCADE,
    office text NOT NULL,
    issued_at timestamptz NOT NULL,
    used_at timestamptz,
    successor_masked bytea CHECK (octet_length(successor_masked) = 32),
    CHECK ((used_at IS NULL) = (successor_masked IS NULL))
);
CREATE UNIQUE INDEX refresh_token_unused ON refresh_token (session) WHERE used_at IS NULL;
SELECT office_policy('refresh_token', 'office'), grant_worker('refresh_token');

-- The feed that every process polls. Numbers are drawn from one row, under its lock, in the transaction that ends the
-- session: they become visible in order and without gaps, so "after 17" never passes one over.
CREATE TABLE session_feed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    last bigint NOT NULL
);
INSERT INTO session_feed (last) VALUES (0);
CREATE TABLE session_ended (
    n bigint PRIMARY KEY,
    session uuid NOT NULL,
    ended_at timestamptz NOT NULL
);
CREATE INDEX session_ended_at ON session_ended (ended_at);
SELECT grant_worker('session_feed'), grant_worker('session_ended');

-- Failures per typed ID and network, known or not: `account` is an HMAC of what was typed, because people type
-- passwords into the wrong field. The empty account counts all failures of the network; its lock does not touch IDs
-- that logged in from there lately (`succeeded_at`), so a guesser behind the same address locks no colleague out.
CREATE TABLE login_lock (
    account bytea NOT NULL,
    network text NOT NULL,
    failures integer NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    locked_until timestamptz,
    succeeded_at timestamptz,
    PRIMARY KEY (account, network)
);
CREATE INDEX login_lock_last ON login_lock (last_at);

-- What the owner is told at the next login (failed_logins_at).
CREATE TABLE login_failure (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text NOT NULL,
    at timestamptz NOT NULL
);
CREATE INDEX login_failure_subject ON login_failure (subject, at);
CREATE INDEX login_failure_at ON login_failure (at);
SELECT grant_worker('person'), grant_worker('login_lock'), grant_worker('login_failure');

-- The one way in for somebody who has no session yet: exactly the row of one ID, whoever asks. For a KJ-ID typed by a
-- person (second step) `is_member` says whether that person may act for the office.
CREATE FUNCTION find_login(kind text, login_id text, person_id text)
RETURNS TABLE (subject text, office text, name text, password_hash text, must_change boolean, person_must_change boolean,
               is_member boolean, roles text[], last_login_at timestamptz, totp_sealed bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path FROM CURRENT
BEGIN ATOMIC
    SELECT p.id, NULL::text, p.name, p.password_hash, p.must_change, p.must_change, true, ARRAY[]::text[],
           p.last_login_at, NULL::bytea
    FROM person p
    WHERE kind = 'person' AND p.id = login_id AND p.state = 'active'
    UNION ALL
    SELECT c.kj_id, c.office, coalesce(p.name, ''), c.password_hash, c.must_change, coalesce(p.must_change, false),
           m.user_id IS NOT NULL AND p.id IS NOT NULL, coalesce(m.roles, ARRAY[]::text[]),
           CASE WHEN person_id IS NULL THEN c.last_login_at ELSE p.last_login_at END, NULL::bytea
    FROM office_credential c
    LEFT JOIN membership m ON m.office = c.office AND m.user_id = person_id AND m.state = 'active'
    LEFT JOIN person p ON p.id = m.user_id AND p.state = 'active'
    WHERE kind = 'office' AND c.kj_id = login_id
    UNION ALL
    SELECT o.id, NULL::text, '', o.password_hash, false, false, true, ARRAY[]::text[], NULL::timestamptz, o.totp_sealed
    FROM operator o
    WHERE kind = 'operator' AND o.id = login_id AND o.state = 'active';
END;

-- The person behind a session sees and changes its own row and sessions, in whatever office; `app.user` is set per
-- transaction from a verified token. Hashes are read by nobody but `find_login`.
ALTER TABLE person ENABLE ROW LEVEL SECURITY;
ALTER TABLE person FORCE ROW LEVEL SECURITY;
CREATE POLICY inside ON person TO registry_owner, registry_worker USING (true) WITH CHECK (true);
CREATE POLICY oneself ON person TO registry_api USING (id = current_setting('app.user', true));
CREATE POLICY colleagues ON person FOR SELECT TO registry_api
    USING (EXISTS (SELECT FROM membership m WHERE m.user_id = person.id));
CREATE POLICY oneself ON session TO registry_api USING (user_id = current_setting('app.user', true));
GRANT SELECT (id, name, must_change, state, password_changed_at, last_login_at) ON person TO registry_api;
GRANT UPDATE (password_hash, must_change, password_changed_at, last_login_at) ON person TO registry_api;
REVOKE SELECT ON office_credential FROM registry_api;
GRANT SELECT (office, kj_id, must_change, password_changed_at, last_login_at, c_id, c_id_issued_at)
    ON office_credential TO registry_api;
GRANT UPDATE (password_hash, must_change, password_changed_at, last_login_at) ON office_credential TO registry_api;
GRANT INSERT ON session TO registry_api;
GRANT UPDATE (used_at, ended_at) ON session TO registry_api;
GRANT INSERT ON refresh_token TO registry_api;
GRANT UPDATE (used_at, successor_masked) ON refresh_token TO registry_api;
GRANT SELECT, UPDATE ON session_feed TO registry_api;
GRANT SELECT, INSERT ON session_ended TO registry_api;
GRANT SELECT, INSERT, UPDATE ON login_lock TO registry_api;
GRANT SELECT, INSERT ON login_failure TO registry_api;
GRANT SELECT (id, totp_step), UPDATE (totp_step) ON operator TO registry_api;
REVOKE ALL ON FUNCTION find_login(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_login(text, text, text) TO registry_api;

