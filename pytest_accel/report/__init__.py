"""Report a run in the terminal and in files. Nothing is decided here."""
