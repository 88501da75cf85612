-- name: keep_facts
-- Keep what was heard; answers the events that are new here, and only those go on to the lists, and whether these have
-- a row for the message already (no EXISTS: it would be planned twice over all months).
INSERT INTO fact (message_id, event_id, service, type, at, actor_kind, actor_id, sender, recipient, detail)
SELECT message_id, event_id, service, type, at, actor_kind, actor_id, sender, recipient, detail
FROM unnest(:message_ids::uuid[], :event_ids::uuid[], :services::text[], :types::text[], :ats::timestamptz[],
            :actor_kinds::text[], :actor_ids::text[], :senders::text[], :recipients::text[], :details::jsonb[])
    AS new (message_id, event_id, service, type, at, actor_kind, actor_id, sender, recipient, detail)
ORDER BY message_id, event_id
ON CONFLICT DO NOTHING
RETURNING event_id, message_id,
    (SELECT true FROM sent s WHERE s.message_id = fact.message_id AND s.message_id BETWEEN :low AND :high) AS is_sent,
    (SELECT true FROM received r WHERE r.message_id = fact.message_id AND r.message_id BETWEEN :low AND :high)
        AS is_received;

-- name: facts_of_messages
-- Everything heard about some messages: for a row whose package came late, so that its changes are pushed then.
-- (In the receive list only what storage says of something delivered, and its holds.)
SELECT message_id, type, at FROM fact
WHERE message_id = ANY(:ids::uuid[]) AND message_id BETWEEN :low AND :high
  AND (:box = 'sent' OR (service = 'storage'
                         AND (recipient IS NOT NULL OR type IN ('MessageHeld', 'MessageReleased'))))
ORDER BY message_id, at, type, event_id;

-- name: add_sent
-- New rows of the send list, in key order; a row that another transaction made meanwhile is left to be merged.
INSERT INTO sent (message_id, sender, recipient, sequence, csv_version, months, kinds, sender_name, recipient_name,
                  service_type, submitted_at, place, epoch, parts, manifest,
                  status, delivery_no, delivered_at, opened_at, downloaded_at, recall_requested_at, erased_at,
                  errors, warnings, reason, hold_validation, hold_routing, hold_storage)
SELECT message_id, sender, recipient, sequence, csv_version, string_to_array(months, ' '), string_to_array(kinds, ' '),
       sender_name, recipient_name, service_type, submitted_at, place, epoch, parts, manifest,
       status, delivery_no, delivered_at, opened_at, downloaded_at, recall_requested_at, erased_at,
       errors, warnings, reason, hold_validation, hold_routing, hold_storage
FROM unnest(:message_ids::uuid[], :senders::text[], :recipients::text[], :sequences::text[], :csv_versions::text[],
            :months::text[], :kinds::text[], :sender_names::text[], :recipient_names::text[], :service_types::text[],
            :submitted_ats::timestamptz[], :places::integer[], :epochs::text[], :parts::jsonb[], :manifests::text[],
            :statuses::text[], :delivery_nos::bigint[], :delivered_ats::timestamptz[], :opened_ats::timestamptz[],
            :downloaded_ats::timestamptz[], :recall_requested_ats::timestamptz[], :erased_ats::timestamptz[],
            :errors::integer[], :warnings::integer[], :reasons::text[],
            :holds_validation::smallint[], :holds_routing::smallint[], :holds_storage::smallint[])
    AS new (message_id, sender, recipient, sequence, csv_version, months, kinds, sender_name, recipient_name,
            service_type, submitted_at, place, epoch, parts, manifest,
            status, delivery_no, delivered_at, opened_at, downloaded_at, recall_requested_at, erased_at,
            errors, warnings, reason, hold_validation, hold_routing, hold_storage)
ORDER BY message_id
ON CONFLICT DO NOTHING
RETURNING message_id;

-- name: lock_sent
-- Lock rows of the send list in key order and read what facts change, in the order of `State`.
SELECT message_id, submitted_at IS NOT NULL AS listed, status, delivery_no, delivered_at, opened_at, downloaded_at,
       recall_requested_at, erased_at, errors, warnings, reason, hold_validation, hold_routing, hold_storage
FROM sent
WHERE message_id = ANY(:ids::uuid[]) AND message_id BETWEEN :low AND :high
ORDER BY message_id
FOR UPDATE;

-- name: change_sent!
-- Write the merged state of locked rows of the send list.
UPDATE sent
SET status = new.status, delivery_no = new.delivery_no, delivered_at = new.delivered_at, opened_at = new.opened_at,
    downloaded_at = new.downloaded_at, recall_requested_at = new.recall_requested_at, erased_at = new.erased_at,
    errors = new.errors, warnings = new.warnings, reason = new.reason, hold_validation = new.hold_validation,
    hold_routing = new.hold_routing, hold_storage = new.hold_storage
