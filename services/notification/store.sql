-- name: note_delivered!
-- Remember that these messages wait to be collected; one that is known stays as it is.
INSERT INTO uncollected (message_id, sender, recipient, delivered_at)
SELECT * FROM unnest(:message_ids::uuid[], :senders::text[], :recipients::text[], :times::timestamptz[])
ON CONFLICT DO NOTHING;

-- name: note_ended!
-- These wait no more.
UPDATE uncollected SET ended = true WHERE message_id = ANY(:message_ids::uuid[]) AND NOT ended;

-- name: queue_events!
-- Put each event into the queue of every target of its office that asked for it; targets younger than the event do not
-- hear of it, and a reminder goes only to those who made no choice of their own.
INSERT INTO delivery_queue
    (event_id, target_id, office, kind, event, message_id, partner, delivery_no, occurred_at, due_at)
SELECT said.event_id, target.id, target.office, target.kind, said.event, said.message_id, said.partner,
       said.delivery_no, said.occurred_at,
       CASE target.kind WHEN 'mail' THEN :now::timestamptz + :mail_linger::interval ELSE :now::timestamptz END
FROM unnest(:event_ids::uuid[], :offices::text[], :events::text[], :message_ids::uuid[], :partners::text[],
            :delivery_nos::bigint[], :times::timestamptz[])
     AS said(event_id, office, event, message_id, partner, delivery_no, occurred_at)
JOIN target ON target.office = said.office AND said.event = ANY(target.events) AND target.created_at <= said.occurred_at
WHERE (target.kind = 'webhook' OR :mails::boolean)
  AND (said.event <> 'reminder' OR target.kind = 'webhook' OR NOT EXISTS (
      SELECT FROM reminder_choice WHERE reminder_choice.office = target.office
      AND reminder_choice.user_id = target.user_id))
FOR KEY SHARE OF target
ON CONFLICT DO NOTHING;

-- name: queue_chosen_reminders!
-- Queue the reminders of those who chose a number of days themselves, for messages whose day came lately.
INSERT INTO delivery_queue
    (event_id, target_id, office, kind, event, message_id, partner, occurred_at, due_at)
SELECT md5(uncollected.message_id::text || '/reminder/' || reminder_choice.days)::uuid, target.id, target.office,
       'mail', 'reminder', uncollected.message_id, uncollected.sender,
       uncollected.delivered_at + make_interval(days => reminder_choice.days), :now::timestamptz
FROM reminder_choice
JOIN target ON target.office = reminder_choice.office AND target.user_id = reminder_choice.user_id
    AND target.kind = 'mail' AND 'reminder' = ANY(target.events)
JOIN uncollected ON uncollected.recipient = reminder_choice.office AND NOT uncollected.ended
    AND uncollected.delivered_at <= :now::timestamptz - make_interval(days => reminder_choice.days)
    AND uncollected.delivered_at > :now::timestamptz - make_interval(days => reminder_choice.days) - :window::interval
WHERE reminder_choice.days > 0
ON CONFLICT DO NOTHING;

-- name: due_mails
-- Rows whose mail may go out now, oldest first: new ones of targets that are not quiet, and letters to be tried again.
SELECT delivery_queue.event_id, delivery_queue.target_id, delivery_queue.office, delivery_queue.event,
       delivery_queue.partner, delivery_queue.letter, delivery_queue.attempts, target.address_sealed
FROM delivery_queue JOIN target ON target.id = delivery_queue.target_id
WHERE delivery_queue.kind = 'mail' AND delivery_queue.finished_at IS NULL AND delivery_queue.due_at <= :now
  AND (target.quiet_until <= :now OR delivery_queue.letter IS NOT NULL OR delivery_queue.event = 'test')
ORDER BY delivery_queue.due_at, delivery_queue.event_id, delivery_queue.target_id
LIMIT :rows_max
FOR UPDATE OF delivery_queue SKIP LOCKED;

-- name: due_webhooks
-- Calls that may go out now, oldest first, a few of each target at a time: a slow receiver must not hold up the others.
SELECT event_id, target_id, office, event, message_id, partner, delivery_no, occurred_at, attempts,
       address_sealed, secret_sealed
FROM (
    SELECT delivery_queue.*, target.address_sealed, target.secret_sealed,
           row_number() OVER (PARTITION BY delivery_queue.target_id ORDER BY delivery_queue.due_at, event_id) AS place
    FROM delivery_queue JOIN target ON target.id = delivery_queue.target_id
    WHERE delivery_queue.kind = 'webhook' AND delivery_queue.finished_at IS NULL AND delivery_queue.due_at <= :now
) AS waiting
WHERE place <= :per_target
ORDER BY due_at, event_id, target_id
LIMIT :rows_max;

-- name: start_tries!
-- Before a try: when the next one is due if this one's end is never learnt, and the letter a row goes into.
UPDATE delivery_queue SET attempts = tried.attempts, due_at = tried.due_at, letter = tried.letter
FROM unnest(:event_ids::uuid[], :target_ids::uuid[], :attempts::smallint[], :due::timestamptz[], :letters::uuid[])
     AS tried(event_id, target_id, attempts, due_at, letter)
WHERE delivery_queue.event_id = tried.event_id AND delivery_queue.target_id = tried.target_id
  AND delivery_queue.finished_at IS NULL;

-- name: be_quiet!
-- No further new letter to these addresses before that moment.
UPDATE target SET quiet_until = :until WHERE id = ANY(:target_ids::uuid[]);

