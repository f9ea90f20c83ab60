"""The connections to the other machines of one session, each opened when it is needed first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_accel.facts.errors import HostUnfit
from pytest_accel.processes.host_files import HostFiles

if TYPE_CHECKING:
    from pytest_accel.facts.progress import StepProgress
    from pytest_accel.facts.settings import Host
    from pytest_accel.processes.host import HostConnection
    from pytest_accel.worker.wire import Plain


class Hosts:
    """The hosts of one session. ``tell`` shows what long work is at.

    What a run has sent to a host is kept there, under ``cache_limit_mb`` megabytes.
    """

    def __init__(self, tell: StepProgress, cache_limit_mb: float) -> None:
        self._tell = tell
        self._cache_limit_mb = cache_limit_mb
        self._connections: dict[Host, HostConnection] = {}
        self._files: dict[HostConnection, HostFiles] = {}
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
            self._tell(f"connecting to {host.ssh}")
            try:
                self._connections[host] = connect(host, cache_limit_mb=self._cache_limit_mb, waiting=self._tell.tick)
            except HostUnfit as error:
                self._unfit[host] = error
                raise
        return self._connections[host]

    def files(self, host: Host) -> HostFiles:
        """Return what brings files to a host and back. Raises `HostUnfit`."""
        connection = self.connection(host)
        if connection not in self._files:
            self._files[connection] = HostFiles(connection.ask, self._tell_share, host=host.ssh)
        return self._files[connection]

    def _tell_share(self, share: float | None, doing: str) -> None:
        self._tell(doing, share=share)

    def was_lost(self, host: Host) -> bool:
        """Return whether there was a connection to a host that is no more."""
        return host in self._connections and not self._connections[host].alive

    def ask(self, host: Host, op: str, **params: Any) -> Plain:
        """Have an operation of a host done."""
        return self.connection(host).ask(op, **params)

    def tell(self, host: Host, op: str, **params: Any) -> None:
        """Have an operation done that has no answer, where a host is connected. A lost one is not looked for again."""
        if host in self._connections:
            self._connections[host].tell(op, **params)

    def close(self) -> None:
        """End all connections, with what runs on their hosts."""
        for host in list(self._connections):
            self._close(host)

    def _close(self, host: Host) -> None:
        if (connection := self._connections.pop(host, None)) is not None:
            connection.close()
