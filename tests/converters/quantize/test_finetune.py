"""Fine-tuning with fake quantisation: it mends a model that int8 hurts, and goes on where it was stopped."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.convert


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _hurt_source():
    """A trained net one channel of which is 60 times as large as the others: one range cannot hold them all."""
    import torch
    from converters.models import SIDE, train_residual

    from edgeguard_converters.load.source import FileFacts
    from edgeguard_converters.load.torch_source import TorchSource

    net = train_residual()
    block = net.stem[1]
    assert isinstance(block, torch.nn.BatchNorm2d)
    with torch.no_grad():
        block.weight[0] *= 60
        block.bias[0] *= 60
        for reader in (net.a[0], net.down[0]):
            assert isinstance(reader, torch.nn.Conv2d)
            reader.weight[:, 0] /= 60
    return TorchSource("module", (SIDE, SIDE), FileFacts(), net.eval())


def _sets(squares):
    from edgeguard.datasets.images import prepare
    from edgeguard.guard import GuardProfile
    from edgeguard.model.contract import Contract, ContractGuard, InputSpec, Preprocess

    contract = Contract(
        InputSpec(32, 32), Preprocess(crop="none"), guard=ContractGuard(GuardProfile.preset("fd"), "frame")
    )
    return prepare(squares, contract), np.array([image.label for image in squares])


def _finetune(source, pixels, targets, *, epochs: int, step=lambda name: None):
    from converters.models import SIDE

    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.quantize.finetune import finetune
    from edgeguard_converters.quantize.quantized_training import QuantizedTraining

    normalization = Normalization(*PRESETS["tf"], "t")
    training = QuantizedTraining(source, normalization, (SIDE, SIDE))
    return finetune(training, normalization, pixels, targets=targets, epochs=epochs, step=step)


@pytest.mark.full
def test_it_mends_what_int8_hurts(squares: list) -> None:
    import torch
    from converters.models import SIDE

    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.load.split_boxes import exported
    from edgeguard_converters.quantize.quantized_training import FakeQuantized, observe

    source, (pixels, targets) = _hurt_source(), _sets(squares)

    def loss_when_rounded(candidate) -> float:
        module = exported(candidate.module, torch.zeros(1, 3, SIDE, SIDE))
        x = torch.from_numpy(Normalization(*PRESETS["tf"], "t").apply(pixels)).permute(0, 3, 1, 2)
        with torch.no_grad():
            rounded = FakeQuantized(module, observe(module, (image[None] for image in x[:40])))
            scores = torch.cat([torch.as_tensor(rounded.run(image[None])[0]).reshape(1, -1) for image in x])
        return float(torch.nn.functional.cross_entropy(scores, torch.from_numpy(targets)))

    before = loss_when_rounded(source)
    tuned, kept = _finetune(source, pixels, targets, epochs=3)
    assert kept.is_file() and loss_when_rounded(tuned) < 0.8 * before


@pytest.mark.full
def test_an_interrupted_run_goes_on(squares: list) -> None:
    pixels, targets = _sets(squares[:32])
    epochs: list[str] = []

    def stop_in_the_third(name: str) -> None:
        epochs.append(name)
        if len(epochs) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _finetune(_hurt_source(), pixels, targets, epochs=4, step=stop_in_the_third)
    resumed, kept = _finetune(_hurt_source(), pixels, targets, epochs=4, step=epochs.append)
    assert epochs[3:] == ["fine-tuning, epoch 3 of 4", "fine-tuning, epoch 4 of 4"]
    kept.unlink()
    whole, _ = _finetune(_hurt_source(), pixels, targets, epochs=4)
    for a, b in zip(resumed.module.state_dict().values(), whole.module.state_dict().values(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


@pytest.fixture(scope="module")
def hurt_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same net, as a file."""
    import torch
    from converters.models import SIDE

    path = tmp_path_factory.mktemp("hurt") / "hurt.pt2"
    torch.export.save(torch.export.export(_hurt_source().module, (torch.zeros(1, 3, SIDE, SIDE),)), path)
    return path


