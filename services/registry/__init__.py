"""Hears: MessageAccepted.

Says: OfficeRegistered, OfficeChanged, OfficeSuspended, OfficeResumed, OfficeSucceeded, LicenceChanged, UserChanged.

Owns: offices, licences, persons and their roles, login sessions and lock-outs.
"""
