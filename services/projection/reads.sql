-- name: version^
-- How far the office's lists have come, and in which read set; nothing for an office that has none yet.
SELECT edition, version FROM head WHERE office = :office;

-- name: page_of_sent
-- A page of the send list, newest first, after a place; `newest` keeps the months to come out of the plan.
SELECT message_id, sender, recipient, sequence, csv_version, months, sender_name, recipient_name, service_type,
       submitted_at, place, epoch, parts, manifest, status, delivery_no, delivered_at, opened_at, downloaded_at,
       recall_requested_at, erased_at, errors, warnings, reason, held
FROM sent
WHERE sender = :office
  AND message_id <= :newest
  AND (submitted_at, place, message_id) < (:submitted_at::timestamptz, :place::integer, :message_id::uuid)
  AND (:statuses::text[] IS NULL OR status = ANY(:statuses))
  AND (:partner::text IS NULL OR recipient = :partner)
  AND (:month::text IS NULL OR :month = ANY(months))
  AND (:kind::text IS NULL OR :kind = ANY(kinds))
  AND (:sequence::text IS NULL OR sequence = :sequence)
  AND (:csv_version::text IS NULL OR csv_version = :csv_version)
  AND (:service_type::text IS NULL OR service_type = :service_type)
  AND (:since::timestamptz IS NULL OR submitted_at >= :since)
  AND (:until::timestamptz IS NULL OR submitted_at < :until)
  AND (:findings::boolean IS NULL OR (errors + warnings > 0) = :findings)
ORDER BY submitted_at DESC, place DESC, message_id DESC
LIMIT :rows_max;

-- name: page_of_received
-- A page of the receive list, newest first, below a delivery number.
SELECT message_id, sender, recipient, sequence, csv_version, months, sender_name, recipient_name, service_type,
       submitted_at, place, epoch, parts, manifest, status, delivery_no, delivered_at, opened_at, downloaded_at,
       NULL::timestamptz AS recall_requested_at, erased_at, errors, warnings, NULL::text AS reason, held
FROM received
WHERE recipient = :office
  AND message_id <= :newest
  AND delivery_no < :below
  AND submitted_at IS NOT NULL
  AND (:statuses::text[] IS NULL OR status = ANY(:statuses))
  AND (:partner::text IS NULL OR sender = :partner)
  AND (:month::text IS NULL OR :month = ANY(months))
  AND (:kind::text IS NULL OR :kind = ANY(kinds))
  AND (:sequence::text IS NULL OR sequence = :sequence)
  AND (:csv_version::text IS NULL OR csv_version = :csv_version)
  AND (:service_type::text IS NULL OR service_type = :service_type)
  AND (:since::timestamptz IS NULL OR delivered_at >= :since)
  AND (:until::timestamptz IS NULL OR delivered_at < :until)
  AND (:findings::boolean IS NULL OR (errors + warnings > 0) = :findings)
ORDER BY delivery_no DESC
LIMIT :rows_max;

-- name: received_since
-- The receive list above a delivery number, ascending; whoever reads it stops at the first number that is missing.
SELECT message_id, sender, recipient, sequence, csv_version, months, sender_name, recipient_name, service_type,
       submitted_at, place, epoch, parts, manifest, status, delivery_no, delivered_at, opened_at, downloaded_at,
       NULL::timestamptz AS recall_requested_at, erased_at, errors, warnings, NULL::text AS reason, held
FROM received
WHERE recipient = :office AND message_id <= :newest AND delivery_no > :since AND submitted_at IS NOT NULL
ORDER BY delivery_no
LIMIT :rows_max;

-- name: one_of_sent^
-- One row of the send list.
SELECT message_id, sender, recipient, sequence, csv_version, months, sender_name, recipient_name, service_type,
       submitted_at, place, epoch, parts, manifest, status, delivery_no, delivered_at, opened_at, downloaded_at,
       recall_requested_at, erased_at, errors, warnings, reason, held
FROM sent WHERE message_id = :message_id AND sender = :office AND submitted_at IS NOT NULL;

-- name: one_of_received^
-- One row of the receive list.
SELECT message_id, sender, recipient, sequence, csv_version, months, sender_name, recipient_name, service_type,
       submitted_at, place, epoch, parts, manifest, status, delivery_no, delivered_at, opened_at, downloaded_at,
       NULL::timestamptz AS recall_requested_at, erased_at, errors, warnings, NULL::text AS reason, held
FROM received WHERE message_id = :message_id AND recipient = :office AND submitted_at IS NOT NULL;

-- name: status_in_sent$
-- How far a message of the send list has come.
SELECT status FROM sent WHERE message_id = :message_id AND sender = :office AND submitted_at IS NOT NULL;

-- name: status_in_received$
-- How far a message of the receive list has come.
SELECT status FROM received WHERE message_id = :message_id AND recipient = :office AND submitted_at IS NOT NULL;

-- name: facts
-- Everything the office may know about a message, in order.
SELECT event_id, service, type, at, actor_kind, actor_id, recipient, detail
FROM fact WHERE message_id = :message_id
ORDER BY at, type, event_id;

-- name: judgement
-- What validation said of a message.
SELECT type, detail FROM fact
WHERE message_id = :message_id AND type IN ('MessageAccepted', 'MessageRejected');

-- name: counts
-- The office's counts.
SELECT box, status, n FROM tally WHERE office = :office;

-- name: last_changes
-- The newest entries of the office's feed.
SELECT event, message_id, at FROM change WHERE office = :office ORDER BY change_no DESC LIMIT :rows_max;

-- name: changes_after
-- The office's feed after a number.
SELECT change_no, event, message_id, delivery_no FROM change
WHERE office = :office AND change_no > :after ORDER BY change_no LIMIT :rows_max;

-- name: last_change$
-- The number of the office's newest change.
SELECT change_no FROM feed WHERE office = :office;

-- name: operators_word^
-- What operators say of the system now: the newest word that holds.
SELECT state, until FROM operators_word
WHERE NOT withdrawn AND state IS NOT NULL AND published_at <= :now AND (until IS NULL OR until > :now)
ORDER BY published_at DESC, notice_id DESC LIMIT 1;

-- name: pulse^
-- How the pipeline was when it was last measured.
SELECT measured_at, oldest_submitted_at FROM pulse;
