"""Hears: MessageSubmitted, MessageRejected, MessageRouted, MessageUndeliverable, MessageDiscarded.

Says: Delivered, ContentOpened, Downloaded, RecallRequested, Recalled, ReminderDue, Expired, Erased, KeyEpochDestroyed, MessageHeld, MessageReleased, MessageDiscarded, OperatorActed.

Owns: custody of contents, mailboxes, delivery numbers, receipts, the access log; reminder, expiry, erasure, the end of a month's key.
"""  # noqa: E501 (the house test reads one line of event types)
