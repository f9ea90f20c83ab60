"""Which test uses which baseline, so that two of them do not take one for their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pytest_accel.facts.errors import UsageError


@dataclass(frozen=True)
class _Owner:
    test: str
    model_digest: str
    dataset_digest: str


class BaselineOwners:
    """The first test that used each baseline in this process. A process of xdist's knows its own tests only."""

    def __init__(self) -> None:
        self._owners: dict[Path, _Owner] = {}

    def claim(self, path: Path, *, model: str, test: str, model_digest: str, dataset_digest: str) -> None:
        """Note that a test uses the baseline at ``path``.

        Raises `UsageError` where another test has used it for another model or for other data: of the two the last
        one saved would win, and each would be compared with it.
        """
        claimed = _Owner(test, model_digest, dataset_digest)
        owner = self._owners.setdefault(path, claimed)
        if owner.test == test:
            return
        for what, earlier, later in (
            ("models", owner.model_digest, model_digest),
            ("data", owner.dataset_digest, dataset_digest),
        ):
            if earlier != later:
                raise UsageError(
                    f"{owner.test} and {test} have one baseline, {path}, for different {what}: give one of them a "
                    f"name of its own, for example accel_model(source, name='{model}-2')"
                )
