-- migrate:up
-- A browser that has passed a login (office, usage, operator) or its first half (step). Of the cookie only the SHA-256 is
-- kept; the tokens and whatever else belongs to the session are sealed. A row that has ended stays for a day, so that a
-- form sent too late can still be kept for its writer. The API role has no right here: a session is looked up by the hash
-- before anybody knows whose it is.
CREATE TABLE web_session (
    id uuid PRIMARY KEY,
    hash bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    kind text NOT NULL CHECK (kind IN ('step', 'office', 'usage', 'operator')),
    office text NOT NULL DEFAULT '',
    user_id text NOT NULL DEFAULT '',
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL,
    used_at timestamptz NOT NULL,
    until timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE INDEX web_session_until ON web_session (until);
SELECT grant_worker('web_session');
ALTER TABLE web_session ENABLE ROW LEVEL SECURITY;
ALTER TABLE web_session FORCE ROW LEVEL SECURITY;
CREATE POLICY inside ON web_session TO portal_owner, portal_worker USING (true) WITH CHECK (true);

-- What was typed into a form that was sent after its session had ended, sealed: its writer finds it in the form after the
-- next login. Kept for a day, for whoever the session belonged to. As with sessions, the API role has no right here.
CREATE TABLE late_form (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('office', 'usage', 'operator')),
    office text NOT NULL,
    user_id text NOT NULL,
    sealed bytea NOT NULL,
    made_at timestamptz NOT NULL
);
CREATE INDEX late_form_owner ON late_form (kind, office, user_id, made_at);
CREATE INDEX late_form_made ON late_form (made_at);
SELECT grant_worker('late_form');
ALTER TABLE late_form ENABLE ROW LEVEL SECURITY;
ALTER TABLE late_form FORCE ROW LEVEL SECURITY;
CREATE POLICY inside ON late_form TO portal_owner, portal_worker USING (true) WITH CHECK (true);

-- What somebody typed into the search of a list, sealed: it may name a person, and addresses are logged, so the address
-- carries only this id. It goes with its session.
CREATE TABLE search (
    id uuid PRIMARY KEY,
    session uuid NOT NULL REFERENCES web_session (id) ON DELETE CASCADE,
    office text NOT NULL,
    sealed bytea NOT NULL,
    made_at timestamptz NOT NULL
);
CREATE INDEX search_session ON search (session, made_at);
SELECT grant_worker('search');
SELECT office_policy('search', 'office');

-- What an office notes for itself about a message (社内メモ, 担当), sealed together with the name of the one who wrote
-- it. The other office never sees it; `version` tells two writers apart.
CREATE TABLE memo (
    office text NOT NULL,
    message_id uuid NOT NULL,
    sealed bytea NOT NULL,
    version integer NOT NULL,
    written_at timestamptz NOT NULL,
    PRIMARY KEY (office, message_id)
);
SELECT grant_worker('memo');
SELECT office_policy('memo', 'office');

-- How a person likes the screens: row heights.
CREATE TABLE preference (
    office text NOT NULL,
    user_id text NOT NULL,
    name text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (office, user_id, name)
);
SELECT grant_worker('preference');
SELECT office_policy('preference', 'office');

-- migrate:down
