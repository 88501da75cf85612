-- Statements about messages in the making, sheets and runs. Each acts under row-level security or as the worker.

-- name: add_item!
-- A new message in the making; one that is there already stays as it is.
INSERT INTO item (id, office, sheet, recipient, sequence, text_sealed, person, person_sealed, saved_at, picked, objects,
                  checked_version, checked_whole, errors, warnings, findings_sealed, unusable_sealed, sent_before)
VALUES (:id, :office, :sheet, :recipient, :sequence, :text_sealed, :person, :person_sealed, :saved_at, false, :objects,
        :checked_version, :checked_whole, :errors, :warnings, :findings_sealed, :unusable_sealed, :sent_before)
ON CONFLICT (id) DO NOTHING;

-- name: add_files!
-- Files of an item, in the order given.
INSERT INTO item_file (id, item, office, place, name_sealed, size, object, starts, length)
SELECT added.id, :item, :office, added.place, added.name_sealed, added.size, :object, added.starts, added.length
FROM unnest(:ids::uuid[], :places::int[], :names::bytea[], :sizes::int[], :starts::int[], :lengths::int[])
     AS added(id, place, name_sealed, size, starts, length);

-- name: next_object$
-- The number of the item's next object; answers nothing when its content may not change now.
UPDATE item SET objects = objects + 1
WHERE id = :id AND removed_at IS NULL AND state IN ('unsent', 'failed') AND NOT tried
RETURNING objects;

-- name: items_of_sheet
-- The rows of a sheet as they stand: by sequence, then recipient, those without a sequence last.
SELECT * FROM item WHERE sheet = :sheet AND removed_at IS NULL ORDER BY sequence NULLS LAST, recipient, id;

-- name: items_by_id
-- These items, removed ones too.
SELECT * FROM item WHERE id = ANY(:ids::uuid[]) ORDER BY sequence NULLS LAST, recipient, id;

-- name: drafts
-- The drafts of the office, latest saved first.
SELECT * FROM item
WHERE office = :office AND sheet IS NULL AND removed_at IS NULL AND state IN ('unsent', 'failed')
ORDER BY saved_at DESC, id DESC
LIMIT :rows_max;

-- name: files_of
-- The files of items, in the order they were added, without removed ones.
SELECT * FROM item_file WHERE item = ANY(:items::uuid[]) AND removed_at IS NULL ORDER BY item, place;

-- name: lock_item^
-- One item, kept from changing until the transaction ends.
SELECT * FROM item WHERE id = :id FOR UPDATE;

-- name: write_item$
-- New content of an item whose content may change; answers the new version, or nothing.
UPDATE item SET version = version + 1, recipient = :recipient, sequence = :sequence, text_sealed = :text_sealed,
                person = :person, person_sealed = :person_sealed, saved_at = :saved_at, state = 'unsent',
                reason_code = NULL, reason = NULL
WHERE id = :id AND state IN ('unsent', 'failed') AND NOT tried
RETURNING version;

-- name: note_check!
-- What was found in a version of an item; a later version waits for its own check.
UPDATE item SET checked_version = version, checked_whole = :whole, errors = :errors, warnings = :warnings,
                findings_sealed = :findings_sealed
WHERE id = :id AND version = :version;

-- name: note_unusable!
-- Which files were not taken into a draft; NULL forgets them.
UPDATE item SET unusable_sealed = :unusable_sealed WHERE id = :id;

-- name: remove_items
-- Take items away that are not on their way; they can be had back for a while.
UPDATE item SET removed_at = :now, picked = false
WHERE id = ANY(:ids::uuid[]) AND removed_at IS NULL AND state NOT IN ('queued', 'sending')
RETURNING id;

-- name: restore_items!
-- Bring removed items back.
UPDATE item SET removed_at = NULL WHERE id = ANY(:ids::uuid[]);

-- name: remove_file$
-- Take a file away; it can be had back for a while.
UPDATE item_file SET removed_at = :now WHERE id = :id AND item = :item AND removed_at IS NULL RETURNING id;

-- name: remove_files!
-- Take files away for good: newer ones of the same name have come.
UPDATE item_file SET removed_at = :now WHERE id = ANY(:ids::uuid[]);

-- name: restore_files!
-- Bring removed files back.
UPDATE item_file SET removed_at = NULL WHERE id = ANY(:ids::uuid[]);

