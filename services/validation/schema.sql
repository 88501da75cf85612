-- The sum of services/validation/schema/*.sql (a house test compares them).

-- Which messages were judged, and how.

-- One row per message: it decides that a repeated MessageSubmitted is judged and said once only. Findings stand in the
-- events, for the projections to show.
CREATE TABLE judgement (
    message_id uuid PRIMARY KEY,
    sender text NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('accepted', 'rejected')),
    errors integer NOT NULL CHECK (errors >= 0),
    warnings integer NOT NULL CHECK (warnings >= 0),
    judged_at timestamptz NOT NULL,
    CHECK ((verdict = 'rejected') = (errors > 0))
) PARTITION BY RANGE (message_id);
SELECT partition_by_month('judgement');
SELECT grant_worker('judgement');
SELECT office_policy('judgement', 'sender');
