"""What one pytest session holds on to: settings, workers, caches, and which accelerators are here.

Nothing is started before it is asked for; `close` leaves no process and no lock behind.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_accel.facts.errors import HostLost, HostUnfit, UsageError, WorkerError
from pytest_accel.facts.settings import default_lock_dir
from pytest_accel.machine.hardware import controller_versions, describe_hardware, device_name
from pytest_accel.machine.here import HERE
from pytest_accel.processes.client import Deadlines, WorkerClient
from pytest_accel.processes.hosts import Hosts
from pytest_accel.processes.process import WorkerPool, no_temporary_files
from pytest_accel.processes.shipping import code_digest
from pytest_accel.session.baseline_owners import BaselineOwners
from pytest_accel.session.broken_limits import BrokenLimits
from pytest_accel.session.provenance import provenance_of
from pytest_accel.store import named_baselines
from pytest_accel.store.baselines import Baselines, CompiledBaselines
from pytest_accel.store.cache import Cache, root_of
from pytest_accel.store.journal import Finished, folder_of
from pytest_accel.store.locks import FileClaim, HostClaim, Patience, lock_at, take
from pytest_accel.store.scratch import Scratch
from pytest_accel.worker.accelerator import Missing, Present, Target
from pytest_accel.worker.host.device_locks import prepare_folder

if TYPE_CHECKING:
    from pytest_accel.facts.progress import StepProgress
    from pytest_accel.facts.records import Hardware, Provenance, Variant
    from pytest_accel.facts.settings import Host, Settings
    from pytest_accel.inputs.registry import Registry
    from pytest_accel.machine.here import Ask
    from pytest_accel.processes.host import HostConnection
    from pytest_accel.processes.process import AnyWorker
    from pytest_accel.store.locks import Claim


class Session:
    """One pytest session's resources. ``tell`` shows what long work is at."""

    def __init__(self, settings: Settings, registry: Registry, *, tell: StepProgress) -> None:
        self.settings = settings
        self.registry = registry
        self.tell = tell
        #: How many tests of this run may be compared with a baseline; false alarms are controlled over all of them.
        self.comparisons = 1
        #: The latency limits that tests of this run have broken.
        self.broken_limits = BrokenLimits()
        #: The tests of this run by the baselines that they use.
        self.baseline_owners = BaselineOwners()
        #: What the user should know of this process's run, and no test has told: a sentence each.
        self.warnings: list[str] = []
        #: How many workers that were started for one use have ended, by accelerator.
        self.ended_workers: Counter[str] = Counter()
        self._found: dict[str, Present | Missing] = {}
        self._unsaid: dict[str, WorkerError] = {}
        self._targets: dict[tuple[str, str], Target | Missing] = {}
        self._versions: dict[str, dict[str, str]] = {}
        self._code_digests: dict[str, str] = {}
        self._hardware: dict[str, Hardware] = {}
        self._versions_around: dict[str, dict[str, str]] = {}
        self._device_locks: dict[str, Claim] = {}
        self._hosts = Hosts(tell, settings.cache_limit_mb)
        self._elsewhere: dict[Path | Host, Session] = {}
        self._other_caches: dict[Path, Cache] = {}

    @cached_property
    def cache(self) -> Cache:
        """The compile cache."""
        return self._cache(root_of(self.settings))

    def cache_at(self, root: Path) -> Cache:
        """Another compile cache, whose entries are protected from eviction until the session ends."""
        if root not in self._other_caches:
            self._other_caches[root] = self._cache(root)
        return self._other_caches[root]

    def _cache(self, root: Path) -> Cache:
        return Cache(root, limit_mb=self.settings.cache_limit_mb, warn=self.warn, patience=self._patience)

    def warn(self, sentence: str) -> None:
        """Have something told at the end of the run, once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    @cached_property
    def baselines(self) -> Baselines:
        """The baselines that this run is compared with."""
        return Baselines(self._named(self.settings.compare))

    @cached_property
    def saved_baselines(self) -> Baselines:
        """The baselines that this run writes."""
        return Baselines(self._named(self.settings.saved_name))

    @cached_property
    def anchor(self) -> str:
        """The name of the baselines that creep is judged by, which is empty where there are none."""
        return named_baselines.anchor(self.settings.baseline_dir)

    @cached_property
    def anchored_baselines(self) -> Baselines:
        """The baselines that creep is judged by, if there is an anchor."""
        return Baselines(self._named(self.anchor))

    @cached_property
    def compiled_baselines(self) -> CompiledBaselines:
        """The baselines of what was compiled and not run that this run is compared with."""
        return CompiledBaselines(self._named(self.settings.compare))

    @cached_property
    def saved_compiled_baselines(self) -> CompiledBaselines:
        """The baselines of what was compiled and not run that this run writes."""
        return CompiledBaselines(self._named(self.settings.saved_name))

    def _named(self, name: str) -> Path:
        return named_baselines.folder_of(self.settings.baseline_dir, name)

    @cached_property
    def provenance(self) -> Provenance:
        """Where the results of this run are from."""
        return provenance_of(self.settings.rootdir, self.settings.baseline_dir)

    @cached_property
    def finished(self) -> Finished:
        """What this run takes over from interrupted ones."""
        folder = folder_of(self.cache.root, self.settings.rootdir) if self.settings.resume else None
        return Finished(folder, warn=self.warn)

    @cached_property
    def _logs(self) -> Scratch:
        try:
            return Scratch()
        except OSError as error:
            raise no_temporary_files(error) from None

    @cached_property
    def _pool(self) -> WorkerPool:
        return WorkerPool(
            self.settings.interpreters,
            in_process=self.settings.in_process,
            log_dir=self._logs.path,
            waiting=self.tell.tick,
            announce=self.tell.announce,
            host_of=self._connection,
        )

    def host_of(self, accelerator: str) -> Host | None:
        """Return the machine that an accelerator is on; None where that is this one."""
        return self.settings.hosts.get(accelerator)

    def _connection(self, accelerator: str) -> HostConnection | None:
        host = self.host_of(accelerator)
        if host is not None and self.settings.in_process:
            raise UsageError(
                f"--accel-in-process runs models in this process, and {accelerator} is on {host.ssh}: "
                "leave that option out, or deselect the accelerator with --accelerator"
            )
        return None if host is None else self._hosts.connection(host)

    def machine(self, accelerator: str) -> Ask:
        """Return what asks the machine that an accelerator is on for facts about itself."""
        host = self.host_of(accelerator)
        return HERE if host is None else partial(self._hosts.ask, host)

    def shared_client(self, accelerator: str) -> WorkerClient:
        """Return the worker that probes, compiles and computes references; it is used again from test to test."""
        return self._client(self._pool.shared(accelerator, self.registry.reference(accelerator)))

    @contextmanager
    def fresh_client(self, accelerator: str) -> Iterator[WorkerClient]:
        """Give a new worker for measuring, ended at the end of the block."""
        with self._ended(self._pool.fresh(accelerator, self.registry.reference(accelerator))) as client:
            yield client

    @contextmanager
    def forked_client(self, accelerator: str) -> Iterator[WorkerClient]:
        """Give a new worker that has imported its SDK already, ended at the end of the block.

        It is for comparing: what a process pays before its first call is not measured in it.
        """
        preload = self.registry.find(accelerator).preload
        with self._ended(self._pool.forked(accelerator, self.registry.reference(accelerator), preload)) as client:
            yield client

    @contextmanager
    def _ended(self, worker: AnyWorker) -> Iterator[WorkerClient]:
        try:
            yield self._client(worker)
        finally:
            worker.kill()
            self.ended_workers[worker.name] += 1

    def _client(self, worker: AnyWorker) -> WorkerClient:
        deadlines = Deadlines(
            compile_s=self.settings.compile_timeout_s,
            run_s=self.settings.run_timeout_s,
            deploy_s=self.settings.deploy_timeout_s,
        )
        deploys, host = self.registry.find(worker.name).deploys, self.host_of(worker.name)
        return WorkerClient(worker, deadlines, deploys=deploys, files=host and self._hosts.files(host))

    def elsewhere(self, python: Path | Host) -> Session:
        """Return a session like this one whose accelerators all run in another interpreter. It ends with this one.

        That of a ``Host`` takes the place of the interpreters on that machine alone.
        """
        if python not in self._elsewhere:
            interpreters, hosts = self.settings.interpreters, self.settings.hosts
            if isinstance(python, Path):
                interpreters = dict.fromkeys(self.registry.names, str(python))
            else:
                hosts = {name: python if host.ssh == python.ssh else host for name, host in hosts.items()}
            settings = dataclasses.replace(self.settings, interpreters=interpreters, hosts=hosts)
            self._elsewhere[python] = Session(settings, self.registry, tell=self.tell)
            self._elsewhere[python].warnings = self.warnings
            self._elsewhere[python]._device_locks = self._device_locks
        return self._elsewhere[python]

    @contextmanager
    def exclusive(self, accelerator: str) -> Iterator[float]:
        """Have the device to ourselves: no other pytest-accel process uses it meanwhile, whatever its cache is.

        Gives the seconds that it was waited for. Raises `LockTimeout` where that would be longer than allowed.
        """
        try:
            lock = self._device_lock(accelerator)
            waited_s = take(lock, accelerator, self._patience)
        except OSError as error:
            raise UsageError(
                f"accel_lock_dir: {self.settings.lock_dir} cannot hold the lock of a device: "
                f"{error.strerror or error}; choose another folder with that ini key"
            ) from None
        try:
            yield waited_s
        finally:
            lock.release()

    def _device_lock(self, accelerator: str) -> Claim:
        if accelerator not in self._device_locks:
            name, folder = f"device-{self._lock_name(accelerator)}.lock", self.settings.lock_dir
            is_own = folder == default_lock_dir()
            if (host := self.host_of(accelerator)) is not None:
                ask, there = self.machine(accelerator), "" if is_own else str(folder)
                claim: Claim = HostClaim(ask, partial(self._hosts.tell, host), name, there, host.ssh)
            else:
                prepare_folder(folder, private=is_own)
                claim = FileClaim(lock_at(folder / name))
            self._device_locks[accelerator] = claim
        return self._device_locks[accelerator]

    def _lock_name(self, accelerator: str) -> str:
        """Return the name of the device. An exclusive one is locked before anybody may look at it."""
        return accelerator if self.registry.find(accelerator).exclusive else device_name(self.hardware(accelerator))

    @property
    def _patience(self) -> Patience:
        return Patience(self.settings.lock_timeout_s, self.tell)

    def find(self, accelerator: str) -> Present | Missing:
        """Return whether an accelerator is here; device files are looked at first, then its SDK in a worker.

        An SDK that crashes or hangs when it is asked is asked once; each later call raises what that one did. A host
        that was lost is looked for once more.
        """
        if (failed := self._unsaid.get(accelerator)) is not None:
            raise failed.with_traceback(None)
        host = self.host_of(accelerator)
        if host is not None and self._hosts.was_lost(host):
            self._found.pop(accelerator, None)
        if accelerator not in self._found:
            self.tell(f"looking for {accelerator}" if host is None else f"looking for {accelerator} on {host.ssh}")
            try:
                self._found[accelerator] = self._looked_for(accelerator)
            except HostLost:
                raise
            except WorkerError as error:
                self._unsaid[accelerator] = error
                raise
        return self._found[accelerator]

    def _looked_for(self, accelerator: str) -> Present | Missing:
        try:
            found = self._absent_hardware(accelerator) or self.shared_client(accelerator).probe()
        except HostUnfit as unfit:
            return Missing(unfit.kind, unfit.reason, unfit.action)
        host = self.host_of(accelerator)
        return found if host is None or isinstance(found, Present) else _missing_on(host, found)

    def _absent_hardware(self, accelerator: str) -> Missing | None:
        """Return why the hardware is not here, as far as its files tell. On a host the worker looks at them itself."""
        return self.registry.find(accelerator).probe_hardware() if self.host_of(accelerator) is None else None

    def absence(self, accelerator: str) -> str | None:
        """Return why an accelerator is not here and what to do about it, or None when it is.

        A device that another test of ours has taken would look busy, so an exclusive one is waited for.
        """
        kind = self.registry.find(accelerator)
        must_wait = kind.exclusive and accelerator not in self._found and self._absent_hardware(accelerator) is None
        try:
            with self.exclusive(accelerator) if must_wait else nullcontext():
                return _reason(self.find(accelerator))
        except HostUnfit:  # which is what the lock was asked for at; looking says so again
            return _reason(self.find(accelerator))

    def lack(self, variant: Variant) -> str | None:
        """Return what the device lacks for a variant and what to do about it; None where it has all that is needed."""
        found = self.find(variant.accelerator)
        if isinstance(found, Missing):
            return _reason(found)
        return _reason(self.registry.find(variant.accelerator).lacking(found, variant.options))

    def target(self, variant: Variant) -> Target | Missing:
        """Return what the compiler of a variant works for; it is asked once for each choice of options."""
        asked = variant.accelerator, repr(sorted(variant.options.items()))
        if asked not in self._targets:
            self._targets[asked] = self.shared_client(variant.accelerator).target(variant.options)
        return self._targets[asked]

    def survey(self) -> Mapping[str, Present | Missing]:
        """Return every known accelerator, present or not. One whose SDK crashes is absent and hides no others."""
        return {name: self._surveyed(name) for name in self.registry.names}

    def _surveyed(self, accelerator: str) -> Present | Missing:
        try:
            return self.find(accelerator)
        except HostLost as error:
            return Missing("unreached", str(error), f"pytest --accelerator={accelerator} tries again")
        except WorkerError as error:
            return Missing("broken-sdk", str(error), f"pytest --accelerator={accelerator} shows more of it")

    def versions(self, accelerator: str) -> dict[str, str]:
        """Versions of what is under test: SDK, compiler, driver."""
        if accelerator not in self._versions:
            self._versions[accelerator] = self.shared_client(accelerator).versions()
        return self._versions[accelerator]

    def versions_around(self, accelerator: str) -> dict[str, str]:
        """Return what is added to the versions of what is under test: our own, and the kernel that it runs on."""
        if accelerator not in self._versions_around:
            self._versions_around[accelerator] = controller_versions(self.machine(accelerator))
        return self._versions_around[accelerator]

    def code_digest(self, accelerator: str) -> str:
        """Return a digest of the code that compiles and runs models for an accelerator."""
        if accelerator not in self._code_digests:
            self._code_digests[accelerator] = code_digest(self.registry.reference(accelerator))
        return self._code_digests[accelerator]

    def hardware(self, accelerator: str) -> Hardware:
        """Return the identity of the device that an accelerator uses here.

        It must be present, unless this run only compiles: then an absent one gives way to the machine itself.
        """
        if accelerator not in self._hardware:
            found = self.find(accelerator)
            if isinstance(found, Missing) and not self.settings.compile_only:
                raise LookupError(f"{accelerator} is not here")
            device, identity = ("", {}) if isinstance(found, Missing) else (found.device, found.identity)
            here = self.host_of(accelerator) is None
            self._hardware[accelerator] = describe_hardware(
                device,
                identity,
                self.machine(accelerator),
                instance_type=self.settings.instance_type if here else None,
            )
        return self._hardware[accelerator]

    def delete_deployments(self) -> None:
        """Wait until all is deleted that this run has deployed; what is left is told at the end of the run."""
        if "_pool" in self.__dict__:
            self._pool.end_fresh()
        for accelerator, found in self._found.items():
            if isinstance(found, Present) and self.registry.find(accelerator).deploys:
                self._delete_deployments(accelerator)
        for other in self._elsewhere.values():
            other.delete_deployments()

    def _delete_deployments(self, accelerator: str) -> None:
        step = f"waiting until what {accelerator} has deployed is deleted"
        self.tell(step)
        try:
            for sentence in self.shared_client(accelerator).delete_deployments(
                lambda share, detail: self.tell(step, detail, share=share)
            ):
                self.warn(sentence)
        except WorkerError as error:
            self.warn(str(error))
        except KeyboardInterrupt:  # the second one: the first has ended the tests
            self.warn(
                f"{accelerator}: interrupted before all was deleted that it has deployed; the next run deletes it"
            )
        self.tell.clear()

    def close(self) -> None:
        """End every worker and remove their logs. May be called twice, and in any state."""
        for other in self._elsewhere.values():
            other.close()
        for cache in self._other_caches.values():
            cache.close()
        if "_pool" in self.__dict__:
            self._pool.close()
        self._hosts.close()
        if "_logs" in self.__dict__:
            self._logs.close()
        if "cache" in self.__dict__:
            self.cache.close()


def _missing_on(host: Host, missing: Missing) -> Missing:
    """Name the host in what is missing there, and the interpreter where another one may have it."""
    if missing.kind not in ("no-sdk", "placeholder-package"):
        return dataclasses.replace(missing, reason=f"on {host.ssh}: {missing.reason}")
    return dataclasses.replace(
        missing,
        reason=f"{host.python} on {host.ssh}: {missing.reason}",
        action=f"{missing.action}; or name the Python there that has it, with //python=PATH in accel_host",
    )


def _reason(found: Present | Missing | None) -> str | None:
    return f"{found.reason}; {found.action}" if isinstance(found, Missing) else None
