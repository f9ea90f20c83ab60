"""Networks that the acceptance of an accelerator runs, each written once and built in the words of every framework."""
