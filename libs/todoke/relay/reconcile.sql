-- name: now$
-- The database's own time: reports of several processes are compared by it.
SELECT clock_timestamp();

-- name: compared_since$
-- Whether another process compared journal and topic to the end after this moment.
SELECT EXISTS (SELECT FROM reconcile_report WHERE ended_at > :moment AND compared <> 'objects');

-- name: marks
-- How far each partition of the own topic goes, as far as this database knows.
SELECT partition, first, next, event_id, append_time, suspect FROM own_log ORDER BY partition;

-- name: known_partition!
-- A partition has a mark from now on, so that the relay can move it.
INSERT INTO own_log (partition) VALUES (:partition) ON CONFLICT DO NOTHING;

-- name: move_mark!
-- What stands below is in the journal; a mark that the relay has moved meanwhile stays.
UPDATE own_log SET next = :next, event_id = :event_id, append_time = :append_time
WHERE partition = :partition AND next = :expected;

-- name: renew_mark!
-- Journal and topic were compared as a whole: the log begins here and goes so far, and is suspect no more. A mark that
-- the relay has moved meanwhile stays.
INSERT INTO own_log AS mark (partition, first, next, event_id, append_time)
VALUES (:partition, :first, :next, :event_id, :append_time)
ON CONFLICT (partition) DO UPDATE
SET first = excluded.first, suspect = false,
    next = CASE WHEN mark.next = :expected THEN excluded.next ELSE mark.next END,
    event_id = CASE WHEN mark.next = :expected THEN excluded.event_id ELSE mark.event_id END,
    append_time = CASE WHEN mark.next = :expected THEN excluded.append_time ELSE mark.append_time END;

-- name: journalled
-- Which of these events the journal holds, and their numbers in it (OFFSET 0 keeps the lookups by key).
SELECT asked.event_id, found.seq
FROM unnest(:subject_ids::uuid[], :event_ids::uuid[]) AS asked (subject_id, event_id)
CROSS JOIN LATERAL (
    SELECT seq FROM journal j WHERE j.message_id = asked.subject_id AND j.event_id = asked.event_id
    UNION ALL
    SELECT seq FROM journal_office f WHERE f.subject_id = asked.subject_id AND f.event_id = asked.event_id
    OFFSET 0
) found;

-- name: take_back_messages
-- Put events of messages back into the journal as they stand in the topic; there they need not go again.
INSERT INTO journal (message_id, event_id, key, type, version, payload, traceparent, recorded_at)
SELECT subject_id, event_id, key, type, version, payload, traceparent, recorded_at
FROM unnest(:subject_ids::uuid[], :event_ids::uuid[], :keys::text[], :types::text[], :versions::smallint[],
            :payloads::json[], :traceparents::text[], :times::timestamptz[])
    WITH ORDINALITY AS lost (subject_id, event_id, key, type, version, payload, traceparent, recorded_at, place)
ORDER BY place
ON CONFLICT DO NOTHING
RETURNING event_id;

-- name: take_back_offices
-- The same for events about offices and other subjects.
INSERT INTO journal_office (subject_id, event_id, subject, key, type, version, payload, traceparent, recorded_at)
SELECT subject_id, event_id, subject, key, type, version, payload, traceparent, recorded_at
FROM unnest(:subject_ids::uuid[], :event_ids::uuid[], :subjects::text[], :keys::text[], :types::text[],
            :versions::smallint[], :payloads::json[], :traceparents::text[], :times::timestamptz[])
    WITH ORDINALITY AS lost (subject_id, event_id, subject, key, type, version, payload, traceparent, recorded_at, place)
ORDER BY place
ON CONFLICT DO NOTHING
RETURNING event_id;

-- name: hold_again!
-- A subject was held: its records are parked again when they are heard again. An end that is known already stands.
INSERT INTO hold (subject, state, cause, nth, error, held_at)
VALUES (:subject, 'held', 'parked', :nth, 'taken back', :held_at)
ON CONFLICT (subject) DO UPDATE SET state = 'held', nth = excluded.nth, held_at = excluded.held_at
WHERE hold.nth < excluded.nth;

-- name: end_hold_again!
-- A hold ended, released or discarded; only a later one outlives it.
INSERT INTO hold (subject, state, cause, nth, error, held_at)
VALUES (:subject, :state, 'parked', :nth, 'taken back', :held_at)
ON CONFLICT (subject) DO UPDATE SET state = excluded.state, nth = greatest(hold.nth, excluded.nth)
WHERE hold.nth <= excluded.nth OR excluded.state = 'discarded';

-- name: last_seq$
-- The newest number of the journal.
SELECT coalesce(pg_sequence_last_value('journal_seq'), 0);

-- name: not_in_topic
-- What of the journal is known not to stand in the topic.
SELECT seq FROM outbox UNION ALL SELECT seq FROM parked_out;