@pytest.mark.full
def test_the_process_of_a_model_trains_it_to_the_same_bits(hurt_file: Path, squares: list, tmp_path: Path) -> None:
    import torch
    from converters.models import SIDE

    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.load.model_process import ModelProcess
    from edgeguard_converters.load.registry import load_source
    from edgeguard_converters.quantize.finetune import finetune
    from edgeguard_converters.quantize.training_process import ProcessTraining

    (pixels, targets), normalization = _sets(squares[:40]), Normalization(*PRESETS["imagenet"], "t")
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        folder.mkdir()
    here, _ = _finetune(load_source(hurt_file), pixels, targets, epochs=2)
    with ModelProcess() as process:
        given = process.load(hurt_file)
        first = process.process_id
        training = ProcessTraining(given, Normalization(*PRESETS["tf"], "t"), (SIDE, SIDE), images=80)
        there, kept = finetune(training, Normalization(*PRESETS["tf"], "t"), pixels, targets=targets, epochs=2)
        assert process.process_id != first and process.confinement.missing == ()
        weights = torch.load(kept, weights_only=True)["weights"]
        images = normalization.apply(pixels)
        np.testing.assert_array_equal(there.outputs(images)[0], here.outputs(images)[0])
        graphs = [
            source.export(normalization, (SIDE, SIDE), folder, tmp_path / "log").path.read_bytes()
            for source, folder in zip((here, there), folders, strict=True)
        ]
    assert graphs[0] == graphs[1] and there.kind == here.kind
    for name, tensor in here.module.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


@pytest.mark.full
def test_what_the_process_of_a_model_left_is_taken_up_by_the_next(hurt_file: Path, squares: list) -> None:
    from converters.models import SIDE

    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.load.model_process import ModelProcess
    from edgeguard_converters.quantize.finetune import finetune
    from edgeguard_converters.quantize.training_process import ProcessTraining

    (pixels, targets), normalization = _sets(squares[:16]), Normalization(*PRESETS["tf"], "t")
    lines: list[str] = []

    def train(stop_after: int) -> bytes:
        def step(name: str) -> None:
            lines.append(name)
            if len(lines) == stop_after:
                raise KeyboardInterrupt

        with ModelProcess() as process:
            training = ProcessTraining(process.load(hurt_file), normalization, (SIDE, SIDE), images=48)
            _, kept = finetune(training, normalization, pixels, targets=targets, epochs=3, step=step)
        return kept.read_bytes()

    with pytest.raises(KeyboardInterrupt):
        train(stop_after=3)
    resumed = train(stop_after=-1)
    assert [line.split()[2] for line in lines] == ["1", "2", "3", "3"]
    for kept in (Path(os.environ["XDG_CACHE_HOME"]) / "edgeguard").glob("finetune-*"):
        kept.unlink()
    assert resumed == train(stop_after=-1)


@pytest.mark.full
def test_progress_that_does_not_fit_counts_for_nothing(squares: list) -> None:
    """Not its weights either: half of it may have been taken when the other half turned out to be broken."""
    import copy
    import io
    from dataclasses import replace

    import torch
    from converters.models import SIDE

    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.quantize.quantized_training import QuantizedTraining

    source, (pixels, targets) = _hurt_source(), _sets(squares[:16])

    def training() -> QuantizedTraining:
        made = QuantizedTraining(
            replace(source, module=copy.deepcopy(source.module)), Normalization(*PRESETS["tf"], "t"), (SIDE, SIDE)
        )
        made.show(pixels, targets)
        return made

    def weights(of: QuantizedTraining) -> dict:
        return torch.load(io.BytesIO(of.state(0)), weights_only=True)["weights"]

    def same(first: dict, second: dict) -> bool:
        return all(torch.equal(first[name], second[name]) for name in first)

    one = training()
    assert one.begin(None, 2) == 0
    before = weights(one)
    one.train(0, 0)
    state = one.state(1)
    changed = torch.load(io.BytesIO(state), weights_only=True)
    assert not same(before, changed["weights"])
    broken = io.BytesIO()
    torch.save({**changed, "optimiser": {"state": 3}}, broken)
    for data, epochs in ((b"", 2), (b"PK\x03\x04", 2), (broken.getvalue(), 2), (state, 0)):
        other = training()
        assert other.begin(data, epochs) == 0
        assert same(before, weights(other))
    assert training().begin(state, 2) == 1


@pytest.mark.full
def test_a_label_without_an_output_is_said(squares: list) -> None:
    from edgeguard.errors import InputError

    pixels, targets = _sets(squares[:16])
    with pytest.raises(InputError, match="output 7 of a model with 4 outputs"):
        _finetune(_hurt_source(), pixels, targets * 0 + 7, epochs=1)


