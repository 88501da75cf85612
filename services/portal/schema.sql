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

-- A sheet of 一括送信: one per person and office, kept until it is emptied; colleagues may open it. What the person copied
-- last and the files that could not be used stand in it, sealed.
CREATE TABLE sheet (
    id uuid PRIMARY KEY,
    office text NOT NULL,
    person text NOT NULL,
    person_sealed bytea NOT NULL,
    clipboard_sealed bytea,
    unusable_sealed bytea,
    changed_at timestamptz NOT NULL,
    UNIQUE (office, person)
);
SELECT grant_worker('sheet');
SELECT office_policy('sheet', 'office');

-- One sending: rows go out one after another without the browser. The process that does it holds the run by a lease and
-- proves it with each write (`holder`): one that lost the lease changes nothing any more. `session` names the web session
-- whose tokens are used.
CREATE TABLE run (
    id uuid PRIMARY KEY,
    office text NOT NULL,
    sheet uuid REFERENCES sheet ON DELETE CASCADE,
    person text NOT NULL,
    session uuid NOT NULL,
    total integer NOT NULL,
    started_at timestamptz NOT NULL,
    stop_at timestamptz,
    ended_at timestamptz,
    ending text CHECK (ending IN ('done', 'stopped', 'session', 'away')),
    holder uuid,
    lease_until timestamptz NOT NULL,
    CHECK ((ended_at IS NULL) = (ending IS NULL))
);
-- A sheet is sent once at a time.
CREATE UNIQUE INDEX run_open ON run (sheet) WHERE ended_at IS NULL;
CREATE INDEX run_waiting ON run (lease_until) WHERE ended_at IS NULL;
SELECT grant_worker('run');
SELECT office_policy('run', 'office');

-- A message in the making: a draft of 新規作成, or (with `sheet`) a row of a sheet. Text, name of the person who saved it
-- and findings are sealed. `version` goes up with each change of the content, and `checked_version` is the one that the
-- findings are about. While it is on its way (queued, sending, accepted) its content does not change.
-- `send_key` is drawn before the first try and stays, with the text as it goes out (`sending_sealed`), until the service
-- has surely refused it: that makes every further try harmless, whoever makes it. `tried` says that a try under this key
-- may have reached the service; such a row is tried again as it is before anything in it may change.
CREATE TABLE item (
    id uuid PRIMARY KEY,
    office text NOT NULL,
    sheet uuid REFERENCES sheet ON DELETE CASCADE,
    version integer NOT NULL DEFAULT 1,
    recipient text NOT NULL,
    sequence text,
    text_sealed bytea NOT NULL,
    person text NOT NULL,
    person_sealed bytea NOT NULL,
    saved_at timestamptz NOT NULL,
    removed_at timestamptz,
    picked boolean NOT NULL DEFAULT false,
    objects integer NOT NULL DEFAULT 0,
    checked_version integer NOT NULL DEFAULT 0,
    checked_whole boolean NOT NULL DEFAULT false,
    errors integer NOT NULL DEFAULT 0,
    warnings integer NOT NULL DEFAULT 0,
    findings_sealed bytea,
    unusable_sealed bytea,
    sent_before timestamptz,
    resend boolean NOT NULL DEFAULT false,
    state text NOT NULL DEFAULT 'unsent'
        CHECK (state IN ('unsent', 'queued', 'sending', 'accepted', 'delivered', 'failed')),
    run uuid,
    place integer,
    send_key text,
    sending_sealed bytea,
    tried boolean NOT NULL DEFAULT false,
    message_id uuid,
    accepted_at timestamptz,
    reason_code text,
    reason text,
    CHECK (state NOT IN ('queued', 'sending') OR (run IS NOT NULL AND send_key IS NOT NULL)),
    CHECK (state NOT IN ('accepted', 'delivered') OR message_id IS NOT NULL),
    CHECK (NOT tried OR send_key IS NOT NULL)
);
CREATE INDEX item_of_sheet ON item (sheet) WHERE sheet IS NOT NULL;
CREATE INDEX item_of_office ON item (office, saved_at);
CREATE INDEX item_of_run ON item (run, place);
CREATE INDEX item_old ON item (saved_at);
SELECT grant_worker('item');
SELECT office_policy('item', 'office');

-- A file of a message in the making: a range of the object `draft/{office}/{item}/{object}`, sealed on its own. A removed
-- one can be had back for a while.
CREATE TABLE item_file (
    id uuid PRIMARY KEY,
    item uuid NOT NULL REFERENCES item ON DELETE CASCADE,
    office text NOT NULL,
    place integer NOT NULL,
    name_sealed bytea NOT NULL,
    size integer NOT NULL,
    object integer NOT NULL,
    starts integer NOT NULL,
    length integer NOT NULL,
    removed_at timestamptz
);
CREATE INDEX item_file_of_item ON item_file (item, place);
SELECT grant_worker('item_file');
SELECT office_policy('item_file', 'office');

-- What an action changed, so that it can be taken back for a while: texts as they were (sealed), what was removed.
CREATE TABLE undo (
    id uuid PRIMARY KEY,
    office text NOT NULL,
    owner uuid NOT NULL,
    made_at timestamptz NOT NULL,
    before_sealed bytea NOT NULL
);
CREATE INDEX undo_made ON undo (made_at);
SELECT grant_worker('undo');
SELECT office_policy('undo', 'office');

-- Offices that this one has sent something to before: the first message to one is asked about.
CREATE TABLE known_partner (
    office text NOT NULL,
    partner text NOT NULL,
    PRIMARY KEY (office, partner)
);
SELECT grant_worker('known_partner');
SELECT office_policy('known_partner', 'office');

DO $$
DECLARE
    api text := current_schema() || '_api';
BEGIN
    EXECUTE format('GRANT INSERT, UPDATE, DELETE ON sheet, run, item, item_file, undo, known_partner TO %I', api);
END
$$;

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
