"""Workers: starting them, asking them and burying them."""
