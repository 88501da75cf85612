-- Applications and licences --------------------------------------------------------------------------------------------

-- name: insert_application$
-- A new application; answers its id unless the office has one that waits.
INSERT INTO application (id, office, kind, contact_name, mail, auto_renew, state, version, received_at)
VALUES (:id, :office, :kind, :contact_name, :mail, :auto_renew, 'received', 1, :now)
ON CONFLICT (office) WHERE state = 'received' DO NOTHING
RETURNING id;

-- name: lock_application^
-- One application, locked.
SELECT id, office, kind, contact_name, mail, auto_renew, state, version, received_at
FROM application WHERE id = :id FOR UPDATE;

-- name: decide_application!
-- An application is approved or refused.
UPDATE application
SET state = :state, version = version + 1, decided_at = :now, decided_by = :decided_by, answer = :answer, c_id = :c_id
WHERE id = :id;

-- name: newest_application^
-- The last application of an office.
SELECT id, kind, contact_name, mail, auto_renew, state, received_at, decided_at, answer
FROM application WHERE office = :office ORDER BY received_at DESC, id DESC LIMIT 1;

-- name: applications_listed
-- Applications of a state (or of all), oldest first, after one.
SELECT a.id, a.office, o.name AS office_name, a.kind, a.contact_name, a.mail, a.auto_renew, a.state, a.received_at,
       a.decided_at, a.decided_by, a.answer, a.c_id
FROM application a JOIN office o ON o.number = a.office
WHERE (:state::text IS NULL OR a.state = :state) AND a.id > :after
ORDER BY a.id LIMIT :rows_max;

-- name: application_listed^
-- One application, as operators see it.
SELECT a.id, a.office, o.name AS office_name, a.kind, a.contact_name, a.mail, a.auto_renew, a.state, a.received_at,
       a.decided_at, a.decided_by, a.answer, a.c_id
FROM application a JOIN office o ON o.number = a.office WHERE a.id = :id;

-- name: application_of^
-- The last application of an office, as operators see it.
SELECT a.id, a.office, o.name AS office_name, a.kind, a.contact_name, a.mail, a.auto_renew, a.state, a.received_at,
       a.decided_at, a.decided_by, a.answer, a.c_id
FROM application a JOIN office o ON o.number = a.office
WHERE a.office = :office ORDER BY a.received_at DESC, a.id DESC LIMIT 1;

-- name: licence_now^
-- The licence of an office and its end.
SELECT o.licence_until AS until, l.renews, l.cause, l.changed_at
FROM office o JOIN licence l ON l.office = o.number WHERE o.number = :office;

-- name: lock_licence^
-- The same, locked with the office's row.
SELECT o.licence_until AS until, l.renews
FROM office o LEFT JOIN licence l ON l.office = o.number WHERE o.number = :office FOR UPDATE OF o;

-- name: licences_to_renew
-- Offices whose licence renews by itself and ends on one of these days.
SELECT o.number FROM office o JOIN licence l ON l.office = o.number
WHERE l.renews AND NOT o.suspended AND o.licence_until BETWEEN :first AND :last
ORDER BY o.number LIMIT :rows_max;

-- Credentials ---------------------------------------------------------------------------------------------------------

-- name: set_c_id!
-- The person made at the approval of the office's application.
UPDATE office_credential SET c_id = :c_id WHERE office = :office;

-- name: lock_credential^
-- KJ-ID and person of an office, locked.
SELECT kj_id, c_id FROM office_credential WHERE office = :office FOR UPDATE;

-- name: letter_secret!
-- A new password of the office out of a letter: it must be changed at the first login.
INSERT INTO office_credential (office, kj_id, password_hash, must_change, password_changed_at)
VALUES (:office, :kj_id, :password_hash, true, :now)
ON CONFLICT (office) DO UPDATE
SET password_hash = excluded.password_hash, must_change = true, password_changed_at = excluded.password_changed_at;

-- name: keep_letter$
-- When the letter was made and by whom, and the hash of its second secret; the one of `before` is forgotten. Answers
-- when it was made, unless another one was made meanwhile.
INSERT INTO letter (office, certificate_secret_hash, made_at, made_by)
VALUES (:office, :certificate_secret_hash, :now, :made_by)
ON CONFLICT (office) DO UPDATE
SET certificate_secret_hash = excluded.certificate_secret_hash, made_at = excluded.made_at, made_by = excluded.made_by
WHERE letter.made_at IS NOT DISTINCT FROM :before::timestamptz
RETURNING made_at;

-- name: letter^
-- When the office's letter was made, and by whom.
SELECT made_at, made_by FROM letter WHERE office = :office;

-- name: issue_password!
-- A password that somebody else chose for a person: it must be changed at the first login.
UPDATE person SET password_hash = :password_hash, must_change = true, password_changed_at = :now WHERE id = :id;

-- name: note_issue$
-- Remember when the office last had a password made for its person; answers the ID, unless another one was made since
-- `before`.
UPDATE office_credential SET c_id_issued_at = :now
WHERE office = :office AND c_id_issued_at IS NOT DISTINCT FROM :before::timestamptz
RETURNING c_id;

