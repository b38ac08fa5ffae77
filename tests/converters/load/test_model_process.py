"""The model in a process of its own answers as the model here does, and nothing of it is left."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeguard.errors import DeviceError, InputError
from edgeguard_converters.graph.normalization import PRESETS, Normalization
from edgeguard_converters.load.model_process import ModelProcess

pytestmark = pytest.mark.convert
SIDE = 32


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from converters.models import Residual

    path = tmp_path_factory.mktemp("apart") / "model.pt2"
    torch.manual_seed(0)
    torch.export.save(torch.export.export(Residual().eval(), (torch.zeros(1, 3, SIDE, SIDE),)), path)
    return path


@pytest.fixture
def apart() -> Iterator[ModelProcess]:
    with ModelProcess() as process:
        yield process


@pytest.mark.full
def test_it_answers_as_the_model_here(model: Path, apart: ModelProcess, tmp_path: Path) -> None:
    from edgeguard_converters.load.registry import load_source

    there, here = apart.load(model), load_source(model)
    images = np.random.default_rng(0).normal(size=(37, SIDE, SIDE, 3)).astype(np.float32)  # more than one pipe-full
    np.testing.assert_array_equal(there.outputs(images)[0], here.outputs(images)[0])
    assert (there.kind, there.size, there.facts) == (here.kind, here.size, here.facts)
    assert (there.parameter_count(), there.not_finite()) == (here.parameter_count(), None)
    graph = there.export(Normalization(*PRESETS["tf"], "t"), (SIDE, SIDE), tmp_path, tmp_path / "log")
    (tmp_path / "again").mkdir()
    again = here.export(Normalization(*PRESETS["tf"], "t"), (SIDE, SIDE), tmp_path / "again", tmp_path / "log")
    assert graph.path.read_bytes() == again.path.read_bytes()


@pytest.mark.full
def test_the_json_beside_a_model_counts(model: Path, apart: ModelProcess, tmp_path: Path) -> None:
    """The confined process may not read it: every conversion with one ended with "Permission denied"."""
    (tmp_path / "m.pt2").write_bytes(model.read_bytes())
    (tmp_path / "m.json").write_text('{"labels": ["a", "b", "c", "d"], "size": [32, 32]}')
    facts = apart.load(tmp_path / "m.pt2").facts
    assert facts.labels == ("a", "b", "c", "d") and facts.sha256 is not None


@pytest.mark.full
def test_the_size_beside_a_script_counts(apart: ModelProcess, tmp_path: Path) -> None:
    import torch

    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 2, 1), torch.zeros(1, 3, 8, 8)), tmp_path / "m.pt")
    (tmp_path / "m.json").write_text('{"size": [12, 8]}')
    assert apart.load(tmp_path / "m.pt").size == (12, 8)


def test_what_is_wrong_with_a_model_is_said_here(apart: ModelProcess, tmp_path: Path) -> None:
    (tmp_path / "not.pt2").write_bytes(b"nothing like a model")
    with pytest.raises(InputError, match="not.pt2"):
        apart.load(tmp_path / "not.pt2")


def test_a_model_that_changes_while_it_is_read_is_refused(
    apart: ModelProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash in the contract would be of other bytes than those that were converted."""
    from edgeguard_converters.load.exchange import facts_to_json
    from edgeguard_converters.load.source import FileFacts

    model, other = tmp_path / "m.tflite", tmp_path / "other"
    model.write_bytes(b"\0\0\0\0TFL3good")
    other.write_bytes(b"\0\0\0\0TFL3evil")

    def load(self: ModelProcess, path: Path, kind: str, options: object) -> dict[str, object]:
        other.rename(model)
        return {"kind": kind, "size": None, "facts": facts_to_json(FileFacts())}

    monkeypatch.setattr(ModelProcess, "_load", load)
    with pytest.raises(InputError, match="m.tflite changed while it was read"):
        apart.load(model)


@pytest.mark.full
def test_it_goes_on_after_an_error(model: Path, apart: ModelProcess) -> None:
    source = apart.load(model)
    with pytest.raises(InputError):
        source.outputs(np.zeros((1, SIDE, SIDE, 5), np.float32))
    assert source.outputs(np.zeros((1, SIDE, SIDE, 3), np.float32))[0].shape == (1, 4)


@pytest.mark.full
def test_a_process_that_is_gone_is_said(model: Path, apart: ModelProcess) -> None:
    source = apart.load(model)
    os.kill(apart.process_id, signal.SIGKILL)  # as the kernel does when memory runs out
    with pytest.raises(DeviceError, match="out of memory"):
        source.parameter_count()


@pytest.mark.full
def test_released_it_is_gone_and_asked_again_says_so(model: Path, apart: ModelProcess) -> None:
    source = apart.load(model)
    source.release()
    source.release()
    assert not Path(f"/proc/{apart.process_id}").exists()
    with pytest.raises(DeviceError):
        source.not_finite()


@pytest.mark.full
def test_nothing_of_it_is_left(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ModelProcess() as process:
        process.load(model)
        assert len(list(tmp_path.glob("edgeguard-*"))) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_model_there_is_no_process() -> None:
    with ModelProcess() as process:
        assert process.process_id == 0


def test_the_command_does_not_load_torch_itself() -> None:
    """Its memory would stay through the calibration."""
    code = (
        "import sys; from edgeguard.cli import convert; from edgeguard_converters import pipeline;"
        "from edgeguard_converters.load import model_process;"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
