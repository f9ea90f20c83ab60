"""Slower than what: the opponent, and how the comparison is played."""
