"""Hears: MessageSubmitted, MessageRejected, MessageRouted, MessageUndeliverable, MessageDiscarded.

Says: Delivered, ContentOpened, Downloaded, RecallRequested, Recalled, ReminderDue, Expired, Erased, MessageHeld, MessageReleased, MessageDiscarded, OperatorActed.

Owns: custody of contents, mailboxes, delivery numbers, receipts, the access log; reminder, expiry, erasure.
"""  # noqa: E501 (the house test reads one line of event types)
