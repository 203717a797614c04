"""Data sets of single characters and of single lines: sources, splits and batches."""
