"""Hears: nothing.

Says: OperatorActed.

Owns: nothing.
"""
