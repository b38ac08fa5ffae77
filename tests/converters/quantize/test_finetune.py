"""Fine-tuning with fake quantisation: it mends a model that int8 hurts, and goes on where it was stopped."""

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


def test_it_mends_what_int8_hurts(squares: list) -> None:
    from converters.models import SIDE

    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.quantize.finetune import FakeQuantized, _observe, finetune

    source, (pixels, targets) = _hurt_source(), _sets(squares)
    normalization = Normalization(*PRESETS["tf"], "t")
    import torch

    from edgeguard_converters.load.split_boxes import exported

    def loss_when_rounded(candidate) -> float:
        module = exported(candidate.module, torch.zeros(1, 3, SIDE, SIDE))
        x = torch.from_numpy(normalization.apply(pixels)).permute(0, 3, 1, 2)
        with torch.no_grad():
            rounded = FakeQuantized(module, _observe(module, x[:40]))
            scores = torch.cat([torch.as_tensor(rounded.run(image[None])[0]).reshape(1, -1) for image in x])
        return float(torch.nn.functional.cross_entropy(scores, torch.from_numpy(targets)))

    before = loss_when_rounded(source)
    tuned, kept = finetune(source, normalization, pixels, targets=targets, epochs=3, size=(SIDE, SIDE))
    assert kept.is_file() and loss_when_rounded(tuned) < 0.8 * before


@pytest.mark.full
def test_an_interrupted_run_goes_on(squares: list) -> None:
    from converters.models import SIDE

    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.quantize.finetune import finetune

    (pixels, targets), normalization = _sets(squares[:32]), Normalization(*PRESETS["tf"], "t")
    epochs: list[str] = []

    def stop_in_the_third(name: str) -> None:
        epochs.append(name)
        if len(epochs) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(
            _hurt_source(), normalization, pixels, targets=targets, epochs=4, size=(SIDE, SIDE), step=stop_in_the_third
        )
    resumed, kept = finetune(
        _hurt_source(), normalization, pixels, targets=targets, epochs=4, size=(SIDE, SIDE), step=epochs.append
    )
    assert epochs[3:] == ["fine-tuning, epoch 3 of 4", "fine-tuning, epoch 4 of 4"]
    kept.unlink()
    whole, _ = finetune(_hurt_source(), normalization, pixels, targets=targets, epochs=4, size=(SIDE, SIDE))
    for a, b in zip(resumed.module.state_dict().values(), whole.module.state_dict().values(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=1e-6)


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
