"""Has an endpoint used the GPU that is paid for? CloudWatch tells, a minute or two late.

``GPUUtilization`` is sampled, so that short calls may lie between two samples. ``GPUMemoryUtilization`` does not come
and go with calls: whoever computes on a GPU holds memory there from its start to its end. Both are of "the containers
on an instance". So a GPU is idle where both are 0. Without values nothing is known.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, List, Tuple

if TYPE_CHECKING:
    from pytest_accel.worker.accelerators.sagemaker.endpoint import Account, Behind

#: _NAMESPACE is where CloudWatch has what the instances behind endpoints tell of themselves.
_NAMESPACE = "/aws/sagemaker/Endpoints"
_METRICS = ("GPUUtilization", "GPUMemoryUtilization")
#: _PERIOD_S is the number of seconds that one value stands for.
_PERIOD_S = 60


def gpu_was_idle(account: Account, behind: Behind, called_s: Tuple[float, float]) -> bool:
    """Return whether CloudWatch says that the GPU was idle while calls were made. False where it does not say so.

    ``called_s`` are the times of the first and the last call, in seconds since the epoch.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    cloudwatch = account.patient("cloudwatch")
    try:
        values = [_values(cloudwatch, behind, metric, called_s) for metric in _METRICS]
    except (BotoCoreError, ClientError):  # whoever may not look knows nothing
        return False
    return all(values) and not any(value for of_metric in values for value in of_metric)


def _values(cloudwatch: Any, behind: Behind, metric: str, called_s: Tuple[float, float]) -> List[float]:
    """Return the largest value of each minute in which there was a call."""
    first_s, last_s = called_s
    answer = cloudwatch.get_metric_statistics(
        Namespace=_NAMESPACE,
        MetricName=metric,
        Dimensions=[
            {"Name": "EndpointName", "Value": behind.endpoint},
            {"Name": "VariantName", "Value": behind.variant},
        ],
        StartTime=_time(first_s // _PERIOD_S * _PERIOD_S),
        EndTime=_time(last_s + 1),
        Period=_PERIOD_S,
        Statistics=["Maximum"],
    )
    return [float(point["Maximum"]) for point in answer["Datapoints"]]


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
