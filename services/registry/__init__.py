"""Hears: MessageAccepted.

Says: OfficeRegistered, OfficeChanged, OfficeSuspended, OfficeResumed, OfficeSucceeded, LicenceChanged, UserChanged, OperatorActed.

Owns: offices, licences, persons and their roles, login sessions and lock-outs.
"""  # noqa: E501 (the house test reads one line of event types)
