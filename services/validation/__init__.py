"""Hears: MessageSubmitted, OfficeRegistered, OfficeChanged, OfficeSuspended, OfficeResumed, OfficeSucceeded, LicenceChanged.

Says: FileValidated, MessageAccepted, MessageRejected, MessageHeld, MessageReleased, MessageDiscarded, OperatorActed.

Owns: which messages were judged, and how; a copy of the directory.
"""  # noqa: E501 (the house test reads one line of event types)
