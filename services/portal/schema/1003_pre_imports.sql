-- migrate:up
-- A list of offices that an operator brings in. The file lies sealed as objects `import/{spool}/{n}` until it is over;
-- reason, name of the file and its first lines are sealed too. It is checked, then waits for the operator's word, then
-- is taken; `found` and `taken` count what the registry told of both, `found_bad` and `taken_bad` list the lines that it
-- refused. The process that does the work holds it by a lease and proves that with each write (`holder`); `session` names
-- the web session whose token is used, `done` how many lines were handed over since `begun_at`. `why` is the sentence
-- (number, what, what to do) that an end is told with. The registry takes each line once under the row's id, so nothing
-- here has to be exact when a process dies.
CREATE TABLE office_import (
    id uuid PRIMARY KEY,
    operator text NOT NULL,
    session uuid NOT NULL,
    spool uuid NOT NULL UNIQUE,
    pieces integer NOT NULL,
    encoding text NOT NULL CHECK (encoding IN ('utf-8', 'cp932')),
    about_sealed bytea NOT NULL,
    lines integer NOT NULL,
    made_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('checking', 'checked', 'taking', 'done', 'stopped', 'refused', 'dropped')),
    stopping boolean NOT NULL DEFAULT false,
    done integer NOT NULL DEFAULT 0,
    why jsonb,
    checked_at timestamptz,
    begun_at timestamptz,
    ended_at timestamptz,
    found jsonb,
    found_bad jsonb,
    taken jsonb,
    taken_bad jsonb,
    holder uuid,
    lease_until timestamptz NOT NULL,
    CHECK ((state IN ('done', 'stopped', 'refused', 'dropped')) = (ended_at IS NOT NULL)),
    CHECK (state NOT IN ('checked', 'taking', 'done') OR checked_at IS NOT NULL)
);
CREATE INDEX office_import_waiting ON office_import (lease_until) WHERE state IN ('checking', 'taking');
CREATE INDEX office_import_made ON office_import (made_at);
SELECT grant_worker('office_import');
ALTER TABLE office_import ENABLE ROW LEVEL SECURITY;
ALTER TABLE office_import FORCE ROW LEVEL SECURITY;
CREATE POLICY inside ON office_import TO portal_owner, portal_worker USING (true) WITH CHECK (true);

-- migrate:down
