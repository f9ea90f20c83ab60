"""Accelerators whose options and devices are known but for which this release does not compile yet.

They let a test name its target today: the marker is validated, the hardware is looked for, and the test is skipped with
the true reason. Each leaves this file for one of its own when it can compile and measure.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, Tuple, Union

from pytest_accel.worker.accelerator import Accelerator, Arrays, Missing, Present, Progress, Source, Tensor


class Announced(Accelerator):
    """Knows its options and its device; everything that needs an SDK is still to come."""

    def probe(self) -> Union[Present, Missing]:
        """Always missing: the device may be here, but we cannot measure it."""
        return Missing(
            "not-supported-yet",
            f"the hardware may be here, but this release of pytest-accel does not compile for {self.name} yet",
            "leave it out of --accelerator, or add an accelerator of your own under this name",
        )

    def versions(self) -> Dict[str, str]:
        """Nothing is under test."""
        return {}

    def compile(
        self,
        source: Source,
        artefact: str,
        options: Mapping[str, Any],
        progress: Progress,
        calibration: Sequence[Arrays] = (),
    ) -> None:
        """Never reached: `probe` said missing."""
        raise NotImplementedError(self.name)

    def load(self, artefact: str, options: Mapping[str, Any]) -> Tuple[List[Tensor], List[Tensor]]:
        """Never reached: `probe` said missing."""
        raise NotImplementedError(self.name)

    def stage(self, inputs: Arrays) -> Any:
        """Never reached: `probe` said missing."""
        raise NotImplementedError(self.name)

    def infer(self, staged: Any) -> Arrays:
        """Never reached: `probe` said missing."""
        raise NotImplementedError(self.name)
