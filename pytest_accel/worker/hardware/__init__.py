"""What hardware is here and what it can do, asked without its SDK where that is possible."""
