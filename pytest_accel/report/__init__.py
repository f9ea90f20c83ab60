"""Telling what was found: each file is one way to tell it, and none of them decides anything."""
