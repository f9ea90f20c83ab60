"""Does the model keep its budgets for memory, size, compiling and loading?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_accel.facts.verdicts import Verdict, VerdictKind

if TYPE_CHECKING:
    from pytest_accel.facts.records import Artefact, Budgets, Measurement


def judge_resources(budgets: Budgets, *, measurement: Measurement | None, artefact: Artefact | None) -> list[Verdict]:
    """Return one verdict for each budget given.

    ``max_memory_mb`` is about the device's memory where the device has its own, else about the worker's peak.
    ``max_compile_s`` is about the compilation that made the artefact, be it this run's or that of an earlier one.
    """
    phases = measurement.phases if measurement is not None else None
    verdicts = []
    if budgets.max_memory_mb is not None:
        memory_mb, name = peak_memory_mb(measurement)
        verdicts.append(_judge(f"{name} (max_memory_mb)", memory_mb, budgets.max_memory_mb, "MB"))
    if budgets.max_artefact_mb is not None:
        size_mb = artefact.size_mb if artefact is not None else None
        verdicts.append(_judge("The artefact's size (max_artefact_mb)", size_mb, budgets.max_artefact_mb, "MB"))
    if budgets.max_compile_s is not None:
        compile_s = artefact.compile_s if artefact is not None else None
        earlier = " in an earlier run" if phases is not None and phases.compile_cached else ""
        verdicts.append(_judge(f"Compiling{earlier} (max_compile_s)", compile_s, budgets.max_compile_s, "s"))
    if budgets.max_load_s is not None:
        load_s = phases.load_s if phases is not None else None
        verdicts.append(_judge("Loading (max_load_s)", load_s, budgets.max_load_s, "s"))
    return verdicts


def peak_memory_mb(measurement: Measurement | None) -> tuple[float | None, str]:
    """Return the memory that ``max_memory_mb`` is about, None where it is not known, and what to call it."""
    if measurement is not None and measurement.device_memory_mb is not None:
        return measurement.device_memory_mb, "Peak device memory"
    return (measurement.host_memory_mb if measurement is not None else None), "Peak host memory"


def _judge(name: str, value: float | None, limit: float, unit: str) -> Verdict:
    if value is None:
        summary = f"{name} is not known, so the limit of {limit:g} {unit} is not judged."
        return Verdict(kind="inconclusive", question="resources", summary=summary)
    kind: VerdictKind = "pass" if value <= limit else "sla-breach"
    sign = "<=" if kind == "pass" else ">"
    return Verdict(kind=kind, question="resources", summary=f"{name}: {value:.4g} {unit} {sign} {limit:g} {unit}.")
