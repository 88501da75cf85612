"""Hears: nothing.

Says: OperatorActed.

Owns: browsers' sessions, drafts, sheets and their sendings.
"""
