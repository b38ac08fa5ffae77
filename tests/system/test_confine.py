"""A confined process can do no harm, and what it takes is bounded."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.confine import Confinement, Limits, Reach, confine
from edgeguard.system.confined_child import ConfinedChild
from edgeguard.system.frames import Frame
from edgeguard.system.isolation import isolation
from edgeguard.system.landlock import landlock_version

LIMITS = Limits(memory_bytes=600 << 20, folder_bytes=50 << 20, cpu_s=20, wall_s=3.0)
TESTS = Path(__file__).parents[1]
ON_A_DISK = os.major(Path(tempfile.gettempdir()).stat().st_dev) != 0  # what is written in memory nobody counts

pytestmark = pytest.mark.skipif(
    landlock_version() == 0 and not os.environ.get("CI"), reason="this kernel has no Landlock: nothing confines here"
)


def _child(limits: Limits = LIMITS, **options) -> ConfinedChild:
    return ConfinedChild(
        "system.attacker:Attacker", what="the attacker", limits=limits, reach=Reach((TESTS,)), **options
    )


@pytest.fixture
def child() -> Iterator[ConfinedChild]:
    with _child() as running:
        yield running


def _ask(child: ConfinedChild, what: str, target: Path | str = "") -> str:
    answer = child.ask(Frame({"what": what, "target": str(target)}))
    return f"refused: {answer.fields['text']}" if "error" in answer.fields else answer.fields["did"]


CHANGES = ("write", "append", "truncate", "unlink", "rename", "link", "symlink", "mkdir", "chmod", "chown", "utime",
           "setxattr", "mknod")  # fmt: skip
BEYOND_FILES = ("environment", "memory", "tcp", "udp", "fork", "execute", "spawn", "kill", "kill all", "session",
                "limits", "raise limits", "priority", "priority of all", "schedule", "processors", "owner",
                "signal of a pipe", "watch", "memory file")  # fmt: skip


def _attack_a_file(child: ConfinedChild, folder: Path, what: str) -> str:
    """What the process said of its attempt on a file, which has to be as it was."""
    target = folder / "yours"
    target.write_text("yours")
    before = target.stat()
    said = _ask(child, what, target)
    assert [p.name for p in folder.iterdir()] == ["yours"] and target.read_text() == "yours"
    assert (target.stat().st_mode, target.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    return said


@pytest.mark.parametrize("what", [*CHANGES, "read", "list"])
def test_a_file_outside_stays_as_it_is(child: ConfinedChild, tmp_path: Path, what: str) -> None:
    assert _attack_a_file(child, tmp_path, what).startswith("refused")


@pytest.mark.parametrize("what", ["passwd", *BEYOND_FILES])
def test_nothing_else_is_reached(child: ConfinedChild, what: str) -> None:
    assert _ask(child, what).startswith("refused")


def test_what_it_starts_reads_of_itself_only(tmp_path: Path) -> None:
    """TensorFlow reads its own command line, and dies where it cannot."""
    limits = replace(LIMITS, processes=True)
    (tmp_path / "yours").write_text("yours")
    reach = Reach((TESTS,))
    with ConfinedChild("system.attacker:Attacker", what="the attacker", limits=limits, reach=reach) as child:
        assert _ask(child, "start", "/proc/self/cmdline").startswith("/bin/cat")
        for closed in (f"/proc/{os.getpid()}/environ", f"/proc/{os.getpid()}/mem", tmp_path / "yours", "/etc/passwd"):
            assert _ask(child, "start", closed).startswith("refused")


def test_a_socket_of_the_machine_is_not_reached(child: ConfinedChild, tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        assert _ask(child, "unix socket", tmp_path / "s").startswith("refused")


def test_objects_of_system_v_are_not_reached_by_their_numbers(child: ConfinedChild) -> None:
    """No call that would find one is needed: their numbers are small."""
    import ctypes
    import errno

    library = ctypes.CDLL(None, use_errno=True)
    mode = 0o600
    found = library.shmget(0, 4096, mode), library.msgget(0, mode), library.semget(0, 1, mode)
    try:
        if min(found) < 0:
            pytest.skip("this system gives no objects of System V")
        assert _ask(child, "system v", " ".join(map(str, found))) == " ".join([str(errno.EPERM)] * 3)
    finally:
        library.shmctl(found[0], 0, None)
        library.msgctl(found[1], 0, None)
        library.semctl(found[2], 0, 0)


def test_what_it_needs_it_has(child: ConfinedChild) -> None:
    assert _ask(child, "mine") == "1" and _ask(child, "thread") == "ran"


def test_nothing_of_the_user_comes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with open("/etc/passwd", "rb"), _child() as child:
        names = _ask(child, "environment of mine").split()
        assert "AWS_SECRET_ACCESS_KEY" not in names and len(names) < 24
        assert set(_ask(child, "descriptors").split()) == {"/dev/null", "pipe"}


@pytest.mark.parametrize(
    ("what", "said"),
    [("grow", "more than 0.6 GB of memory|MemoryError|not enough"),
     pytest.param("spin", "no answer in time", marks=pytest.mark.full),
     ("fill", "wrote more than"), ("hide", "wrote more than"), ("name many", "wrote more than"),
     *((("hide mapped", "wrote more than"),) if ON_A_DISK else ()), ("crash", "crashed .SIGSEGV"), ("exit", "is gone")],
)  # fmt: skip
def test_what_takes_too_much_is_ended_in_one_line(what: str, said: str) -> None:
    patient = LIMITS if what == "spin" else replace(LIMITS, wall_s=15.0)  # a busy machine takes its time to grow
    started = time.monotonic()
    with _child(patient) as child, pytest.raises((InputError, DeviceError), match=said):
        answer = child.ask(Frame({"what": what, "target": ""}))
        raise InputError(answer.fields["error"])
    assert time.monotonic() - started < 20


def test_it_may_reach_more_files_than_an_argument_holds(tmp_path: Path) -> None:
    """A thousand files of weights beside a model: the process did not start, as if the machine were to blame."""
    beside = [tmp_path / f"{number:04}{'w' * 200}.bin" for number in range(1000)]
    for path in (beside[0], beside[-1]):
        path.write_text("yours")
    with ConfinedChild("system.attacker:Attacker", what="the attacker", reach=Reach((TESTS, *beside))) as child:
        assert _ask(child, "read", beside[-1]) == _ask(child, "read", beside[0])
        assert not _ask(child, "read", beside[0]).startswith("refused")
        assert _ask(child, "read", tmp_path / "other").startswith("refused")


def test_its_folder_goes_with_it() -> None:
    with _child() as child:
        folder = child._folder
        assert folder is not None and _ask(child, "mine") == "1" and folder.is_dir()
    assert not folder.exists()
    assert not Path(f"/proc/{child.process_id}").exists() or child.exit_code is not None


def test_nobody_clears_its_folder_while_it_runs(child: ConfinedChild) -> None:
    """Every conversion clears what killed ones left beside it."""
    import re

    from edgeguard.system.leftovers import clear_folders

    folder = child._folder
    assert folder is not None
    clear_folders(Path(tempfile.gettempdir()), re.compile(re.escape(folder.name)))
    assert folder.is_dir() and _ask(child, "mine") == "1"


def test_an_answer_above_its_bounds_is_not_taken(child: ConfinedChild) -> None:
    from edgeguard.system.frames import read_frame, write_frame

    reading, writing = os.pipe()
    write_frame(writing, Frame({}, (bytes(100),)))
    with pytest.raises(ValueError, match="more than is taken"):
        read_frame(reading, most_bytes=99)
    large = os.memfd_create("answer")
    write_frame(large, Frame({"lists": [[]] * (1 << 20)}))  # 4 MB of text, 60 MB as lists
    os.lseek(large, 0, os.SEEK_SET)
    with pytest.raises(ValueError, match="more parts than is taken"):
        read_frame(large, most_bytes=99)
    os.close(large)
    os.write(writing, b"\xff" * 16)
    os.close(writing)
    os.close(reading)


def test_one_with_threads_cannot_be_confined(tmp_path: Path) -> None:
    import threading

    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="threads"):
            confine(tmp_path, Limits())
    finally:
        stop.set()
        thread.join()


def test_an_emulator_has_a_thread_of_its_own() -> None:
    """Nothing is promised there, and nothing dies: a graph's process under qemu ended with exit code 1."""
    code = """
import ctypes
from edgeguard.system.confine import Limits, confine
library = ctypes.CDLL(None)
assert library.pthread_create(ctypes.byref(ctypes.c_ulong()), None, library.pause, None) == 0
print(confine(None, Limits()).missing != ())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_what_a_system_does_not_give_is_said() -> None:
    nothing = Confinement("", "", "")
    assert len(nothing.missing) == 3 and "NOT confined" in str(nothing)
    assert isolation().files.startswith("Landlock")


@pytest.mark.parametrize("part", ["landlock", "mounts"])
def test_each_way_to_guard_files_holds_alone(tmp_path: Path, part: str) -> None:
    """Landlock without the filter; a read-only mount namespace where Landlock is missing."""
    code = f"""
