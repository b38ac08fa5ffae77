"""A process shuts itself in: one folder to write, few files to read, no network, bounds on all that it takes.

For code that reads what a stranger made. The process calls `confine` right after its start, before any library has
made a thread; what it then loads may hold what it likes.
"""

import os
import resource
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from edgeguard.system.landlock import restrict_files
from edgeguard.system.namespaces import drop_capabilities, freeze_files, leave_network
from edgeguard.system.seccomp import filter_calls

READ_ONLY = "a read-only mount namespace"
_GIB = 1 << 30
_OPEN_FILES = 1024
_MAKE_THREADS = {"numpy", "cv2", "torch", "tensorflow", "ai_edge_litert", "tflite_runtime", "onnx"}
_NOT_TOUCHED = 2 * _GIB  # address space that libraries set aside (a stack for each thread) and never use
#: What an interpreter and its libraries read of a system: libraries, time zones, facts about processors and memory.
_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/lib32", "/opt", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/alternatives"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems", "/proc/sys/vm"),
    *("/sys/devices/system", "/sys/kernel/mm", "/dev/urandom", "/dev/random", "/dev/zero"),
)


#: Programs that a confined process starts look at themselves below here, and a rule names one process or all. With it
#: the command lines of other processes can be read; their memory and their environment still cannot.
_PROCESSES = Path("/proc")


@dataclass(frozen=True)
class Limits:
    """What a confined process may take.

    Attributes:
        memory_bytes: of memory in use; whoever watches the process ends it above that.
        folder_bytes: in its folder, and in any one file.
        cpu_s: seconds of processor time, over all threads; None where it lives as long as it is needed.
        wall_s: seconds for one answer.
        processes: it may start others, which may read the command lines of all processes.
    """

    memory_bytes: int = 8 * _GIB
    folder_bytes: int = 4 * _GIB
    cpu_s: int | None = 4 * 3600
    wall_s: float = 900.0
    processes: bool = False


@dataclass(frozen=True)
class Confinement:
    """What was applied; an empty text where this system does not give it.

    Attributes:
        files: what keeps it from files, `Landlock 7` or `a read-only mount namespace`.
        network: what keeps it from the network.
        calls: what keeps it from other processes and from the permissions of files.
    """

    files: str
    network: str
    calls: str

    @property
    def missing(self) -> tuple[str, ...]:
        """What this system does not give, in words; empty when nothing is missing."""
        named = (
            (self.files, "nothing keeps it from your files (no Landlock, no mount namespaces)"),
            (self.network, "nothing keeps it from the network (no network namespaces, no call filter)"),
            (self.calls, "nothing keeps it from other processes of yours (no call filter)"),
        )
        said = [text for applied, text in named if not applied]
        if self.files == READ_ONLY:
            said.append("it can read your files, though not change them (no Landlock)")
        return tuple(said)

    def __str__(self) -> str:
        named = (("files", self.files), ("network", self.network), ("system calls", self.calls))
        return ", ".join(f"{what} by {how}" if how else f"{what}: NOT confined" for what, how in named)


@dataclass(frozen=True)
class Reach:
    """What a confined process may read beside the system's libraries.

    Attributes:
        readable: files and folders with all below them.
    """

    readable: tuple[Path, ...] = field(default=())


def confine(folder: Path | None, limits: Limits, reach: Reach | None = None) -> Confinement:
    """Shut this process in. It cannot be taken back and holds for all that the process starts.

    Args:
        folder: the one place where it may write; whoever started the process removes it. None: it writes nowhere.
        limits: see there. Memory and answers are bounded by whoever watches; the kernel's bounds here are the second.
        reach: what else it may read. The interpreter, the packages and the system's libraries always are.

    Returns:
        What was applied: a kernel without Landlock, or a container without namespaces, gives less. An emulator has a
        thread of its own in each process, which would stay outside: nothing but the limits is applied there.

    Raises:
        RuntimeError: the process itself has made threads already: they would stay outside.

    Example:
        >>> confine(Path("/tmp/private"), Limits())  # doctest: +SKIP
        Confinement(files='Landlock 7', network='a network namespace', calls='seccomp')
    """
    alone = len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208 - names are enough
    if not alone and _has_made_threads():
        raise RuntimeError("a process that has threads cannot be confined any more")
    _say_kill_me_first()
    _set_limits(limits)
    if not alone:
        return Confinement("", "", "")
    network = "a network namespace" if leave_network() else ""
    readable = [*map(Path, _SYSTEM), *installed(), *(() if reach is None else reach.readable)]
    readable += [_PROCESSES] if limits.processes else []
    version = restrict_files(readable=readable, writable=[Path(os.devnull)], private=folder, execute=limits.processes)
    files = f"Landlock {version}" if version else ""
    if not files and freeze_files(folder):
        files = READ_ONLY
    drop_capabilities()
    calls = "seccomp" if filter_calls(processes=limits.processes) else ""
    return Confinement(files, network or ("seccomp" if calls else ""), calls)


def _has_made_threads() -> bool:
    """Whether this process's threads may be its own: Python's, or those of a library that has been loaded."""
    return threading.active_count() > 1 or not _MAKE_THREADS.isdisjoint(sys.modules)


def installed() -> Iterable[Path]:
    """Where this interpreter and its packages lie: no other folder of the search path, and not the current one."""
    roots = {Path(name) for name in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)} - {Path("/")}
    yield from roots
    for name in sys.path:
        path = Path(name)
        if path.is_absolute() and path.name in ("site-packages", "dist-packages"):
            yield path
    for package in ("edgeguard", "edgeguard_converters"):
        found = sys.modules.get(package)
        yield from map(Path, getattr(found, "__path__", ()))


def _set_limits(limits: Limits) -> None:
    wanted = {
        resource.RLIMIT_FSIZE: limits.folder_bytes,
        resource.RLIMIT_DATA: limits.memory_bytes + _NOT_TOUCHED,
        resource.RLIMIT_CPU: resource.RLIM_INFINITY if limits.cpu_s is None else limits.cpu_s,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            value = hard if value == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _say_kill_me_first() -> None:
    """When memory runs out for all, the kernel takes this process and no other."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        pass
