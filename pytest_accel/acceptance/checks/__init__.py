"""The checks of an acceptance, each in a file that is named for it."""