-- name: touch_item$
-- The content of an item has changed (its files); answers the new version, or nothing when it may not change now.
UPDATE item SET version = version + 1, saved_at = :now, state = 'unsent', reason_code = NULL, reason = NULL
WHERE id = :id AND state IN ('unsent', 'failed') AND NOT tried
RETURNING version;

-- name: write_texts!
-- Other texts for items whose content may change.
UPDATE item SET text_sealed = new.text_sealed, version = version + 1, saved_at = :now, state = 'unsent',
                reason_code = NULL, reason = NULL
FROM unnest(:ids::uuid[], :texts::bytea[]) AS new(id, text_sealed)
WHERE item.id = new.id AND item.state IN ('unsent', 'failed') AND NOT item.tried;

-- name: keep_checks!
-- The findings of these items hold for their new version too: only the text has changed.
UPDATE item SET checked_version = version WHERE id = ANY(:ids::uuid[]) AND checked_version = version - 1;

-- name: pick!
-- Exactly these rows of a sheet are selected.
UPDATE item SET picked = (id = ANY(:ids::uuid[]))
WHERE sheet = :sheet AND removed_at IS NULL AND picked IS DISTINCT FROM (id = ANY(:ids::uuid[]));

-- name: allow_resend$
-- The person wants this set to go out again although it was sent before.
UPDATE item SET resend = true, state = 'unsent', reason_code = NULL, reason = NULL
WHERE id = :id AND state IN ('unsent', 'failed') AND NOT tried
RETURNING id;

-- name: note_sent_before!
-- These sets were sent at these times.
UPDATE item SET sent_before = seen.at FROM unnest(:ids::uuid[], :times::timestamptz[]) AS seen(id, at)
WHERE item.id = seen.id;

-- name: move_to_sheet!
-- Drafts become rows of a sheet.
UPDATE item SET sheet = :sheet, sequence = moved.sequence, recipient = moved.recipient, version = version + 1
FROM unnest(:ids::uuid[], :sequences::text[], :recipients::text[]) AS moved(id, sequence, recipient)
WHERE item.id = moved.id AND item.sheet IS NULL AND item.removed_at IS NULL AND item.state IN ('unsent', 'failed')
  AND NOT item.tried;

-- name: add_sheet!
-- The person's sheet, if there is none yet.
INSERT INTO sheet (id, office, person, person_sealed, changed_at)
VALUES (:id, :office, :person, :person_sealed, :now)
ON CONFLICT (office, person) DO NOTHING;

-- name: sheet_of^
-- The sheet of a person.
SELECT * FROM sheet WHERE office = :office AND person = :person;

-- name: sheet^
-- One sheet by its id.
SELECT * FROM sheet WHERE id = :id;

-- name: sheet_of_run^
-- The sheet that a sending belongs to.
SELECT sheet.* FROM sheet JOIN run ON run.sheet = sheet.id WHERE run.id = :run;

-- name: sheets_with_rows
-- Every sheet of the office that holds rows not sent yet, and how many.
SELECT sheet.*, rows.number AS rows FROM sheet
JOIN LATERAL (
    SELECT count(*) AS number FROM item
    WHERE item.sheet = sheet.id AND item.removed_at IS NULL AND item.state IN ('unsent', 'failed', 'queued', 'sending')
) AS rows ON rows.number > 0
WHERE sheet.office = :office
ORDER BY sheet.changed_at DESC;

-- name: leaves_unsent$
-- Whether a person has something that was not sent: a draft that holds anything and that they saved last, or rows of their
-- sheet. Nothing is opened for it: a sealed text is as long as the text, and `empty_bytes` is the length of an empty one.
SELECT EXISTS (
    SELECT FROM item LEFT JOIN sheet ON sheet.id = item.sheet
    WHERE item.office = :office AND item.removed_at IS NULL AND (
        (sheet.person = :person AND item.state IN ('unsent', 'failed', 'queued', 'sending'))
        OR (item.sheet IS NULL AND item.person = :person AND item.state IN ('unsent', 'failed') AND (
            item.recipient <> '' OR octet_length(item.text_sealed) > :empty_bytes
            OR EXISTS (SELECT FROM item_file AS file WHERE file.item = item.id AND file.removed_at IS NULL)))));

