-- migrate:up
-- What was decided about each accepted message: one row, written once. That the row is new decides whether an event is
-- said, so a repeated record says nothing.
CREATE TABLE routed (
    message_id uuid PRIMARY KEY,
    sender text NOT NULL,
    recipient text NOT NULL,
    -- 'routed', or the TDK code of the refusal.
    verdict text NOT NULL,
    decided_at timestamptz NOT NULL
) PARTITION BY RANGE (message_id);
SELECT partition_by_month('routed');
SELECT grant_worker('routed');
SELECT office_policy('routed', 'sender', 'recipient');

-- migrate:down
