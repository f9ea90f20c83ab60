"""The ground: what is known, what a project set, and what can go wrong, as frozen data."""
