"""Hears: nothing.

Says: OperatorActed.

Owns: browsers' sessions.
"""