FROM unnest(:message_ids::uuid[], :statuses::text[], :delivery_nos::bigint[], :delivered_ats::timestamptz[],
            :opened_ats::timestamptz[], :downloaded_ats::timestamptz[], :recall_requested_ats::timestamptz[],
            :erased_ats::timestamptz[], :errors::integer[], :warnings::integer[], :reasons::text[],
            :holds_validation::smallint[], :holds_routing::smallint[], :holds_storage::smallint[])
    AS new (message_id, status, delivery_no, delivered_at, opened_at, downloaded_at, recall_requested_at, erased_at,
            errors, warnings, reason, hold_validation, hold_routing, hold_storage)
WHERE sent.message_id = new.message_id AND sent.message_id BETWEEN :low AND :high;

-- name: complete_sent!
-- Give locked rows of the send list the package that came after their first fact.
UPDATE sent
SET sequence = new.sequence, csv_version = new.csv_version, months = string_to_array(new.months, ' '),
    kinds = string_to_array(new.kinds, ' '), sender_name = new.sender_name, recipient_name = new.recipient_name,
    service_type = new.service_type, submitted_at = new.submitted_at, place = new.place, epoch = new.epoch,
    parts = new.parts, manifest = new.manifest
FROM unnest(:message_ids::uuid[], :sequences::text[], :csv_versions::text[], :months::text[], :kinds::text[],
            :sender_names::text[], :recipient_names::text[], :service_types::text[], :submitted_ats::timestamptz[],
            :places::integer[], :epochs::text[], :parts::jsonb[], :manifests::text[])
    AS new (message_id, sequence, csv_version, months, kinds, sender_name, recipient_name, service_type, submitted_at,
            place, epoch, parts, manifest)
WHERE sent.message_id = new.message_id AND sent.message_id BETWEEN :low AND :high;

-- name: add_received
-- New rows of the receive list, in key order; a row that another transaction made meanwhile is left to be merged.
INSERT INTO received (message_id, sender, recipient, sequence, csv_version, months, kinds, sender_name, recipient_name,
                      service_type, submitted_at, place, epoch, parts, manifest,
                      status, delivery_no, delivered_at, opened_at, downloaded_at, erased_at, errors, warnings,
                      hold_storage)
SELECT message_id, sender, recipient, sequence, csv_version, string_to_array(months, ' '), string_to_array(kinds, ' '),
       sender_name, recipient_name, service_type, submitted_at, place, epoch, parts, manifest,
       status, delivery_no, delivered_at, opened_at, downloaded_at, erased_at, errors, warnings, hold_storage
FROM unnest(:message_ids::uuid[], :senders::text[], :recipients::text[], :sequences::text[], :csv_versions::text[],
            :months::text[], :kinds::text[], :sender_names::text[], :recipient_names::text[], :service_types::text[],
            :submitted_ats::timestamptz[], :places::integer[], :epochs::text[], :parts::jsonb[], :manifests::text[],
            :statuses::text[], :delivery_nos::bigint[], :delivered_ats::timestamptz[], :opened_ats::timestamptz[],
            :downloaded_ats::timestamptz[], :erased_ats::timestamptz[], :errors::integer[], :warnings::integer[],
            :holds_storage::smallint[])
    AS new (message_id, sender, recipient, sequence, csv_version, months, kinds, sender_name, recipient_name,
            service_type, submitted_at, place, epoch, parts, manifest,
            status, delivery_no, delivered_at, opened_at, downloaded_at, erased_at, errors, warnings, hold_storage)
ORDER BY message_id
ON CONFLICT DO NOTHING
RETURNING message_id;

-- name: lock_received
-- Lock rows of the receive list in key order and read what facts change, in the order of `State`.
SELECT message_id, submitted_at IS NOT NULL AS listed, status, delivery_no, delivered_at, opened_at, downloaded_at,
       NULL::timestamptz AS recall_requested_at, erased_at, errors, warnings, NULL::text AS reason,
       0 AS hold_validation, 0 AS hold_routing, hold_storage
FROM received
WHERE message_id = ANY(:ids::uuid[]) AND message_id BETWEEN :low AND :high
ORDER BY message_id
FOR UPDATE;

-- name: change_received!
-- Write the merged state of locked rows of the receive list.
UPDATE received
SET status = new.status, delivery_no = new.delivery_no, delivered_at = new.delivered_at, opened_at = new.opened_at,
    downloaded_at = new.downloaded_at, erased_at = new.erased_at, errors = new.errors, warnings = new.warnings,
    hold_storage = new.hold_storage
FROM unnest(:message_ids::uuid[], :statuses::text[], :delivery_nos::bigint[], :delivered_ats::timestamptz[],
            :opened_ats::timestamptz[], :downloaded_ats::timestamptz[], :erased_ats::timestamptz[],
            :errors::integer[], :warnings::integer[], :holds_storage::smallint[])
    AS new (message_id, status, delivery_no, delivered_at, opened_at, downloaded_at, erased_at, errors, warnings,
            hold_storage)
WHERE received.message_id = new.message_id AND received.message_id BETWEEN :low AND :high;

