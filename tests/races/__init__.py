"""Two things at the same moment: which of them wins is open, that the outcome is sound is not."""
