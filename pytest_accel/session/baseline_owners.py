"""Which test uses which baseline, so that two of them do not take one for their own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from pytest_accel.facts.errors import UsageError
from pytest_accel.facts.fact import Fact
from pytest_accel.store.locks import lock_at


class BaselineOwner(Fact, frozen=True):
    """What a baseline is used for: by this test, for a model and for data of these digests."""

    test: str
    model_digest: str
    dataset_digest: str


class BaselineOwners:
    """The first test of this run that used each baseline.

    Processes of xdist's know their own tests only. They tell each other by files, in a folder that they `share`.
    """

    def __init__(self) -> None:
        self._owners: dict[Path, BaselineOwner] = {}
        self._folder: Path | None = None

    def share(self, folder: Path) -> None:
        """Keep the owners in a folder of this run, where its other processes see them."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def forget(self, test: str) -> None:
        """Take back what a test has claimed: it is run again, and its model may be another object by now."""
        self._owners = {path: owner for path, owner in self._owners.items() if owner.test != test}
        if self._folder is not None:
            with lock_at(self._lock_file(self._folder)):
                for file in self._folder.glob("*.json"):
                    if _read(file).test == test:
                        file.unlink()

    def claim(self, path: Path, *, model: str, owner: BaselineOwner) -> None:
        """Note that a test uses the baseline at ``path``.

        Raises `UsageError` where it was used for another model or for other data: of the two the last one saved would
        win, and each would be compared with it.
        """
        first = self._first(path, owner)
        for what, earlier, later in (
            ("models", first.model_digest, owner.model_digest),
            ("data", first.dataset_digest, owner.dataset_digest),
        ):
            if earlier != later:
                tests = owner.test if first.test == owner.test else f"{first.test} and {owner.test}"
                raise UsageError(
                    f"{tests}: one baseline, {path}, cannot serve different {what}: give one of them a name of its "
                    f"own, for example accel_model(source, name='{model}-2')"
                )

    def _first(self, path: Path, owner: BaselineOwner) -> BaselineOwner:
        """Return who has the baseline, which is ``owner`` unless somebody came before."""
        if self._folder is None:
            return self._owners.setdefault(path, owner)
        file = self._folder / f"{hashlib.sha256(str(path).encode()).hexdigest()}.json"
        with lock_at(self._lock_file(self._folder)):
            if not file.exists():
                file.write_bytes(msgspec.json.encode(owner))
            return _read(file)

    @staticmethod
    def _lock_file(folder: Path) -> Path:
        return folder / "owners.lock"


def _read(file: Path) -> BaselineOwner:
    return msgspec.json.decode(file.read_bytes(), type=BaselineOwner)