-- name: touch_sheet!
-- The sheet has changed.
UPDATE sheet SET changed_at = :now WHERE id = :id;

-- name: copy_to_clipboard!
-- What the person copied last.
UPDATE sheet SET clipboard_sealed = :clipboard_sealed WHERE id = :id;

-- name: note_unusable_of_sheet!
-- Which files were not taken into a sheet; NULL forgets them.
UPDATE sheet SET unusable_sealed = :unusable_sealed WHERE id = :id;

-- name: add_undo!
-- What an action changed.
INSERT INTO undo (id, office, owner, made_at, before_sealed) VALUES (:id, :office, :owner, :now, :before_sealed);

-- name: take_undo^
-- What is to be taken back, once, while there is time.
DELETE FROM undo WHERE id = :id AND owner = :owner AND made_at > :since RETURNING before_sealed;

-- name: partners_known
-- Which of these offices this one has sent something to.
SELECT partner FROM known_partner WHERE office = :office AND partner = ANY(:partners::text[]);

-- name: know_partners!
-- Remember that something was sent to these offices.
INSERT INTO known_partner (office, partner) SELECT :office, unnest(:partners::text[]) ON CONFLICT DO NOTHING;

-- name: open_run$
-- Begin a sending, unless this sheet is being sent already; answers its id.
INSERT INTO run (id, office, sheet, person, session, total, started_at, lease_until)
VALUES (:id, :office, :sheet, :person, :session, :total, :now, :now)
ON CONFLICT (sheet) WHERE ended_at IS NULL DO NOTHING
RETURNING id;

-- name: queue_items!
-- Put rows on their way, each with the key of its tries and the text as it goes out; a row that may have reached the
-- service before keeps both.
UPDATE item SET state = 'queued', run = :run, place = queued.place,
                send_key = CASE WHEN tried THEN item.send_key ELSE queued.send_key END,
                sending_sealed = CASE WHEN tried THEN item.sending_sealed ELSE queued.sending_sealed END,
                reason_code = NULL, reason = NULL
FROM unnest(:ids::uuid[], :places::int[], :send_keys::text[], :texts::bytea[])
     AS queued(id, place, send_key, sending_sealed)
WHERE item.id = queued.id AND item.state IN ('unsent', 'failed') AND item.removed_at IS NULL;

-- name: wake_senders!
-- Tell the processes that send.
SELECT pg_notify('portal_run', '');

-- name: run^
-- One sending.
SELECT * FROM run WHERE id = :id;

-- name: last_run^
-- The latest sending of a sheet.
SELECT * FROM run WHERE sheet = :sheet ORDER BY started_at DESC, id DESC LIMIT 1;