-- name: finish!
-- These rows are told, or given up.
UPDATE delivery_queue SET finished_at = :now
FROM unnest(:event_ids::uuid[], :target_ids::uuid[]) AS ended(event_id, target_id)
WHERE delivery_queue.event_id = ended.event_id AND delivery_queue.target_id = ended.target_id
  AND delivery_queue.finished_at IS NULL;

-- name: note_attempts!
-- How tries ended; a target that was removed meanwhile is passed over.
INSERT INTO attempt (target_id, office, event, at, ok, status, error, final)
SELECT tried.target_id, tried.office, tried.event, :now::timestamptz, tried.ok, tried.status, tried.error, tried.final
FROM unnest(:target_ids::uuid[], :offices::text[], :events::text[], :oks::boolean[], :statuses::integer[],
            :errors::text[], :finals::boolean[])
     AS tried(target_id, office, event, ok, status, error, final)
JOIN target ON target.id = tried.target_id
FOR KEY SHARE OF target;

-- name: forget_attempts!
-- Only the last tries of each of these targets are kept.
DELETE FROM attempt USING (
    SELECT id, row_number() OVER (PARTITION BY target_id ORDER BY id DESC) AS place
    FROM attempt WHERE target_id = ANY(:target_ids::uuid[])
) AS ranked
WHERE attempt.id = ranked.id AND ranked.place > :kept;

-- name: forget_finished!
-- Rows that ended so long ago that no event of theirs could be told again.
DELETE FROM delivery_queue WHERE finished_at < :before;

-- name: forget_users!
-- People who left an office hear of it no more.
DELETE FROM target USING unnest(:offices::text[], :users::text[]) AS gone(office, user_id)
WHERE target.office = gone.office AND target.user_id = gone.user_id AND target.user_id <> '';

-- name: forget_choices!
-- Nor do their choices stay.
DELETE FROM reminder_choice USING unnest(:offices::text[], :users::text[]) AS gone(office, user_id)
WHERE reminder_choice.office = gone.office AND reminder_choice.user_id = gone.user_id AND reminder_choice.user_id <> '';

-- name: mail_targets
-- The mail addresses of an owner, oldest first.
SELECT id, office, address_sealed, events FROM target
WHERE office = :office AND user_id = :user_id AND kind = 'mail' ORDER BY created_at, id;

-- name: chosen_days$
-- The reminder days an owner chose, or nothing.
SELECT days FROM reminder_choice WHERE office = :office AND user_id = :user_id;

-- name: lock_owner$
-- One writer of an owner's settings at a time.
SELECT pg_advisory_xact_lock(hashtextextended(:office || '/' || :user_id, 0));

-- name: keep_mail_target!
-- Add an address, or change what a known one is told.
INSERT INTO target (id, office, user_id, kind, address_sealed, address_hmac, events, created_at, quiet_until)
VALUES (:id, :office, :user_id, 'mail', :address_sealed, :address_hmac, :events, :now, :now)
ON CONFLICT (office, user_id, kind, address_hmac) DO UPDATE SET events = excluded.events;

-- name: drop_other_mail_targets!
-- Addresses that are no longer among the settings.
DELETE FROM target WHERE office = :office AND user_id = :user_id AND kind = 'mail'
AND NOT (address_hmac = ANY(:kept::bytea[]));

-- name: choose_days!
-- The owner's own number of days.
INSERT INTO reminder_choice (office, user_id, days) VALUES (:office, :user_id, :days)
ON CONFLICT (office, user_id) DO UPDATE SET days = excluded.days;

-- name: drop_days!
-- The owner goes back to the system's number.
DELETE FROM reminder_choice WHERE office = :office AND user_id = :user_id;

-- name: webhook_count$
-- How many webhooks an office has.
SELECT count(*) FROM target WHERE office = :office AND kind = 'webhook';

-- name: add_webhook$
-- Make a webhook; answers nothing when the office has this address already.
INSERT INTO target (id, office, kind, address_sealed, address_hmac, secret_sealed, events, created_at, quiet_until)
VALUES (:id, :office, 'webhook', :address_sealed, :address_hmac, :secret_sealed, :events, :now, :now)
ON CONFLICT DO NOTHING RETURNING id;

-- name: webhooks
-- An office's webhooks, oldest first.
SELECT id, office, address_sealed, events FROM target
WHERE office = :office AND kind = 'webhook' ORDER BY created_at, id;

-- name: webhook^
-- One of them.
SELECT id, office, address_sealed, events FROM target WHERE office = :office AND kind = 'webhook' AND id = :id;

-- name: attempts
-- The last tries of these targets, newest first.
SELECT target_id, event, at, ok, status, error, final FROM attempt
WHERE target_id = ANY(:target_ids::uuid[]) ORDER BY id DESC;

-- name: remove_webhook$
-- End a webhook and all that waits for it.
DELETE FROM target WHERE office = :office AND kind = 'webhook' AND id = :id RETURNING id;

-- name: queue_test
-- Queue a test for the webhooks of the office (when asked) and for the mail addresses of one owner.
INSERT INTO delivery_queue (event_id, target_id, office, kind, event, occurred_at, due_at)
SELECT :event_id, id, office, kind, 'test', :now::timestamptz, :now::timestamptz FROM target
WHERE office = :office AND ((kind = 'webhook' AND :webhooks::boolean)
    OR (kind = 'mail' AND :mails::boolean AND user_id = ANY(:owners::text[])))
RETURNING kind;

