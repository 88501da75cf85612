-- name: begin_session!
-- A browser begins a session.
INSERT INTO web_session (id, hash, kind, office, user_id, sealed, created_at, used_at, until)
VALUES (:id, :hash, :kind, :office, :user_id, :sealed, :now, :now, :until);

-- name: session_of_hash^
-- The session of a cookie, ended or not.
SELECT id, hash, kind, office, user_id, sealed, created_at, used_at, until, ended_at
FROM web_session WHERE hash = :hash AND kind = :kind;

-- name: session_of_id^
-- A session by its id, ended or not: for work that goes on without its browser.
SELECT id, hash, kind, office, user_id, sealed, created_at, used_at, until, ended_at
FROM web_session WHERE id = :id;

-- name: use_session!
-- A session is used now.
UPDATE web_session SET used_at = :now WHERE id = :id AND ended_at IS NULL;

-- name: keep_session!
-- What belongs to a session has changed: tokens, mostly.
UPDATE web_session SET sealed = :sealed WHERE id = :id;

-- name: end_session!
-- A session ends; its tokens are forgotten.
UPDATE web_session SET ended_at = coalesce(ended_at, :now), sealed = ''::bytea WHERE id = :id;

-- name: forget_sessions!
-- Sessions that ended long enough ago are removed.
DELETE FROM web_session WHERE until < :before OR ended_at < :before OR used_at < :before;

-- name: keep_late_form!
-- A form came after its session had ended.
INSERT INTO late_form (id, kind, office, user_id, sealed, made_at)
VALUES (:id, :kind, :office, :user_id, :sealed, :now);

-- name: forget_older_late_forms!
-- Of an owner's late forms the newest stay.
DELETE FROM late_form WHERE id IN (
    SELECT id FROM late_form WHERE kind = :kind AND office = :office AND user_id = :user_id
    ORDER BY made_at DESC, id DESC OFFSET :kept);

-- name: late_form$
-- A late form of this owner.
SELECT sealed FROM late_form
WHERE id = :id AND kind = :kind AND office = :office AND user_id = :user_id AND made_at >= :since;

-- name: forget_late_forms!
-- Late forms that nobody came back for.
DELETE FROM late_form WHERE made_at < :before;

-- name: keep_search!
-- Somebody searches for something.
INSERT INTO search (id, session, office, sealed, made_at) VALUES (:id, :session, :office, :sealed, :now);

-- name: search_of_id$
-- What was searched for in this session under an id.
SELECT sealed FROM search WHERE id = :id AND session = :session;

-- name: forget_old_searches!
-- Of a session's searches the newest stay.
DELETE FROM search WHERE session = :session AND id IN (
    SELECT id FROM search WHERE session = :session ORDER BY made_at DESC, id DESC OFFSET :kept);

-- name: memo_of^
-- What the office noted about a message.
SELECT sealed, version, written_at FROM memo WHERE office = :office AND message_id = :message_id;

-- name: write_memo$
-- The office's note about a message, if nobody wrote another one since `version`; answers the new version.
INSERT INTO memo AS kept (office, message_id, sealed, version, written_at)
VALUES (:office, :message_id, :sealed, 1, :now)
ON CONFLICT (office, message_id) DO UPDATE
SET sealed = excluded.sealed, version = kept.version + 1, written_at = excluded.written_at
WHERE kept.version = :version
RETURNING version;

-- name: preference_of$
-- How a person likes something.
SELECT value FROM preference WHERE office = :office AND user_id = :user_id AND name = :name;

-- name: prefer!
-- A person likes something otherwise from now on.
INSERT INTO preference (office, user_id, name, value) VALUES (:office, :user_id, :name, :value)
ON CONFLICT (office, user_id, name) DO UPDATE SET value = excluded.value;
