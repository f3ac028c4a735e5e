"""One file for each revision, run in the order of their numbers."""