-- Imports --------------------------------------------------------------------------------------------------------------

-- name: begin_import!
-- An operator begins an import under an id, or goes on with it.
INSERT INTO office_import (operator, id, begun_at) VALUES (:operator, :id, :now) ON CONFLICT DO NOTHING;

-- name: lock_import^
-- How far an import has come, locked.
SELECT line, registered, changed, unchanged, said FROM office_import WHERE operator = :operator AND id = :id FOR UPDATE;

-- name: note_import!
-- Lines up to this one were taken in this very transaction.
UPDATE office_import
SET line = :line, registered = registered + :registered, changed = changed + :changed,
    unchanged = unchanged + :unchanged, said = said OR :registered + :changed > 0
WHERE operator = :operator AND id = :id;

-- name: forget_imports!
-- Old imports are forgotten: the same list would be taken anew, and change nothing.
DELETE FROM office_import WHERE begun_at < :before;

-- Users ---------------------------------------------------------------------------------------------------------------

-- name: lock_members
-- Everybody of an office, locked: who is the last administrator is decided by one at a time.
SELECT m.user_id, m.roles, m.state FROM membership m WHERE m.office = :office ORDER BY m.user_id FOR UPDATE;

-- name: insert_user$
-- A new person; answers the id unless somebody has it.
INSERT INTO person (id, name, password_hash, must_change, password_changed_at, created_at)
VALUES (:id, :name, :password_hash, true, :now, :now)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: person_named^
-- A person's name, whatever office asks.
SELECT id, name, state FROM person WHERE id = :id;

-- name: rename_person!
-- A person has another name.
UPDATE person SET name = :name WHERE id = :id;

-- name: offices_of_person$
-- At how many offices a person may act.
SELECT count(*) FROM membership WHERE user_id = :user_id AND state = 'active';

-- name: member^
-- A person of an office.
SELECT p.id, p.name, m.roles, m.state, p.last_login_at
FROM membership m JOIN person p ON p.id = m.user_id WHERE m.office = :office AND m.user_id = :user_id;

-- name: members
-- The persons of an office.
SELECT p.id, p.name, m.roles, m.state, p.last_login_at
FROM membership m JOIN person p ON p.id = m.user_id WHERE m.office = :office ORDER BY p.id;

-- name: open_sessions_of_office
-- Every open session at an office, of persons and of the office itself.
SELECT id FROM session WHERE office = :office AND ended_at IS NULL AND until > :now;

-- name: open_sessions_of_person
-- A person's open sessions, at one office or at all.
SELECT id FROM session
WHERE user_id = :user_id AND (:office::text IS NULL OR office = :office) AND ended_at IS NULL AND until > :now;

-- Certificates --------------------------------------------------------------------------------------------------------

-- name: insert_certificate$
-- One more certificate of an office, whose row is locked; answers its number unless it is recorded already.
INSERT INTO certificate (office, version, issuer, serial, not_after, recorded_at)
SELECT :office::text, coalesce(max(version), 0) + 1, :issuer::text, :serial::text, :not_after::timestamptz,
       :now::timestamptz
FROM certificate WHERE office = :office::text
ON CONFLICT DO NOTHING
RETURNING version;

-- name: certificates
-- The certificates of an office, the newest first.
SELECT issuer, serial, not_after, recorded_at FROM certificate WHERE office = :office ORDER BY version DESC;

-- name: restore_certificate!
-- A certificate that this database has forgotten.
INSERT INTO certificate (office, version, issuer, serial, not_after, recorded_at)
VALUES (:office, :version, :issuer, :serial, :not_after, :at)
ON CONFLICT DO NOTHING;

-- name: restore_decision!
-- A decision that this database has forgotten.
UPDATE application
SET state = :state, version = :version, decided_at = :decided_at, decided_by = :decided_by,
    c_id = (SELECT person.id FROM person WHERE person.id = :c_id)
WHERE id = :id AND state = 'received';

-- name: application_known$
-- Whether an application is there.
SELECT EXISTS (SELECT FROM application WHERE id = :id);

-- name: notice_known$
-- Whether a notice is there.
SELECT EXISTS (SELECT FROM notice WHERE id = :id);

-- name: restore_withdrawal!
-- A withdrawal that this database has forgotten.
UPDATE notice SET withdrawn_at = coalesce(withdrawn_at, :at) WHERE id = :id;

-- Notices -------------------------------------------------------------------------------------------------------------

-- name: insert_notice$
-- A new notice; answers its id unless it is there already.
INSERT INTO notice (id, title, body, published_at, important, audience, audience_values, state, until, made_by)
VALUES (:id, :title, :body, :published_at, :important, :audience, :audience_values::text[], :state, :until, :made_by)
ON CONFLICT (id) DO NOTHING RETURNING id;

-- name: withdraw_notice$
-- Nobody reads it any more; answers its id unless it was withdrawn before.
UPDATE notice SET withdrawn_at = :now WHERE id = :id AND withdrawn_at IS NULL RETURNING id;

