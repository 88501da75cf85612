-- name: judged
-- Which of these messages were judged before.
SELECT message_id FROM judgement WHERE message_id = ANY(:message_ids::uuid[]) AND message_id BETWEEN :low AND :high;

-- name: claim
-- Keep judgements; only those of messages that nobody judged before come back.
INSERT INTO judgement (message_id, sender, verdict, errors, warnings, judged_at)
SELECT message_id, sender, verdict, errors, warnings, :judged_at
FROM unnest(:message_ids::uuid[], :senders::text[], :verdicts::text[], :errors::integer[], :warnings::integer[])
    AS new (message_id, sender, verdict, errors, warnings)
ORDER BY message_id
ON CONFLICT DO NOTHING
RETURNING message_id;

-- name: restore_judgements!
-- Set up again judgements that this database has forgotten, from their own events.
INSERT INTO judgement (message_id, sender, verdict, errors, warnings, judged_at)
SELECT message_id, sender, verdict, errors, warnings, judged_at
FROM unnest(:message_ids::uuid[], :senders::text[], :verdicts::text[], :errors::integer[], :warnings::integer[],
            :times::timestamptz[])
    AS old (message_id, sender, verdict, errors, warnings, judged_at)
ORDER BY message_id
ON CONFLICT DO NOTHING;
