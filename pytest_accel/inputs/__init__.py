"""What a test names: an accelerator with its options, a model and data."""
