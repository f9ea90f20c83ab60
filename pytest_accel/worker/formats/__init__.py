"""Models as they lie in files: reading, converting and quantising them."""