-- name: notice^
-- One notice, as operators see it.
SELECT id, title, body, published_at, important, audience, audience_values, state, until, made_by, withdrawn_at
FROM notice WHERE id = :id;

-- name: notices_made
-- Every notice, the newest first, after a place in the list.
SELECT id, title, body, published_at, important, audience, audience_values, state, until, made_by, withdrawn_at
FROM notice
WHERE (published_at, id) < (:before_at::timestamptz, :before_id::uuid)
ORDER BY published_at DESC, id DESC LIMIT :rows_max;

-- name: notices_for
-- What the office of this transaction may read now, the newest first, after a place in the list.
SELECT n.id, n.title, n.body, n.published_at, n.important, r.read_at
FROM notice n
JOIN office o ON o.number = :office
LEFT JOIN notice_read r ON r.notice = n.id AND r.user_id = :user_id
WHERE n.withdrawn_at IS NULL AND n.published_at <= :now
  AND (n.audience = 'all' OR (n.audience = 'service_types' AND n.audience_values && o.service_types)
       OR (n.audience = 'prefectures' AND o.prefecture = ANY (n.audience_values)))
  AND (n.published_at, n.id) < (:before_at::timestamptz, :before_id::uuid)
ORDER BY n.published_at DESC, n.id DESC LIMIT :rows_max;

-- name: notices_beside^
-- The notices that stand before (newer) and behind (older) one in the office's list.
WITH mine AS (
    SELECT n.id, n.published_at FROM notice n JOIN office o ON o.number = :office
    WHERE n.withdrawn_at IS NULL AND n.published_at <= :now
      AND (n.audience = 'all' OR (n.audience = 'service_types' AND n.audience_values && o.service_types)
           OR (n.audience = 'prefectures' AND o.prefecture = ANY (n.audience_values)))
)
SELECT (SELECT id FROM mine WHERE (published_at, id) > (:at::timestamptz, :id::uuid) ORDER BY published_at, id LIMIT 1)
           AS previous,
       (SELECT id FROM mine WHERE (published_at, id) < (:at::timestamptz, :id::uuid)
        ORDER BY published_at DESC, id DESC LIMIT 1) AS next;

-- name: notice_for^
-- One notice, if the office of this transaction may read it now.
SELECT n.id, n.title, n.body, n.published_at, n.important, r.read_at
FROM notice n
JOIN office o ON o.number = :office
LEFT JOIN notice_read r ON r.notice = n.id AND r.user_id = :user_id
WHERE n.id = :id AND n.withdrawn_at IS NULL AND n.published_at <= :now
  AND (n.audience = 'all' OR (n.audience = 'service_types' AND n.audience_values && o.service_types)
       OR (n.audience = 'prefectures' AND o.prefecture = ANY (n.audience_values)));

-- name: note_read!
-- The person has opened the notice.
INSERT INTO notice_read (user_id, notice, read_at) VALUES (:user_id, :notice, :now) ON CONFLICT DO NOTHING;

-- name: office_named^
-- The name of an office.
SELECT name FROM office WHERE number = :office;

-- What operators look at ------------------------------------------------------------------------------------------------

-- name: offices_searched
-- Offices whose number or name holds the text, by number, after a number; with the ends that operators watch.
SELECT o.number, o.version, o.name, o.address, o.phone, o.fax, o.prefecture, o.service_types, o.suspended,
       o.licence_until, o.csv_version_last, o.predecessor, o.successor, c.last_login_at,
       (SELECT max(k.not_after) FROM certificate k WHERE k.office = o.number) AS certificate_until
FROM office o LEFT JOIN office_credential c ON c.office = o.number
WHERE o.number > :after AND (:text = '' OR position(:text IN o.search) > 0)
  AND (:service_type::text IS NULL OR :service_type = ANY (o.service_types))
  AND (:participation::text IS NULL OR :participation = CASE WHEN o.suspended THEN 'suspended'
           WHEN o.licence_until IS NULL THEN 'none' ELSE 'active' END)
  AND (:licence_until_from::date IS NULL OR o.licence_until >= :licence_until_from)
  AND (:licence_until_before::date IS NULL OR o.licence_until < :licence_until_before)
ORDER BY o.number LIMIT :rows_max;

-- name: prefectures
-- The prefectures that offices are in, in the order of their codes, with which the numbers of their offices begin.
SELECT prefecture FROM office WHERE prefecture <> '' GROUP BY prefecture ORDER BY min(number);

-- name: credential^
-- The KJ-ID of an office, and its own last login.
SELECT kj_id, last_login_at FROM office_credential WHERE office = :office;

-- name: history
-- What was said of an office, the newest first; operators' acts with their tickets.
SELECT recorded_at, type, payload ->> 'act' AS act, payload ->> 'ticket' AS ticket,
       payload -> 'actor' ->> 'kind' AS actor_kind, payload -> 'actor' ->> 'id' AS actor_id
FROM journal_office WHERE subject_id = :subject_id ORDER BY seq DESC LIMIT :rows_max;
