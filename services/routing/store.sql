-- name: claim
-- Write down the judgements of messages that were not judged before, and name those.
INSERT INTO routed (message_id, sender, recipient, verdict, decided_at)
SELECT message_id, sender, recipient, verdict, :decided_at
FROM unnest(:message_ids::uuid[], :senders::text[], :recipients::text[], :verdicts::text[])
    AS judged (message_id, sender, recipient, verdict)
ORDER BY message_id
ON CONFLICT DO NOTHING
RETURNING message_id;

-- name: restore_decisions!
-- Set up again decisions that this database has forgotten, from their own events.
INSERT INTO routed (message_id, sender, recipient, verdict, decided_at)
SELECT message_id, sender, recipient, verdict, decided_at
FROM unnest(:message_ids::uuid[], :senders::text[], :recipients::text[], :verdicts::text[], :times::timestamptz[])
    AS old (message_id, sender, recipient, verdict, decided_at)
ORDER BY message_id
ON CONFLICT DO NOTHING;
