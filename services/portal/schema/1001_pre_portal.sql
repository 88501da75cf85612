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

-- migrate:down
