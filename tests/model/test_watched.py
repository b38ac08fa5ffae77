"""A graph in a watched process: the same values, and what a hostile one does to that process alone."""

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from model import crafted
from numpy.typing import NDArray

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import DeviceError, InputError
from edgeguard.model import watched
from edgeguard.model.runtime import GraphRunner
from edgeguard.model.watched import GraphFailure, WatchedRunner
from edgeguard.system.landlock import landlock_version

ZEROS = np.zeros(crafted.IMAGE, np.uint8)


def frame(value: int) -> NDArray[np.uint8]:
    """A frame whose pixels have this sum."""
    made = ZEROS.copy()
    made[0, 0, 0, 0] = value
    return made


@pytest.fixture(scope="module")
def bundled() -> Iterator[WatchedRunner]:
    with WatchedRunner(bundled_model().read_bytes()) as runner:
        yield runner


def test_the_same_values_and_details_as_in_this_process(bundled: WatchedRunner) -> None:
    here = GraphRunner(bundled_model().read_bytes())
    for one, other in zip(bundled.inputs + bundled.outputs, here.inputs + here.outputs, strict=True):
        assert one["name"] == other["name"] and one["index"] == other["index"] and one["dtype"] is other["dtype"]
        assert one["shape"].tolist() == other["shape"].tolist() and one["quantization"] == other["quantization"]
    for seed in range(3):
        image = np.random.default_rng(seed).integers(0, 256, (1, 128, 128, 3), dtype=np.uint8)
        assert np.array_equal(bundled.run_raw(image)[0], here.run_raw(image)[0])
        assert np.array_equal(bundled.run(image)[0], here.run(image)[0])


def test_outputs_are_copies(bundled: WatchedRunner) -> None:
    image = np.full((1, 128, 128, 3), 7, np.uint8)
    first = bundled.run_raw(image)[0]
    kept = first.copy()
    bundled.run_raw(255 - image)
    assert np.array_equal(first, kept)


def test_a_tensor_of_another_shape_is_refused(bundled: WatchedRunner) -> None:
    with pytest.raises(ValueError, match="the graph takes uint8"):
        bundled.run(np.zeros((1, 64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="got float32"):
        bundled.run(np.zeros((1, 128, 128, 3), np.float32))


def test_a_division_that_kills_costs_its_frame_and_no_other() -> None:
    with WatchedRunner(crafted.divides()) as runner:
        assert runner.run(ZEROS)[0].tolist() == [0, 0]
        with pytest.raises(GraphFailure, match=r"crashes on the model \(SIGFPE\): the file is damaged or hostile"):
            runner.run(frame(1))
        assert runner.run(ZEROS)[0].tolist() == [0, 0]


def test_after_three_deaths_in_a_row_it_is_over() -> None:
    with WatchedRunner(crafted.divides()) as runner:
        for _ in range(2):
            with pytest.raises(GraphFailure):
                runner.run(frame(1))
        with pytest.raises(InputError, match="that was 3 frames in a row") as caught:
            runner.run(frame(1))
        assert not isinstance(caught.value, GraphFailure)


def test_memory_is_limited() -> None:
    with WatchedRunner(crafted.fills()) as runner:
        assert runner.run(ZEROS)[0].tolist() == [3, 6]
        with pytest.raises(GraphFailure):
            runner.run(frame(255))  # 4 GB
        assert runner.run(ZEROS)[0].tolist() == [3, 6]


def test_memory_that_constants_want_is_refused_at_the_start() -> None:
    with pytest.raises(InputError, match="runtime"):
        WatchedRunner(crafted.huge())


def test_a_frame_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "FRAME_S", 0.5)
    with WatchedRunner(crafted.never_ends()) as runner:
        assert runner.run(ZEROS)[0].tolist() == [0, 0]
        began = time.monotonic()
        with pytest.raises(GraphFailure, match=r"does not finish with a frame within 0\.5 s"):
            runner.run(frame(1))
        assert time.monotonic() - began < 5
        assert runner.run(ZEROS)[0].tolist() == [0, 0]


def test_loading_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "LOAD_S", 0.5)
    with pytest.raises(InputError, match=r"does not finish with the model within 0\.5 s"):
        WatchedRunner(crafted.never_ends(always=True))


@pytest.mark.parametrize("which", ["input", "output", "border", "huge"])
def test_numbers_of_tensors_that_are_none(which: str) -> None:
    with pytest.raises(InputError, match="the runtime refuses the model"):
        WatchedRunner(crafted.strange_numbers(which))


@pytest.mark.parametrize("data", [b"", b"hello", bytes(100)])
def test_what_is_no_model_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        WatchedRunner(data)
    assert "\n" not in str(caught.value)


@pytest.mark.full
def test_damaged_bytes_never_crash_this_process() -> None:
    whole = bytearray(bundled_model().read_bytes())
    for position in range(200, 4000, 900):
        damaged = bytearray(whole)
        damaged[position : position + 16] = b"\xff" * 16
        try:
            WatchedRunner(bytes(damaged)).close()
        except InputError as error:
            assert "\n" not in str(error)