-- name: complete_received!
-- Give locked rows of the receive list the package that came after their first fact.
UPDATE received
SET sequence = new.sequence, csv_version = new.csv_version, months = string_to_array(new.months, ' '),
    kinds = string_to_array(new.kinds, ' '), sender_name = new.sender_name, recipient_name = new.recipient_name,
    service_type = new.service_type, submitted_at = new.submitted_at, place = new.place, epoch = new.epoch,
    parts = new.parts, manifest = new.manifest
FROM unnest(:message_ids::uuid[], :sequences::text[], :csv_versions::text[], :months::text[], :kinds::text[],
            :sender_names::text[], :recipient_names::text[], :service_types::text[], :submitted_ats::timestamptz[],
            :places::integer[], :epochs::text[], :parts::jsonb[], :manifests::text[])
    AS new (message_id, sequence, csv_version, months, kinds, sender_name, recipient_name, service_type, submitted_at,
            place, epoch, parts, manifest)
WHERE received.message_id = new.message_id AND received.message_id BETWEEN :low AND :high;

-- name: park_sent
-- Flag messages of the send list that this service itself cannot go on with (or clear the flag).
UPDATE sent SET parked = :parked
WHERE message_id = ANY(:ids::uuid[]) AND parked <> :parked
RETURNING message_id, sender AS office, delivery_no, submitted_at IS NOT NULL AS listed;

-- name: park_received
-- The same in the receive list.
UPDATE received SET parked = :parked
WHERE message_id = ANY(:ids::uuid[]) AND parked <> :parked
RETURNING message_id, recipient AS office, delivery_no, submitted_at IS NOT NULL AS listed;

-- name: settle
-- What a batch does to offices, each table in key order: add to their counts; count the facts that they may see from now
-- on; draw numbers for their new changes and write those into their feeds (`behind`: how many follow in the same batch);
-- tell waiting readers, at commit, whose lists have changed. Answers the last number of each feed.
WITH counted AS (
    INSERT INTO tally (office, box, status, n)
    SELECT office, box, status, n
    FROM unnest(:tally_offices::text[], :tally_boxes::text[], :tally_statuses::text[], :tally_ns::bigint[])
        AS new (office, box, status, n)
    ORDER BY office, box, status
    ON CONFLICT (office, box, status) DO UPDATE SET n = tally.n + excluded.n
), seen AS (
    INSERT INTO head (office, version)
    SELECT office, version FROM unnest(:head_offices::text[], :head_versions::bigint[]) AS new (office, version)
    ORDER BY office
    ON CONFLICT (office) DO UPDATE SET version = head.version + excluded.version
), drawn AS (
    INSERT INTO feed (office, change_no)
    SELECT office, changes FROM unnest(:feed_offices::text[], :feed_changes::bigint[]) AS new (office, changes)
    ORDER BY office
    ON CONFLICT (office) DO UPDATE SET change_no = feed.change_no + excluded.change_no
    RETURNING office, change_no
), told AS (
    INSERT INTO change (office, change_no, event, message_id, delivery_no, at)
    SELECT new.office, drawn.change_no - new.behind, new.event, new.message_id, new.delivery_no, new.at
    FROM unnest(:offices::text[], :behind::bigint[], :events::text[], :message_ids::uuid[], :delivery_nos::bigint[],
                :ats::timestamptz[]) AS new (office, behind, event, message_id, delivery_no, at)
    JOIN drawn ON drawn.office = new.office
)
SELECT office, change_no, NULL AS woken FROM drawn
UNION ALL
SELECT NULL, NULL, pg_notify('projection_lists', offices)::text FROM unnest(:wakes::text[]) AS wake (offices);

-- name: trim_changes!
-- Drop the oldest changes of feeds that have grown over their bound.
DELETE FROM change USING unnest(:offices::text[], :upto::bigint[]) AS old (office, upto)
WHERE change.office = old.office AND change.change_no <= old.upto;

-- name: keep_word!
-- Keep the operators' word about the system, and whether it was taken back; the two may come in any order.
INSERT INTO operators_word AS known (notice_id, published_at, state, until, withdrawn)
SELECT * FROM unnest(:notices::uuid[], :published_ats::timestamptz[], :states::text[], :untils::timestamptz[],
                     :withdrawns::boolean[])
ON CONFLICT (notice_id) DO UPDATE
SET published_at = coalesce(excluded.published_at, known.published_at),
    state = coalesce(excluded.state, known.state), until = coalesce(excluded.until, known.until),
    withdrawn = known.withdrawn OR excluded.withdrawn;

-- name: measure_pulse^
-- Measure since when the oldest message that is not held has been on its way, and keep it.
INSERT INTO pulse (measured_at, oldest_submitted_at)
SELECT :now, min(submitted_at) FROM sent WHERE status IN ('submitted', 'accepted', 'routed') AND NOT held
ON CONFLICT (only_row) DO UPDATE
SET measured_at = excluded.measured_at, oldest_submitted_at = excluded.oldest_submitted_at
RETURNING oldest_submitted_at;
