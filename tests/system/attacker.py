"""The inside of a confined process that tries to do harm, for the tests."""

import mmap
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard.system.frames import Frame


def _connect(target: str) -> None:
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(target)


def _fill(target: str) -> None:
    block = bytes(1 << 20)
    for number in range(4000):
        Path(target, str(number)).write_bytes(block)


def _hide(target: str, *, mapped: bool) -> None:
    """Files that lose their names, and are still there; nobody needs to keep a mapped one open."""
    kept: list[Any] = []
    for number in range(4000):
        stream = Path(target, str(number)).open("w+b")  # noqa: SIM115 - it stays open
        Path(target, str(number)).unlink()
        for _ in range(8):
            stream.write(bytes(1 << 20))
        stream.flush()
        kept.append(mmap.mmap(stream.fileno(), 4096) if mapped else stream)
        if mapped:
            stream.close()


def _name_many(target: str) -> None:
    for number in range(1_000_000):
        Path(target, str(number)).touch()


def _grow(_: str) -> None:
    kept = []
    while True:
        kept.append(bytearray(b"x") * (32 << 20))


def _spin(_: str) -> None:
    while True:
        pass


def _thread(_: str) -> str:
    done: list[str] = []
    worker = threading.Thread(target=lambda: done.append("ran"))
    worker.start()
    worker.join()
    return done[0]


def _append(target: str) -> None:
    with open(target, "a") as stream:
        stream.write("x")


def _memory(_: str) -> None:
    with open(f"/proc/{os.getppid()}/mem", "rb"):
        pass


def _descriptors(_: str) -> str:
    """What is open, but for what looking opens."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(link.readlink()).split(":")[0])
        except FileNotFoundError:
            continue
    return " ".join(sorted(found))


def _crash(_: str) -> None:
    import ctypes

    ctypes.string_at(8)


def _called(function: str, *arguments: Any) -> int:
    """A function of the C library that sets errno."""
    import ctypes

    found: int = getattr(ctypes.CDLL(None, use_errno=True), function)(*arguments)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


def _owner(command: int) -> int:
    """A pipe whose events the kernel signals to somebody: with SIGKILL, if one likes."""
    import fcntl

    return fcntl.fcntl(os.pipe()[0], command, 9 if command == fcntl.F_SETSIG else os.getppid())


def _watch(_: str) -> int:
    return _called("inotify_add_watch", _called("inotify_init"), b"/etc", 0xFFF)


def _remove_of_system_v(target: str) -> str:
    memory, queue, semaphores = map(int, target.split())
    said = []
    for function, arguments in (("shmctl", (memory,)), ("msgctl", (queue,)), ("semctl", (semaphores, 0))):
        try:
            _called(function, *arguments, 0, None)  # IPC_RMID
            said.append(f"{function} removed it")
        except OSError as error:
            said.append(str(error.errno))
    return " ".join(said)


ATTACKS: dict[str, Callable[[str], Any]] = {
    "write": lambda target: Path(target).write_text("x"),
    "append": _append,
    "truncate": lambda target: os.truncate(target, 0),
    "unlink": os.unlink,
    "rename": lambda target: Path(target).rename(target + "-moved"),
    "link": lambda target: os.link(target, target + "-link"),
    "symlink": lambda target: Path(target + "-link").symlink_to("/etc/passwd"),
    "mkdir": lambda target: Path(target + "-folder").mkdir(),
    "chmod": lambda target: Path(target).chmod(0o777),
    "chown": lambda target: os.chown(target, 1, 1),
    "utime": lambda target: os.utime(target, (1, 1)),
    "setxattr": lambda target: os.setxattr(target, "user.x", b"x"),
    "mknod": lambda target: os.mkfifo(target + "-fifo"),
    "read": lambda target: Path(target).read_text(),
    "list": lambda target: list(Path(target).parent.iterdir()),
    "passwd": lambda _: Path("/etc/passwd").read_text(),
    "environment": lambda _: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "memory": _memory,
    "tcp": lambda _: socket.create_connection(("127.0.0.1", 22), 1),
    "udp": lambda _: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "unix socket": _connect,
    "fork": lambda _: os.fork(),
    "execute": lambda _: os.execv("/bin/true", ["true"]),
    "spawn": lambda _: os.posix_spawn("/bin/true", ["true"], {}),
    "start": lambda path: subprocess.run(["/bin/cat", path], capture_output=True, check=True).stdout[:9].decode(),
    "kill": lambda _: os.kill(os.getppid(), 0),
    "kill all": lambda _: os.kill(-1, 0),
    "session": lambda _: os.setsid(),
    "limits": lambda _: __import__("resource").prlimit(os.getppid(), 7),
    "priority": lambda _: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19),
    "priority of all": lambda _: os.setpriority(os.PRIO_USER, 0, 19),
    "schedule": lambda _: os.sched_setscheduler(os.getppid(), os.SCHED_IDLE, os.sched_param(0)),
    "processors": lambda _: os.sched_setaffinity(os.getppid(), os.sched_getaffinity(0)),
    "owner": lambda _: _owner(8),
    "signal of a pipe": lambda _: _owner(10),
    "watch": _watch,
    "system v": _remove_of_system_v,
    "raise limits": lambda _: __import__("resource").setrlimit(1, (-1, -1)),
    "mine": lambda _: Path(os.environ["TMPDIR"], "mine").write_text("x"),
    "environment of mine": lambda _: " ".join(sorted(os.environ)),
    "descriptors": _descriptors,
    "thread": _thread,
    "fill": lambda _: _fill(os.environ["TMPDIR"]),
    "hide": lambda _: _hide(os.environ["TMPDIR"], mapped=False),
    "hide mapped": lambda _: _hide(os.environ["TMPDIR"], mapped=True),
    "name many": lambda _: _name_many(os.environ["TMPDIR"]),
    "memory file": lambda _: os.memfd_create("x"),
    "grow": _grow,
    "spin": _spin,
    "crash": _crash,
    "exit": lambda _: os._exit(0),
    "lie": lambda _: os.write(int(os.environ["ANSWERS"]), b"\xff" * 64),
}


class Attacker:
    """Does what it is told."""

    def __init__(self, folder: Path) -> None:
        pass

    def __call__(self, request: Frame) -> Frame:
        try:
            return Frame({"did": str(ATTACKS[request.fields["what"]](request.fields["target"]))})
        except OSError as error:
            raise InputError(f"refused: {error.strerror}") from error
