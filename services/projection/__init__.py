"""Hears: MessageSubmitted, MessageAccepted, MessageRejected, MessageRouted, MessageUndeliverable, MessageDiscarded, Delivered, ContentOpened, Downloaded, RecallRequested, Recalled, ReminderDue, Expired, Erased, MessageHeld, MessageReleased, NoticePublished, NoticeWithdrawn.

Says: OperatorActed.

Owns: the send list, the receive list, their counts, the timeline, the change feed of each office.
"""  # noqa: E501 (the house test reads one line of event types)
