"""The acceptance sentences of the screens, each tried in a real browser on the real stack."""
