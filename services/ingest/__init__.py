"""Hears: OfficeRegistered, OfficeChanged, OfficeSuspended, OfficeResumed, OfficeSucceeded, LicenceChanged, MessageRejected, MessageUndeliverable, MessageDiscarded, Recalled, KeyEpochDestroyed.

Says: MessageSubmitted, OperatorActed.

Owns: submissions, idempotency keys, sequences in use, month keys.
"""  # noqa: E501 (the house test reads one line of event types)
