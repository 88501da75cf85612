"""Todoke (届け): the parts that its services share."""
