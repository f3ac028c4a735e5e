"""Projects and their keys: who may ask, for what, and for how much."""
