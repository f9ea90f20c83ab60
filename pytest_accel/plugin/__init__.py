"""These modules know pytest: the hooks, the options and the summary of a run."""