import os, sys
from pathlib import Path
from edgeguard.system.landlock import restrict_files
from edgeguard.system.namespaces import drop_capabilities, freeze_files
private = Path({str(tmp_path / "private")!r})
if {part == "landlock"}:
    restrict_files(readable=[Path("/usr"), Path(sys.prefix)], writable=[], private=private)
elif not freeze_files(private):
    print("none")
    sys.exit()
drop_capabilities()
(private / "x").write_text("x")
try:
    Path({str(tmp_path / "outside")!r}).write_text("x")
    print("wrote")
except OSError as error:
    print("refused")
"""
    (tmp_path / "private").mkdir()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.stdout.strip() == "none":
        pytest.skip("this system gives no mount namespaces")
    assert done.stdout.strip() == "refused", done.stderr
    assert not (tmp_path / "outside").exists() and (tmp_path / "private" / "x").exists()


#: What kernels would do that have no Landlock, and no namespaces either: said to the child before it shuts itself in.
WITHOUT_LANDLOCK = "import edgeguard.system.confine as c; c.restrict_files = lambda **_: 0; "
WITHOUT_NAMESPACES = WITHOUT_LANDLOCK + "c.freeze_files = lambda _: False; c.leave_network = lambda: False; "
WITHOUT_ANY = WITHOUT_NAMESPACES + "c.filter_calls = lambda **_: False; "


def _without(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    from edgeguard.system import confined_child

    monkeypatch.setattr(confined_child, "_BEGIN", what + confined_child._BEGIN)


def test_without_landlock_the_mount_namespace_alone_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _without(monkeypatch, WITHOUT_LANDLOCK)
    with _child() as child:
        if not child.confinement.files:
            pytest.skip("this system gives no mount namespaces")
        assert child.confinement.files == "a read-only mount namespace"
        assert child.confinement.missing == ("it can read your files, though not change them (no Landlock)",)
        for what in CHANGES:
            assert _attack_a_file(child, tmp_path, what).startswith("refused"), what
        for what in BEYOND_FILES:
            assert _ask(child, what).startswith("refused"), what
        assert _ask(child, "mine") == "1" and _ask(child, "thread") == "ran"


@pytest.mark.parametrize(
    ("without", "words"),
    [
        pytest.param(WITHOUT_NAMESPACES, ("keeps it from your files",), marks=pytest.mark.full),
        (WITHOUT_ANY, ("keeps it from your files", "from the network", "from other processes")),
    ],
)
@pytest.mark.parametrize(
    ("name", "data", "arch"),
    [
        pytest.param("model.tflite", b"\0\0\0\0TFL3", None, marks=pytest.mark.full),
        ("model.pt", b"\x80\x02.", "mine:make"),
    ],
)
@pytest.mark.convert
def test_where_nothing_confines_it_is_said_loudly(
    without: str,
    words: tuple[str, ...],
    name: str,
    data: bytes,
    arch: str | None,
    monkeypatch: pytest.MonkeyPatch,
    said: list[str],
    tmp_path: Path,
) -> None:
    from edgeguard_converters.load.model_process import ModelProcess

    _without(monkeypatch, without)
    model = tmp_path / name
    model.write_bytes(data)
    with ModelProcess() as process, pytest.raises(InputError, match="model"):
        process.load(model, arch=arch)
    (loud,) = [line for line in said if "THE MODEL'S PROCESS IS NOT FULLY CONFINED" in line]
    assert all(word in loud for word in words) and len(loud.split(";")) == len(words)
    assert [word for word in words if word in "; ".join(isolation().missing)] == list(words)  # what doctor says
