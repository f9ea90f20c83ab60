"""The acceptance of an accelerator on the machine that has its hardware."""