@pytest.mark.parametrize("done", [None, -1, 4, 2**70, "1", 1.0, True])
def test_what_the_process_says_of_its_epochs_is_checked(done: object) -> None:
    from edgeguard.errors import InputError
    from edgeguard.system.frames import Frame
    from edgeguard_converters.quantize.training_process import ProcessTraining

    training = ProcessTraining.__new__(ProcessTraining)
    setattr(training, "_ask", lambda *_, **__: Frame({"done": done}))  # noqa: B010 - mypy knows it as a method
    with pytest.raises(InputError, match="no number of epochs"):
        training.begin(None, 3)


def test_progress_is_kept_under_a_name_that_the_process_has_no_say_in(tmp_path: Path) -> None:
    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.quantize.finetune import progress_file

    pixels, targets = np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, np.int64)
    tf, imagenet = (Normalization(*PRESETS[name], "t") for name in ("tf", "imagenet"))
    names = {
        progress_file(*given).name
        for given in (
            ("file 0 None", tf, pixels, targets),
            ("file 1 None", tf, pixels, targets),
            ("module 0", tf, pixels, targets),
            ("file 0 None", imagenet, pixels, targets),
            ("file 0 None", tf, pixels + 1, targets),
            ("file 0 None", tf, pixels, targets + 1),
        )
    }
    assert len(names) == 6
    kept = progress_file("file 0 None", tf, pixels, targets)
    for i, name in enumerate(sorted(names)):
        (kept.parent / name).write_bytes(b"x")
        os.utime(kept.parent / name, (i, i))
    progress_file("file 9 None", tf, pixels, targets)
    assert sorted(p.name for p in kept.parent.iterdir()) == sorted(names)[3:]  # it does not pile up


@pytest.mark.full
def test_an_interrupted_calibration_goes_on(trained: Path, squares: list, tmp_path: Path) -> None:
    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.load.registry import load_source
    from edgeguard_converters.quantize import quantize

    pixels, _ = _sets(squares)
    graph = load_source(trained).export(Normalization(*PRESETS["tf"], "t"), (32, 32), tmp_path, tmp_path / "log")
    whole = quantize.calibrate(graph, pixels, tmp_path / "log")
    kept = quantize._kept_ranges(graph, pixels)
    assert not kept.exists()  # nothing is left when it has ended
    original, calls = quantize._keep, []

    def stop_after_two(calibration, path, done) -> None:
        original(calibration, path, done)
        calls.append(done)
        if len(calls) == 2:
            raise KeyboardInterrupt

    def note(calibration, path, done) -> None:
        calls.append(done)
        original(calibration, path, done)

    quantize._keep = stop_after_two
    try:
        with pytest.raises(KeyboardInterrupt):
            quantize.calibrate(graph, pixels, tmp_path / "log")
    finally:
        quantize._keep = note
    assert kept.is_file()
    try:
        again = quantize.calibrate(graph, pixels, tmp_path / "log")
    finally:
        quantize._keep = original
    assert calls[:3] == [16, 32, 48]  # the third chunk came next, not the first
    for name, found in whole.ranges.items():
        assert np.array_equal(found["min"], again.ranges[name]["min"]), name
        assert np.array_equal(found["max"], again.ranges[name]["max"]), name


def test_a_file_that_lost_accuracy_in_fine_tuning_is_refused() -> None:
    from edgeguard.model.contract import Contract, InputSpec
    from edgeguard_converters.verify.gates import Thresholds, check_gates

    labels = np.arange(200) % 4
    right = np.eye(4, dtype=np.float32)[labels]
    half = right.copy()
    half[::2] = np.roll(half[::2], 1, axis=1)
    known: Any = {"contract": Contract(InputSpec(32, 32)), "labels": labels, "thresholds": Thresholds()}

    def failures(given: np.ndarray, file: np.ndarray, fine_tuned: bool) -> tuple[str, ...]:
        reference = (given,) if fine_tuned else None
        return check_gates((file,), (file,), (file,), **known, reference=reference).failures

    (said,) = failures(right, half, True)
    assert said == "accuracy gate: 50.0% after fine-tuning, 100.0% as it was given"
    assert failures(half, right, True) == failures(right, right, True) == failures(right, half, False) == ()
    report = check_gates((half,), (half,), (half,), **known, reference=(right,))
    assert (report.float_top1, report.int8_top1) == (1.0, 0.5)
