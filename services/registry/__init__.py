"""Hears: MessageAccepted.

Says: OfficeRegistered, OfficeChanged, OfficeSuspended, OfficeResumed, OfficeSucceeded, LicenceChanged, UserChanged, ApplicationReceived, ApplicationDecided, CertificateChanged, NoticePublished, NoticeWithdrawn, OperatorActed.

Owns: offices, licences and applications for them, certificates, letters, persons and their roles, notices, login sessions
and lock-outs.
"""  # noqa: E501 (the house test reads one line of event types)
