"""What each of several calls at the same time needs to itself: a stream, memory, an execution context.

Making it takes long, so it is used again. What a call returns may lie in the memory of its lane. So a thread keeps its
lanes until it ends, and only its own next call overwrites the outputs of the last one.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Callable, Deque, Generic, Iterator, List, TypeVar

_Lane = TypeVar("_Lane")


class Lanes(Generic[_Lane]):
    """The lanes of one loaded artefact, which ``make`` makes when all others are in use."""

    def __init__(self, make: Callable[[], _Lane]) -> None:
        self._make = make
        self._all: List[_Lane] = []
        self._idle: Deque[_Lane] = deque()
        self._thread = threading.local()
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[_Lane]:
        """Iterate over all lanes, also those in use."""
        return iter(list(self._all))

    def take(self) -> _Lane:
        """Return a lane in which nothing is under way, for a call of this thread."""
        own = self._own()
        return own.pop() if own else self._another()

    def give_back(self, lane: _Lane) -> None:
        """Let the next call of this thread have the lane, as soon as the outputs in it have been read."""
        self._own().append(lane)

    def _own(self) -> List[_Lane]:
        """Return the idle lanes of this thread."""
        try:
            held: _Held[_Lane] = self._thread.held
        except AttributeError:
            held = self._thread.held = _Held(self._idle)
        return held.lanes

    def _another(self) -> _Lane:
        with self._lock:  # one at a time: an SDK may not make two at once
            if self._idle:
                return self._idle.popleft()
            self._all.append(self._make())
            return self._all[-1]


class _Held(Generic[_Lane]):
    """The idle lanes of a thread, which other threads get when it has ended."""

    def __init__(self, idle: Deque[_Lane]) -> None:
        self.lanes: List[_Lane] = []
        self._idle = idle

    def __del__(self) -> None:
        self._idle.extend(self.lanes)
