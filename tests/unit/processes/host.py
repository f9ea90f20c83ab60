"""A host whose files are asked for in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import execnet

from pytest_accel.facts.errors import WorkerError
from pytest_accel.worker.host.files import Files, Unkept

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Host:
    """A host's files, asked as over a wire: in plain data, with errors that name it. A new one is the next run."""

    def __init__(self, root: Path) -> None:
        self.files = Files(str(root), 1_000.0)
        self.asked: list[str] = []
        self.sent_bytes = 0
        #: What is called before an operation, by its name, to have it go wrong.
        self.before: dict[str, Callable[[], None]] = {}
        #: What an operation's answer is turned into.
        self.after: dict[str, Callable[[Any], Any]] = {}

    def ask(self, op: str, *, deadline_s: float = 60.0, **params: Any) -> Any:
        request = execnet.dumps(params)
        self.asked.append(op)
        self.sent_bytes += len(request)
        self.before.get(op, lambda: None)()
        try:
            answer = getattr(self.files, op)(**execnet.loads(request))
        except Unkept as error:
            raise WorkerError(f"gpu on me@box: {error}", phase="files") from None
        return self.after.get(op, lambda same: same)(execnet.loads(execnet.dumps(answer)))
