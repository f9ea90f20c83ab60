"""What the result of a check depends on, as one digest: only the same check is taken over from an interrupted run."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import msgspec

from pytest_accel.check.metric_code import metric_digest
from pytest_accel.facts.settings import binding_settings

if TYPE_CHECKING:
    from pytest_accel.facts.records import Budgets
    from pytest_accel.inputs.variants import Plan
    from pytest_accel.session.candidate import Candidate
    from pytest_accel.store.baseline import Baseline


#: BINDING names the settings that a check depends on.
BINDING = binding_settings()


def check_key(
    candidate: Candidate,
    plan: Plan,
    budgets: Budgets,
    *,
    test: str,
    metric: object,
    baseline: Baseline | None,
    anchor: Baseline | None,
) -> str:
    """Return a digest of all that a check's result depends on, except its data, which `Finished.take` compares.

    The text of the test's own file is part of it, and that of the metric. What it is compared with is too, but for
    baselines that this run writes itself.
    """
    session = candidate.session
    file = session.settings.rootdir / test.partition("::")[0]
    stored = [anchor] if session.settings.saves_compared else [baseline, anchor]
    beside = [_digest(each) for each in stored if each is not None]
    made_of = [
        test,
        hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "",
        candidate.artefact.key,
        candidate.model.name,
        candidate.variant.options,
        candidate.hardware.fingerprint,
        candidate.versions,
        msgspec.to_builtins(budgets),
        plan.input_shapes,
        metric_digest(metric),
        {name: getattr(session.settings, name) for name in BINDING},
        [*beside, session.comparisons] if beside else [],
    ]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _digest(baseline: Baseline) -> str:
    return hashlib.sha256(msgspec.json.encode(baseline, order="deterministic")).hexdigest()
