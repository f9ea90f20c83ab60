"""A made-up machine with Elastic Inference accelerators: AWS's tool that lists those that are attached."""

from __future__ import annotations

import json
from pathlib import Path


def make(root: Path, *types: str, script: str = "") -> Path:
    """Write the tool below ``root``; it lists accelerators of these types, or runs ``script`` instead."""
    attached = [
        {
            "acceleratorHealth": {"status": "Ok"},
            "acceleratorType": kind,
            "acceleratorId": f"eia-{ordinal:032x}",
            "availabilityZone": "us-west-2b",
            "attachedResource": "arn:aws:ec2:us-west-2:111122223333:instance/i-0123456789abcdef0",
        }
        for ordinal, kind in enumerate(types)
    ]
    tool = root / "opt/amazon/ei/ei_tools/bin/ei"
    tool.parent.mkdir(parents=True)
    listing = json.dumps({"acceleratorSet": attached})
    tool.write_text(f"#!/bin/sh\n{script or f'echo {listing!r}'}\n", encoding="utf-8")
    tool.chmod(0o755)
    return root
