"""The operations of a machine by name. Called here, or by an attendant for a controller on another machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict

if TYPE_CHECKING:
    from pytest_accel.worker.wire import Plain


class Operations:
    """The public methods of ``parts``, by name. Each takes plain data by keyword and returns a dictionary of it."""

    def __init__(self, *parts: object) -> None:
        self._methods: Dict[str, Callable[..., Plain]] = {
            name: getattr(part, name) for part in parts for name in dir(part) if not name.startswith("_")
        }

    def ask(self, op: str, **params: Any) -> Plain:
        """Have one operation done."""
        return self._methods[op](**params)
