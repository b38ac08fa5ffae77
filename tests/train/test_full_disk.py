"""A disk that is full while torch writes is a disk that is full, and nothing of the file stays."""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edgeguard.errors import DeviceError  # noqa: E402
from edgeguard.train.export import write_program  # noqa: E402
from edgeguard.train.tensors import load_tensors, save_tensors  # noqa: E402


@contextmanager
def _files_end_at(size_bytes: int) -> Iterator[None]:
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def _tensors(path: Path) -> None:
    save_tensors(path, {"weights": torch.ones(10_000)})


def _program(path: Path) -> None:
    write_program(torch.nn.Linear(100, 100).eval(), path, example=torch.zeros(2, 100), facts={"labels": []})


@pytest.mark.parametrize("write", [_tensors, pytest.param(_program, marks=pytest.mark.full)])
def test_it_is_no_bug_of_ours(write: Callable[[Path], None], tmp_path: Path) -> None:
    """torch said "unexpected pos 64 vs 0", and train ended with exit code 70."""
    path = tmp_path / "x.pt"
    path.write_bytes(b"old")
    with _files_end_at(3000), pytest.raises(DeviceError, match="cannot write .*: File too large"):
        write(path)
    assert [one.name for one in tmp_path.iterdir()] == ["x.pt"] and path.read_bytes() == b"old"
    write(path)
    assert path.stat().st_size > 30_000


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    save_tensors(tmp_path / "state.pt", {"step": 3, "weights": torch.arange(5.0)})
    found = load_tensors(tmp_path / "state.pt")
    assert found["step"] == 3 and found["weights"].tolist() == [0, 1, 2, 3, 4]
