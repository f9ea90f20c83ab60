"""The cables between the boxes of the bed and the controller: a process that passes on what two name spaces send.

It runs as a script in a network name space of its own, which has no way out but these cables. Each cable is a pair of
TUN devices, one here and one in a box. So a packet can be late, lost, or held up for good, without ``tc netem``, which
many kernels do not have. Commands are lines of JSON on the standard input, and each is answered by a line.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: _TUNSETIFF names a TUN device, and _IFF_TUN and _IFF_NO_PI say that it carries packets of IP and nothing else.
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
_PACKET_BYTES = 1 << 16
_MTU_BYTES = 9000


@dataclass
class Quality:
    """How good a cable is. ``loss`` is a share of the packets; ``cut`` loses all of them, and nobody is told."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    cut: bool = False


@dataclass
class Cable:
    """One cable: its two ends, its quality, and the bytes that it has passed on in each direction."""

    near: int
    far: int | None
    quality: Quality = field(default_factory=Quality)
    random: random.Random = field(default_factory=lambda: random.Random(1))
    there_bytes: int = 0
    back_bytes: int = 0
    #: When the latest packet for each end arrives: a cable keeps the order.
    due_s: dict[int, float] = field(default_factory=dict)

    def arrival_s(self, end: int) -> float | None:
        """Return when a packet that is sent by now arrives at this end, or None where it is lost."""
        quality = self.quality
        if quality.cut or self.random.random() < quality.loss:
            return None
        late_ms = quality.delay_ms + self.random.uniform(0.0, quality.jitter_ms)
        self.due_s[end] = max(self.due_s.get(end, 0.0), time.monotonic() + late_ms / 1e3)
        return self.due_s[end]


class Cables:
    """All cables, by the name of their box."""

    def __init__(self) -> None:
        self._cables: dict[str, Cable] = {}
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self._sent = 0

    def serve(self) -> None:
        """Pass on packets and do as the commands say, until there are no more of these."""
        commands = sys.stdin.fileno()
        while True:
            ends = {end: cable for cable in self._cables.values() for end in (cable.near, cable.far) if end is not None}
            ready, _, _ = select.select([commands, *ends], [], [], self._patience_s())
            for end in ready:
                if end != commands:
                    self._take(ends[end], end)
                elif line := sys.stdin.buffer.readline():
                    print(json.dumps(self.perform(**json.loads(line))), flush=True)
                else:
                    return
            self._deliver()

    def perform(
        self,
        box: str,
        plug: dict[str, Any] | None = None,
        unplug: bool = False,
        quality: dict[str, Any] | None = None,
    ) -> dict[str, int]:
        """Do one command: ``plug`` a cable into a box, ``unplug`` it, or change its ``quality``.

        Returns the bytes that it has passed on, by their way.
        """
        if plug is not None:
            self._plug(box, **plug)
        cable = self._cables[box]
        if unplug:
            self._unplug(box)
        if quality is not None:
            cable.quality = Quality(**quality)
        return {"there": cable.there_bytes, "back": cable.back_bytes}

    def _plug(self, box: str, pid: int, here: str, there: str) -> None:
        """Connect a box, whose first process is ``pid``. A cable that is there already gets another far end."""
        if box not in self._cables:
            self._cables[box] = Cable(end_in(Path("/proc/self/ns/net"), box, here, there), None)
        self._cables[box].far = end_in(Path(f"/proc/{pid}/ns/net"), box, there, here)
        _set_link(box, "up")

    def _unplug(self, box: str) -> None:
        """Take the far end away, which keeps the network of a box that is off alive, and with it who answers there."""
        cable = self._cables[box]
        if cable.far is not None:
            os.close(cable.far)
            cable.far = None
            _set_link(box, "down")

    def _patience_s(self) -> float | None:
        return max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else None

    def _take(self, cable: Cable, end: int) -> None:
        try:
            packet = os.read(end, _PACKET_BYTES)
        except OSError:  # a box that has just ended, or one that is off
            time.sleep(0.001)
            return
        if end == cable.near:
            cable.there_bytes += len(packet)
        else:
            cable.back_bytes += len(packet)
        other = cable.far if end == cable.near else cable.near
        if other is not None and (arrival_s := cable.arrival_s(other)) is not None:
            self._sent += 1
            heapq.heappush(self._under_way, (arrival_s, self._sent, other, packet))

    def _deliver(self) -> None:
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            _, _, end, packet = heapq.heappop(self._under_way)
            with suppress(OSError):
                os.write(end, packet)


def end_in(namespace: Path, box: str, address: str, peer: str) -> int:
    """Return one end of a cable: a TUN device in this name space, with an address that reaches only the other end."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(namespace, os.O_RDONLY)
    try:
        _enter(there)
        end = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", box.encode(), _IFF_TUN | _IFF_NO_PI))
        subprocess.run(["ip", "address", "add", address, "peer", peer, "dev", box], check=True)
        subprocess.run(["ip", "link", "set", box, "mtu", str(_MTU_BYTES)], check=True)
        _set_link(box, "up")
    finally:
        _enter(home)
        os.close(home)
        os.close(there)
    return end


def _set_link(box: str, state: str) -> None:
    subprocess.run(["ip", "link", "set", box, state], check=True)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


if __name__ == "__main__":
    Cables().serve()