-- name: claim_run^
-- Take over a sending that nobody is doing now, the oldest first.
UPDATE run SET holder = :holder, lease_until = :until
WHERE id = (SELECT id FROM run WHERE ended_at IS NULL AND lease_until <= :now ORDER BY started_at, id
            LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING *;

-- name: keep_lease^
-- Hold the sending longer; answers nothing when somebody else has it. Says whether it is to stop.
UPDATE run SET lease_until = :until WHERE id = :id AND holder = :holder AND ended_at IS NULL
RETURNING stop_at IS NOT NULL AS stopping;

-- name: let_go!
-- Give a sending back before its lease ends: this process stops.
UPDATE run SET lease_until = :now WHERE id = :id AND holder = :holder AND ended_at IS NULL;

-- name: ask_to_stop!
-- The sending ends after the row that is under way.
UPDATE run SET stop_at = :now WHERE id = :id AND ended_at IS NULL AND stop_at IS NULL;

-- name: ask_session_to_stop
-- Every sending of a web session ends after its row; answers those that have not ended.
UPDATE run SET stop_at = coalesce(stop_at, :now) WHERE session = :session AND ended_at IS NULL RETURNING id;

-- name: runs_under_way
-- Which of these sendings have a row under way.
SELECT DISTINCT run.id FROM run JOIN item ON item.run = run.id
WHERE run.id = ANY(:ids::uuid[]) AND run.ended_at IS NULL AND item.state = 'sending';

-- name: items_of_run
-- The rows of a sending, in its order, without what is sealed.
SELECT id, recipient, sequence, state, accepted_at, reason_code, reason FROM item WHERE run = :run AND removed_at IS NULL ORDER BY place;

-- name: begin_next^
-- The next row of a sending, or the one that was under way when its process died; nothing when the holder is another.
UPDATE item SET state = 'sending', tried = true
WHERE id = (SELECT item.id FROM item JOIN run ON run.id = item.run AND run.holder = :holder AND run.ended_at IS NULL
            WHERE item.run = :run AND (item.state = 'sending' OR (item.state = 'queued' AND NOT :stopping::boolean))
            ORDER BY item.place LIMIT 1)
RETURNING *;

-- name: note_accepted$
-- The service has the message.
UPDATE item SET state = 'accepted', message_id = :message_id, sequence = :sequence, accepted_at = :now,
                reason_code = NULL, reason = NULL
WHERE id = :id AND run = :run AND state = 'sending' AND (SELECT holder FROM run WHERE run.id = :run) = :holder
RETURNING id;

-- name: note_failed$
-- The row did not go out. `surely` says that the service refused it: the next try has a key of its own.
UPDATE item SET state = 'failed', reason_code = :code, reason = :reason,
                tried = NOT :surely::boolean, send_key = CASE WHEN :surely::boolean THEN NULL ELSE send_key END
WHERE id = :id AND run = :run AND state = 'sending' AND (SELECT holder FROM run WHERE run.id = :run) = :holder
RETURNING id;

-- name: put_back!
-- Rows that were not sent go back; of one that may have reached the service nothing is known yet.
UPDATE item SET state = CASE WHEN tried THEN 'failed' ELSE 'unsent' END,
                send_key = CASE WHEN tried THEN send_key END,
                reason_code = CASE WHEN tried THEN :code END, reason = CASE WHEN tried THEN :reason END
WHERE run = :run AND state IN ('queued', 'sending')
  AND (SELECT holder FROM run WHERE run.id = :run) = :holder;

-- name: end_run!
-- The sending is over; what was not tried stays unsent.
UPDATE run SET ended_at = :now, ending = :ending WHERE id = :id AND holder = :holder AND ended_at IS NULL;

-- name: outstanding_of_run
-- Rows of a sending that the service has, and that have no result yet.
SELECT id, recipient, message_id, accepted_at FROM item WHERE run = :run AND state = 'accepted' ORDER BY place;

-- name: outstanding_of_sheet
-- Rows of a sheet that the service has, and that have no result yet.
SELECT id, recipient, message_id, accepted_at FROM item
WHERE sheet = :sheet AND state = 'accepted' AND removed_at IS NULL ORDER BY place;

-- name: note_results!
-- How rows ended: in the recipient's box, or refused after they had been taken. A refused one starts anew.
UPDATE item SET state = done.state, reason_code = done.code, reason = done.reason,
                send_key = CASE WHEN done.state = 'failed' THEN NULL ELSE send_key END,
                tried = tried AND done.state <> 'failed',
                message_id = CASE WHEN done.state = 'failed' THEN NULL ELSE item.message_id END
FROM unnest(:ids::uuid[], :states::text[], :codes::text[], :reasons::text[]) AS done(id, state, code, reason)
WHERE item.id = done.id AND item.state = 'accepted';

-- name: old_items
-- Items that are to be swept: not changed for long, removed some time ago, or delivered drafts.
SELECT id, office FROM item
WHERE state NOT IN ('queued', 'sending') AND (
    saved_at < :old OR removed_at < :removed_before
    OR (sheet IS NULL AND state = 'delivered' AND saved_at < :removed_before))
ORDER BY saved_at LIMIT :rows_max;

-- name: forget_items!
-- Items that are gone.
DELETE FROM item WHERE id = ANY(:ids::uuid[]);

-- name: forget_old!
-- Undo that nobody can use any more, endings of sendings, sheets that nobody has touched.
WITH undone AS (DELETE FROM undo WHERE made_at < :removed_before),
     ended AS (DELETE FROM run WHERE ended_at < :old)
DELETE FROM sheet WHERE changed_at < :old AND NOT EXISTS (SELECT FROM item WHERE item.sheet = sheet.id);

-- name: known_items
-- Which of these items are there.
SELECT id FROM item WHERE id = ANY(:ids::uuid[]);
