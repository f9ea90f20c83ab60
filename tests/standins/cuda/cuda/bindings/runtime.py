"""The runtime API under its present name."""

from cuda._runtime import *  # noqa: F403
