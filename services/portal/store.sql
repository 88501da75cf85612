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
