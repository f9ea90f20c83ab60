"""What a run owns, and what it makes once for all of its tests."""
