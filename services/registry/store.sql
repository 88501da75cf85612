-- Offices ------------------------------------------------------------------------------------------------------------

-- name: office^
-- The public row of one office.
SELECT number, version, name, address, phone, fax, prefecture, service_types, suspended, licence_until,
       csv_version_last, predecessor, successor
FROM office WHERE number = :number;

-- name: offices_found
-- Offices whose number or name holds the text, by number, after a number.
SELECT number, version, name, address, phone, fax, prefecture, service_types, suspended, licence_until,
       csv_version_last, predecessor, successor
FROM office
WHERE number > :after AND (:text = '' OR position(:text IN search) > 0)
ORDER BY number LIMIT :rows_max;

-- name: known_offices
-- Which of these numbers are registered.
SELECT number FROM office WHERE number = ANY(:numbers::text[]);

-- name: lock_offices
-- The rows of some offices, locked in the order of their numbers.
SELECT number, version, name, address, phone, fax, prefecture, service_types, suspended, licence_until,
       csv_version_last, csv_version_at, predecessor, successor
FROM office WHERE number = ANY(:numbers::text[]) ORDER BY number FOR UPDATE;

-- name: insert_office$
-- A new office at version 1; answers its number unless it is there already.
INSERT INTO office (number, version, name, search, address, phone, fax, prefecture, service_types, predecessor, changed_at)
VALUES (:number, 1, :name, :search, :address, :phone, :fax, :prefecture, :service_types::text[], :predecessor, :now)
ON CONFLICT DO NOTHING
RETURNING number;

-- name: update_office!
-- The next version of an office; the row was locked before.
UPDATE office
SET version = :version, name = :name, search = :search, address = :address, phone = :phone, fax = :fax,
    prefecture = :prefecture, service_types = :service_types::text[], suspended = :suspended,
    licence_until = :licence_until, csv_version_last = :csv_version_last, successor = :successor,
    changed_at = :now
WHERE number = :number;

-- name: offices_listed
-- What a list of offices may change of some, without a lock.
SELECT number, name, address, phone, fax, prefecture, service_types FROM office WHERE number = ANY(:numbers::text[]);

-- name: insert_offices
-- New offices at version 1; answers the numbers of those that were not there.
INSERT INTO office (number, version, name, search, address, phone, fax, prefecture, service_types, changed_at)
SELECT number, 1, name, search, address, phone, fax, prefecture, string_to_array(types, ' '), :now
FROM unnest(:numbers::text[], :names::text[], :searches::text[], :addresses::text[], :phones::text[], :faxes::text[],
            :prefectures::text[], :types::text[])
    AS new (number, name, search, address, phone, fax, prefecture, types)
ORDER BY number
ON CONFLICT DO NOTHING
RETURNING number;

-- name: change_offices!
-- Other master data of offices, at their next versions; the rows were locked before.
UPDATE office
SET version = new.version, name = new.name, search = new.search, address = new.address, phone = new.phone,
    fax = new.fax, prefecture = new.prefecture, service_types = string_to_array(new.types, ' '), changed_at = :now
FROM unnest(:numbers::text[], :versions::integer[], :names::text[], :searches::text[], :addresses::text[],
            :phones::text[], :faxes::text[], :prefectures::text[], :types::text[])
    AS new (number, version, name, search, address, phone, fax, prefecture, types)
WHERE office.number = new.number;

-- name: csv_versions_heard!
-- Remember when the messages were handed in that told the offices' last CSV versions.
UPDATE office SET csv_version_at = new.at
FROM unnest(:numbers::text[], :ats::timestamptz[]) AS new (number, at)
WHERE office.number = new.number;

-- name: set_licence!
-- What of a licence is not public.
INSERT INTO licence (office, renews, cause, changed_at) VALUES (:office, :renews, :cause, :now)
ON CONFLICT (office) DO UPDATE SET renews = excluded.renews, cause = excluded.cause, changed_at = excluded.changed_at;

-- Persons and credentials --------------------------------------------------------------------------------------------

-- name: insert_person!
-- A new person.
INSERT INTO person (id, name, password_hash, must_change, password_changed_at, created_at)
VALUES (:id, :name, :password_hash, :must_change, :now, :now)
ON CONFLICT DO NOTHING;

-- name: insert_credential!
-- The KJ-ID of an office.
INSERT INTO office_credential (office, kj_id, password_hash, must_change, password_changed_at, c_id)
VALUES (:office, :kj_id, :password_hash, :must_change, :now, :c_id)
ON CONFLICT DO NOTHING;

-- name: insert_membership$
-- A person's rights at an office, at version 1; answers the version unless it is there already.
INSERT INTO membership (user_id, office, roles, version, changed_at)
VALUES (:user_id, :office, :roles::text[], 1, :now)
ON CONFLICT DO NOTHING
RETURNING version;

-- name: change_membership^
-- Other rights of a person at an office; answers nothing when nothing is different.
UPDATE membership SET roles = :roles::text[], state = :state, version = version + 1, changed_at = :now
WHERE office = :office AND user_id = :user_id AND (roles, state) IS DISTINCT FROM (:roles::text[], :state)
RETURNING version;