-- name: journal_page
-- The next events of messages in the journal, by key.
SELECT message_id AS subject_id, event_id, seq FROM journal
WHERE message_id >= :subject_id AND (message_id, event_id) > (:subject_id, :event_id)
ORDER BY message_id, event_id LIMIT :rows_max;

-- name: journal_office_page
-- The next events of offices in the journal, by key.
SELECT subject_id, event_id, seq FROM journal_office
WHERE subject_id >= :subject_id AND (subject_id, event_id) > (:subject_id, :event_id)
ORDER BY subject_id, event_id LIMIT :rows_max;

-- name: forget_missing!
-- Begin a new collection of what the topic lacks.
DELETE FROM reconcile_missing;

-- name: collect_missing!
-- The topic lacks these.
INSERT INTO reconcile_missing (seq, subject_id, event_id, about_office)
SELECT seq, subject_id, event_id, :about_office
FROM unnest(:seqs::bigint[], :subject_ids::uuid[], :event_ids::uuid[]) AS missing (seq, subject_id, event_id)
ON CONFLICT DO NOTHING;

-- name: publish_missing$
-- Hand the oldest of them to the relay; answers how many there were.
WITH oldest AS (
    DELETE FROM reconcile_missing
    WHERE seq IN (SELECT seq FROM reconcile_missing ORDER BY seq LIMIT :rows_max)
    RETURNING seq, subject_id, event_id, about_office
), handed AS (
    INSERT INTO outbox (seq, subject_id, event_id, about_office)
    SELECT seq, subject_id, event_id, about_office FROM oldest ORDER BY seq
    ON CONFLICT DO NOTHING
)
SELECT count(*) FROM oldest;

-- name: report$
-- Write down what was found, and forget reports of comparisons that found nothing but for the newest. Once something
-- could not be mended, only a comparison of everything on demand is clean again.
WITH told AS (
    INSERT INTO reconcile_report (began_at, ended_at, trigger, compared, mismatch, looked_at, taken_back,
                                  published_again, orphans, unhealed, clean)
    VALUES (:began_at, clock_timestamp(), :trigger, :compared, :mismatch, :looked_at, :taken_back, :published_again,
            :orphans, :unhealed,
            :unhealed::bigint = 0 AND (
                (:trigger = 'demand' AND :compared = 'topic')
                OR coalesce((SELECT clean FROM reconcile_report ORDER BY id DESC LIMIT 1), true)))
    RETURNING id
), named AS (
    INSERT INTO reconcile_unhealed (report_id, kind, subject)
    SELECT told.id, found.kind, found.subject FROM told, unnest(:kinds::text[], :subjects::text[]) AS found (kind, subject)
    ON CONFLICT DO NOTHING
), forgotten AS (
    DELETE FROM reconcile_report USING told
    WHERE reconcile_report.id <= told.id - :kept::bigint AND clean AND taken_back = 0 AND published_again = 0
      AND mismatch IS NULL
)
SELECT id FROM told;

-- name: reports
-- The newest reports before one, the newest first.
SELECT id, began_at, ended_at, trigger, compared, mismatch, looked_at, taken_back, published_again, orphans, unhealed,
       clean
FROM reconcile_report WHERE id < :before ORDER BY id DESC LIMIT :rows_max;

-- name: first_unhealed
-- The first things that each of these reports names.
SELECT asked.report_id, named.kind, named.subject
FROM unnest(:report_ids::bigint[]) AS asked (report_id)
CROSS JOIN LATERAL (
    SELECT u.kind, u.subject FROM reconcile_unhealed u WHERE u.report_id = asked.report_id
    ORDER BY u.kind, u.subject LIMIT :rows_max
) named;

-- name: is_report$
-- Whether there is a report of this number.
SELECT EXISTS (SELECT FROM reconcile_report WHERE id = :report_id);

-- name: unhealed_of
-- The next things that a report names; a report never changes, so a place in it stays good.
SELECT kind, subject FROM reconcile_unhealed WHERE report_id = :report_id
ORDER BY kind, subject OFFSET :told LIMIT :rows_max;

-- name: last_was_clean$
-- Whether the last comparison left nothing unmended; no comparison is not clean.
SELECT coalesce((SELECT clean FROM reconcile_report ORDER BY id DESC LIMIT 1), false);

-- name: wish!
-- An operator wants everything compared.
INSERT INTO reconcile_wish (asked_at, asked_by) VALUES (:asked_at, :asked_by)
ON CONFLICT (only_row) DO UPDATE SET asked_at = excluded.asked_at, asked_by = excluded.asked_by;

-- name: wished^
-- The operator's wish that waits to be carried out, if there is any.
SELECT asked_at, asked_by FROM reconcile_wish;

-- name: cause^
-- Whether something wants to be compared: an operator's wish, and whether the own topic is suspect.
SELECT (SELECT asked_at FROM reconcile_wish) AS wished_at, EXISTS (SELECT FROM own_log WHERE suspect) AS suspect;

-- name: fulfil!
-- A wish was carried out, unless it was said again meanwhile.
DELETE FROM reconcile_wish WHERE asked_at = :asked_at;
