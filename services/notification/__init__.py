"""Hears: Delivered, Downloaded, Recalled, Expired, ReminderDue, MessageRejected, MessageUndeliverable, MessageDiscarded, OfficeRegistered, OfficeChanged, OfficeSuspended, OfficeResumed, OfficeSucceeded, LicenceChanged, UserChanged.

Says: OperatorActed.

Owns: who wants to be told what (mail addresses, webhooks), what waits to be told, and how telling ended.
"""  # noqa: E501 (the house test reads one line of event types)
