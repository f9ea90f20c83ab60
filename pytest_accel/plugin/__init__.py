"""The rooms that know pytest: hooks, options and what a run tells at its end."""
