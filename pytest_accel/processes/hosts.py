"""The connections to the other machines of one session, each opened when it is needed first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_accel.facts.errors import HostUnfit

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_accel.facts.settings import Host
    from pytest_accel.processes.host import HostConnection
    from pytest_accel.worker.wire import Plain


class Hosts:
    """The hosts of one session. ``waiting`` is called now and then while one is waited for."""

    def __init__(self, waiting: Callable[[], None]) -> None:
        self._waiting = waiting
        self._connections: dict[Host, HostConnection] = {}
        self._unfit: dict[Host, HostUnfit] = {}

    def connection(self, host: Host) -> HostConnection:
        """Return the connection to a host, another one where it was lost.

        Raises `HostUnfit` where that cannot be. A host is tried once; each later call raises what that one did.
        """
        if (unfit := self._unfit.get(host)) is not None:
            raise unfit.with_traceback(None)
        if host not in self._connections or self.was_lost(host):
            from pytest_accel.processes.host import connect  # which imports execnet, for hosts alone

            self._close(host)
            try:
                self._connections[host] = connect(host, waiting=self._waiting)
            except HostUnfit as error:
                self._unfit[host] = error
                raise
        return self._connections[host]

    def was_lost(self, host: Host) -> bool:
        """Return whether there was a connection to a host that is no more."""
        return host in self._connections and not self._connections[host].alive

    def ask(self, host: Host, op: str, **params: Any) -> Plain:
        """Have an operation of a host done."""
        return self.connection(host).ask(op, **params)

    def close(self) -> None:
        """End all connections, with what runs on their hosts."""
        for host in list(self._connections):
            self._close(host)

    def _close(self, host: Host) -> None:
        if (connection := self._connections.pop(host, None)) is not None:
            connection.close()
