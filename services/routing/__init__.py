"""Hears: MessageAccepted, OfficeRegistered, OfficeChanged, OfficeSuspended, OfficeResumed, OfficeSucceeded, LicenceChanged.

Says: MessageRouted, MessageUndeliverable, MessageHeld, MessageReleased, MessageDiscarded, OperatorActed.

Owns: what was decided about each message, and a copy of the directory.
"""  # noqa: E501 (the house test reads one line of event types)
