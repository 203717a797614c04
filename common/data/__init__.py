"""Data sets of isolated characters: where they come from, their splits and their batches."""