-- name: insert_operator$
-- A new operator; answers nothing when there is one of this id.
INSERT INTO operator (id, password_hash, totp_sealed) VALUES (:id, :password_hash, :totp_sealed)
ON CONFLICT DO NOTHING
RETURNING true;

-- name: operator_known$
-- Whether an operator is registered.
SELECT EXISTS (SELECT FROM operator WHERE id = :id);

-- name: own_credential^
-- The KJ-ID of the caller's office, without its hash.
SELECT kj_id, must_change, password_changed_at, last_login_at, c_id, c_id_issued_at
FROM office_credential WHERE office = :office;

-- name: set_person_password!
-- A new password of the person who acts.
UPDATE person SET password_hash = :password_hash, must_change = false, password_changed_at = :now WHERE id = :id;

-- name: set_office_password!
-- A new password of the office that acts.
UPDATE office_credential SET password_hash = :password_hash, must_change = false, password_changed_at = :now
WHERE office = :office;

-- Logins -------------------------------------------------------------------------------------------------------------

-- name: act_as$
-- Say which person acts in the rest of this transaction.
SELECT set_config('app.user', :user_id, true);

-- name: find_login^
-- The one row of a typed ID, for whoever asks.
SELECT subject, office, name, password_hash, must_change, person_must_change, is_member, roles, last_login_at,
       totp_sealed
FROM find_login(:kind, :login_id, :person_id);

-- name: locks
-- Whether this ID is locked for this network, or the whole network (the empty account) is for IDs unknown there.
SELECT l.account, l.locked_until FROM login_lock l
WHERE l.network = :network AND l.account IN (:account, ''::bytea) AND l.locked_until > :now
  AND (l.account <> '' OR NOT EXISTS (
      SELECT FROM login_lock own
      WHERE own.account = :account AND own.network = :network AND own.succeeded_at > :known_after));

-- name: count_failure$
-- One more failure; the count starts again when the last one, or the first of the count, is too long ago.
INSERT INTO login_lock AS known (account, network, failures, first_at, last_at)
VALUES (:account, :network, 1, :now, :now)
ON CONFLICT (account, network) DO UPDATE
SET failures = CASE WHEN known.last_at < :last_before OR known.first_at < :first_before THEN 1
                    ELSE known.failures + 1 END,
    first_at = CASE WHEN known.last_at < :last_before OR known.first_at < :first_before THEN excluded.first_at
                    ELSE known.first_at END,
    last_at = excluded.last_at
RETURNING failures;

-- name: lock_login!
-- Lock an ID for a network (or a whole network) until a moment.
UPDATE login_lock SET locked_until = :until WHERE account = :account AND network = :network;

-- name: note_success!
-- After a success this ID starts at zero for this network, and is known there.
INSERT INTO login_lock (account, network, failures, first_at, last_at, succeeded_at)
VALUES (:account, :network, 0, :now, :now, :now)
ON CONFLICT (account, network) DO UPDATE
SET failures = 0, first_at = excluded.first_at, last_at = excluded.last_at, locked_until = NULL,
    succeeded_at = excluded.succeeded_at;

-- name: note_failure!
-- Keep a failure to tell its owner at the next login.
INSERT INTO login_failure (subject, at) VALUES (:subject, :now);

-- name: failures_since
-- The last failures of an ID since a moment, oldest first.
SELECT at FROM (
    SELECT at FROM login_failure WHERE subject = :subject AND at > :since ORDER BY at DESC LIMIT :rows_max
) last ORDER BY at;

-- name: person_logged_in!
-- Remember when a person's last login was.
UPDATE person SET last_login_at = :now WHERE id = :id;

-- name: office_logged_in!
-- Remember when the office's own last login was.
UPDATE office_credential SET last_login_at = :now WHERE office = :office;

-- name: take_totp_step$
-- A code of the second factor works once: answers true for a later time step than the last one taken.
UPDATE operator SET totp_step = :step WHERE id = :id AND totp_step < :step RETURNING true;

-- Sessions -----------------------------------------------------------------------------------------------------------

-- name: insert_session!
-- A new session.
INSERT INTO session (id, office, user_id, scope, created_at, until, used_at)
VALUES (:id, :office, :user_id, :scope, :now, :until, :now);

-- name: insert_refresh_token!
-- A token that nobody has used yet.
INSERT INTO refresh_token (hash, session, office, issued_at) VALUES (:hash, :session, :office, :now);

-- name: refresh_session^
-- The session of a refresh token, locked, so that two refreshes come one after the other.
SELECT s.id, s.office, s.user_id, s.scope, s.created_at, s.until, s.ended_at
FROM session s
WHERE s.id = (SELECT t.session FROM refresh_token t WHERE t.hash = :hash)
FOR UPDATE;

-- name: refresh_token^
-- One refresh token, read after its session was locked.
SELECT session, used_at, successor_masked FROM refresh_token WHERE hash = :hash;

