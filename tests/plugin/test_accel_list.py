"""``--accel-list``: what is present here and, for what is not, why."""

from __future__ import annotations

from tests.plugin.conftest import Project


def test_it_tells_what_is_here_and_why_the_rest_is_not_and_runs_nothing(project: Project) -> None:
    project.pytester.makepyfile("def test_never(): assert False")
    result = project.run("--accel-list")
    assert result.ret == 0
    result.assert_outcomes()
    result.stdout.fnmatch_lines(
        [
            "eia * absent   support-ended: Amazon Elastic Inference is no longer available",
            "fake * present  fake device",
            "gpu-trt * absent   no-hardware: no NVIDIA GPU*",
            " * run on a machine with an NVIDIA GPU*",
            "gpu-trt-rtx * absent   no-hardware: no NVIDIA GPU*",
            " * --accel-compile-only needs no GPU, where target= names one",
            "inf1 * absent   no-hardware: no inf1 device*",
            "sagemaker * absent   not-opted-in: *",
        ]
    )
