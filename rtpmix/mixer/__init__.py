"""Frames, gains and playout: the mechanism, without I/O and without a clock."""