-- name: use_refresh_token!
-- A token is used: it keeps its successor, masked.
UPDATE refresh_token SET used_at = :now, successor_masked = :successor_masked WHERE hash = :hash;

-- name: session_used!
-- Remember when a session was last refreshed.
UPDATE session SET used_at = :now WHERE id = :id;

-- name: session_facts^
-- What a session's token says at this moment: rights, passwords and the office.
SELECT o.name AS office_name, o.service_types, o.suspended, o.licence_until, c.kj_id, c.must_change AS office_must_change,
       c.password_changed_at AS office_changed_at, p.password_changed_at AS person_changed_at, p.id AS user_id, p.name AS user_name, p.must_change AS person_must_change, m.roles,
       coalesce(m.state = 'active' AND p.state = 'active', false) AS is_member
FROM office_credential c
JOIN office o ON o.number = c.office
LEFT JOIN membership m ON m.office = c.office AND m.user_id = :user_id
LEFT JOIN person p ON p.id = m.user_id
WHERE c.office = :office;

-- name: sessions_of_person
-- The open sessions of the person who acts, newest first.
SELECT s.id, s.office, s.scope, s.created_at, s.used_at, s.until FROM session s
WHERE s.user_id = :user_id AND s.ended_at IS NULL AND s.until > :now ORDER BY s.created_at DESC, s.id;

-- name: sessions_of_office
-- The open sessions of the office itself (usage-state site), newest first.
SELECT s.id, s.office, s.scope, s.created_at, s.used_at, s.until FROM session s
WHERE s.office = :office AND s.scope = 'usage' AND s.ended_at IS NULL AND s.until > :now
ORDER BY s.created_at DESC, s.id;

-- name: end_sessions
-- End sessions; answers those that were still open.
UPDATE session SET ended_at = :now
WHERE id = ANY(:ids::uuid[]) AND ended_at IS NULL
RETURNING id;

-- name: feed_ended!
-- Tell every process of ended sessions: the numbers are drawn under the feed's row lock.
WITH drawn AS (
    UPDATE session_feed SET last = last + cardinality(:ids::uuid[]) RETURNING last
)
INSERT INTO session_ended (n, session, ended_at)
SELECT drawn.last - cardinality(:ids::uuid[]) + gone.place, gone.id, :now
FROM drawn, unnest(:ids::uuid[]) WITH ORDINALITY AS gone (id, place);

-- name: feed_last$
-- The newest number of the feed.
SELECT last FROM session_feed;

-- name: feed_after
-- Sessions ended after a number.
SELECT n, session FROM session_ended WHERE n > :after ORDER BY n LIMIT :rows_max;

-- Sweeping -----------------------------------------------------------------------------------------------------------

-- name: sweep_feed!
-- Forget ended sessions whose last access token has long expired.
DELETE FROM session_ended WHERE ended_at < :before;

-- name: sweep_sessions!
-- Forget sessions that are over, with their refresh tokens.
DELETE FROM session WHERE until < :before;

-- name: sweep_locks!
-- Forget counts of failures that no longer matter, of IDs that are not known in the network either.
DELETE FROM login_lock WHERE last_at < :before AND (succeeded_at IS NULL OR succeeded_at < :known_after);

-- name: sweep_failures!
-- Forget failures that were long told or never will be.
DELETE FROM login_failure WHERE at < :before;

-- Set up again from events --------------------------------------------------------------------------------------------

-- name: restore_office$
-- A state of an office that this database has forgotten, unless it knows a newer one; answers whether the office is new.
INSERT INTO office AS known (number, version, name, search, address, phone, fax, prefecture, service_types, suspended,
                             licence_until, csv_version_last, predecessor, successor, changed_at)
VALUES (:number, :version, :name, :search, :address, :phone, :fax, :prefecture, :service_types::text[], :suspended,
        :licence_until, :csv_version_last, :predecessor, :successor, :at)
ON CONFLICT (number) DO UPDATE
SET version = excluded.version, name = excluded.name, search = excluded.search, address = excluded.address,
    phone = excluded.phone, fax = excluded.fax, prefecture = excluded.prefecture,
    service_types = excluded.service_types, suspended = excluded.suspended, licence_until = excluded.licence_until,
    csv_version_last = excluded.csv_version_last, predecessor = excluded.predecessor, successor = excluded.successor,
    changed_at = excluded.changed_at
WHERE known.version < excluded.version
RETURNING NOT EXISTS (SELECT FROM office before WHERE before.number = :number);

-- name: restore_membership$
-- Rights that this database has forgotten, unless it knows newer ones; answers whether it knows the person at all.
WITH person_known AS (SELECT id FROM person WHERE id = :user_id),
     restored AS (
        INSERT INTO membership AS known (user_id, office, roles, state, version, changed_at)
        SELECT id, :office, :roles::text[], :state, :version, :at FROM person_known
        ON CONFLICT (office, user_id) DO UPDATE
        SET roles = excluded.roles, state = excluded.state, version = excluded.version, changed_at = excluded.changed_at
        WHERE known.version < excluded.version
     )
SELECT EXISTS (SELECT FROM person_known);