def test_a_process_that_is_killed_from_outside_is_replaced(bundled: WatchedRunner) -> None:
    image = np.full((1, 128, 128, 3), 9, np.uint8)
    expected = bundled.run(image)[0]
    assert bundled._child is not None
    os.kill(bundled._child._process.pid, signal.SIGKILL)
    with pytest.raises(GraphFailure, match="SIGKILL"):
        bundled.run(image)
    assert np.array_equal(bundled.run(image)[0], expected)


def test_an_interrupted_frame_leaves_no_answer_behind(bundled: WatchedRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.full((1, 128, 128, 3), 11, np.uint8)
    expected = bundled.run(image)[0]

    def interrupted(child: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(watched._Child, "compute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bundled.run(255 - image)
    assert np.array_equal(bundled.run(image)[0], expected)


def test_the_process_ends_with_its_runner_and_with_its_parent(tmp_path: Path) -> None:
    runner = WatchedRunner(crafted.harmless())
    assert runner._child is not None
    pid = runner._child._process.pid
    assert Path(f"/proc/{pid}").exists()
    runner.close()
    assert not Path(f"/proc/{pid}").exists()
    process = multiprocessing.get_context("spawn").Process(target=_open_and_die, args=(tmp_path / "pid",))
    process.start()
    process.join(30)
    left = Path(f"/proc/{(tmp_path / 'pid').read_text()}")
    end = time.monotonic() + 10
    while left.exists() and "(zombie)" not in (left / "status").read_text() and time.monotonic() < end:
        time.sleep(0.05)
    assert not left.exists() or "(zombie)" in (left / "status").read_text()


def _open_and_die(target: Path) -> None:
    runner = WatchedRunner(crafted.harmless())
    assert runner._child is not None
    target.write_text(str(runner._child._process.pid))
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_the_process_says_is_not_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A graph that had taken its process over could answer anything."""
    liar = tmp_path / "watched_child.py"
    monkeypatch.setattr(watched, "__file__", str(tmp_path / "watched.py"))
    head = (
        "import socket, struct, sys\nline = socket.socket(fileno=int(sys.argv[1]))\n"
        "def tell(text): line.sendall(struct.pack('<I', len(text)) + text)\n"
    )
    detail = '{"name": "x", "index": 0, "shape": [%s], "dtype": "%s", "quantization": [1, 0]}'
    for said in (
        "tell(b'{}'); tell(b'[')",
        "tell(b'[]')",
        "tell(b'{}'); line.sendall(struct.pack('<I', 1 << 31))",
        "tell(b'{}'); tell(b'{}')",
        f"tell(b'{{}}'); tell(b'''{{\"inputs\": [{detail % ('1, -5', 'uint8')}], \"outputs\": []}}''')",
        f"tell(b'{{}}'); tell(b'''{{\"inputs\": [{detail % ('9', 'object')}], \"outputs\": []}}''')",
        f"tell(b'{{}}'); tell(b'''{{\"inputs\": [{detail % ('65536, 65536', 'uint8')}], \"outputs\": []}}''')",
        "tell(b'{}'); tell(b'[' * 100000)",
    ):
        liar.write_text(head + said)
        with pytest.raises(InputError) as caught:
            WatchedRunner(b"")
        assert "\n" not in str(caught.value)


_TAKEN_OVER = """
import os, socket, sys
def runtime(): return None
class GraphRunner:
    def __init__(self, data, **_):
        reached = []
        for name, attempt in {
            "a file of yours": lambda: open(PRIVATE).read(),
            "a new file": lambda: open(PRIVATE + "-new", "w"),
            "your home": lambda: os.listdir(os.path.dirname(PRIVATE)),
            "the network": lambda: socket.socket(socket.AF_INET).connect(("127.0.0.1", PORT)),
            "a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", PORT)),
            "your process": lambda: os.kill(os.getppid(), 0),
            "another program": lambda: os.execv("/bin/true", ["true"]),
            "a process": os.fork,
            "more memory": lambda: __import__("resource").setrlimit(9, (1, 1)) or bytearray(4 << 30),
        }.items():
            try:
                attempt()
            except Exception:
                continue
            reached.append(name)
        raise RuntimeError("reached: " + (", ".join(reached) or "nothing"))
"""


@pytest.mark.skipif(
    landlock_version() == 0 and not os.environ.get("CI"), reason="this kernel has no Landlock: nothing confines here"
)
def test_who_takes_the_process_over_reaches_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    private = tmp_path / "private.txt"
    private.write_text("yours")
    script = Path(watched.__file__).with_name("watched_child.py").read_text()
    load, begin = '    runtime = _beside("runtime")\n', "    on_edgetpu ="
    assert load in script and begin in script
    # The double is read before the walls stand, since they hide this test's folder; it is run behind them.
    (tmp_path / "watched_child.py").write_text(script.replace(load, "").replace(begin, load + begin))
    monkeypatch.setattr(watched, "__file__", str(tmp_path / "watched.py"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = f"PRIVATE, PORT = {str(private)!r}, {server.getsockname()[1]}\n"
        (tmp_path / "runtime.py").write_text(head + _TAKEN_OVER)
        with pytest.raises(InputError, match="reached: nothing"):
            WatchedRunner(b"")


def test_without_the_edge_tpu_it_is_the_device_that_lacks() -> None:
    with pytest.raises(DeviceError, match="Edge TPU|Coral"):
        WatchedRunner(bundled_model().read_bytes(), edgetpu=True)
