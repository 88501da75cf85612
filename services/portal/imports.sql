-- Statements about lists of offices that operators bring in. All act as the worker.

-- name: add_import$
-- A list has come in whole; answers its id unless it is there already.
INSERT INTO office_import (id, operator, session, spool, pieces, encoding, about_sealed, lines, made_at, state, lease_until)
VALUES (:id, :operator, :session, :spool, :pieces, :encoding, :about_sealed, :lines, :now, 'checking', :now)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: import_of_id^
-- One import, without the lines that were not taken.
SELECT id, operator, session, spool, pieces, encoding, about_sealed, lines, made_at, state, stopping, done, why,
       checked_at, begun_at, ended_at, found, taken, holder
FROM office_import WHERE id = :id;

-- name: recent_imports
-- The last imports of all operators, newest first, without the lines that were not taken.
SELECT id, operator, session, spool, pieces, encoding, about_sealed, lines, made_at, state, stopping, done, why,
       checked_at, begun_at, ended_at, found, taken, holder
FROM office_import ORDER BY made_at DESC, id LIMIT :rows_max;

-- name: bad_lines$
-- The lines of an import that were not taken, as the last check or taking told them.
SELECT coalesce(taken_bad, found_bad) FROM office_import WHERE id = :id;

-- name: go_on_with_import$
-- The operator wants a checked list to be taken, or one that stopped to go on; answers its id when that changes something.
UPDATE office_import
SET state = CASE WHEN checked_at IS NULL THEN 'checking' ELSE 'taking' END, session = :session, why = NULL,
    stopping = false, done = 0, begun_at = NULL, ended_at = NULL, holder = NULL, lease_until = :now
WHERE id = :id AND operator = :operator AND state = :was
RETURNING id;

-- name: ask_import_to_stop!
-- The operator wants an import to stop where it is.
UPDATE office_import SET stopping = true
WHERE id = :id AND operator = :operator AND state IN ('checking', 'taking');

-- name: drop_import$
-- The operator does not want the list any more; answers its id when that changes something.
UPDATE office_import SET state = 'dropped', ended_at = :now
WHERE id = :id AND operator = :operator AND state IN ('checked', 'stopped')
RETURNING id;

-- name: wake_importers!
-- Somebody waits for an import.
SELECT pg_notify('portal_import', '');

-- name: claim_import^
-- Take over an import that nobody is doing now, the oldest first.
UPDATE office_import SET holder = :holder, lease_until = :until, done = 0
WHERE id = (SELECT id FROM office_import WHERE state IN ('checking', 'taking') AND lease_until <= :now
            ORDER BY made_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, operator, session, spool, pieces, encoding, about_sealed, lines, made_at, state, stopping, done, why,
          checked_at, begun_at, ended_at, found, taken, holder;

-- name: keep_import^
-- Hold an import longer and say how far it is; answers nothing when somebody else has it. Says whether it is to stop.
UPDATE office_import SET lease_until = :until, done = :done, begun_at = coalesce(:begun_at, begun_at)
WHERE id = :id AND holder = :holder AND state IN ('checking', 'taking')
RETURNING stopping;

-- name: let_import_go!
-- Give an import back before its lease ends: this process stops.
UPDATE office_import SET lease_until = :now WHERE id = :id AND holder = :holder;

-- name: note_checked$
-- What the list would change; it waits for the operator's word. Answers the id unless somebody else has the list.
UPDATE office_import SET state = 'checked', checked_at = :now, found = :report::jsonb, found_bad = :bad::jsonb, done = lines
WHERE id = :id AND holder = :holder AND state = 'checking'
RETURNING id;

-- name: note_taken$
-- What the list has changed. Answers the id unless somebody else has the list.
UPDATE office_import SET state = 'done', ended_at = :now, taken = :report::jsonb, taken_bad = :bad::jsonb, done = lines
WHERE id = :id AND holder = :holder AND state = 'taking'
RETURNING id;

-- name: note_ended!
-- An import stopped, or the list is none.
UPDATE office_import SET state = :state, why = :why::jsonb, ended_at = :now
WHERE id = :id AND holder = :holder AND state IN ('checking', 'taking');

-- name: drop_forgotten!
-- Lists that nobody gave a word about are not kept.
UPDATE office_import SET state = 'dropped', ended_at = :now
WHERE state IN ('checked', 'stopped') AND coalesce(ended_at, checked_at) < :before;

-- name: forget_old_imports!
-- Imports that ended long ago are forgotten.
DELETE FROM office_import WHERE ended_at < :before;

-- name: spools_in_use
-- Which of these lists are still wanted.
SELECT spool FROM office_import
WHERE spool = ANY(:spools::uuid[]) AND state IN ('checking', 'checked', 'taking', 'stopped');
