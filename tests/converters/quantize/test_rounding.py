"""Filters that are rounded against calibration pictures (`--round adaptive`)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeguard.errors import InputError
from edgeguard.guard import GuardProfile

pytestmark = pytest.mark.convert

MIXING = np.random.default_rng(0).normal(size=(24, 24))


def correlated(places: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, places, 24)) @ (MIXING[:4].T @ MIXING[:4] + 0.1 * np.eye(24))


def layer(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    exact = np.random.default_rng(seed).normal(size=(1, 5, 24))
    return exact, np.abs(exact).max(axis=2) / 127 * 16  # coarse: 4 bits and a half


def factor(x: np.ndarray) -> np.ndarray:
    spread = x.swapaxes(1, 2) @ x / x.shape[1] + 0.01 * np.eye(24)
    return np.linalg.cholesky(np.linalg.inv(spread)).swapaxes(1, 2)


def test_without_correlation_it_is_the_usual_rounding() -> None:
    from edgeguard_converters.quantize.rounding_fit import rounded_in_turn

    exact, scales = layer()
    found = rounded_in_turn(exact, scales, np.eye(24)[None])
    assert (found == np.round(exact / scales[..., None])).all()


def test_rounded_in_turn_the_sums_are_closer() -> None:
    from edgeguard_converters.quantize.rounding_fit import rounded_in_turn

    exact, scales = layer()
    x, other = correlated(400, 2), correlated(400, 3)
    levels = rounded_in_turn(exact, scales, factor(x))

    def error(levels: np.ndarray) -> float:
        return float((((levels * scales[..., None] - exact) @ other.swapaxes(1, 2)) ** 2).mean())

    assert error(levels) < 0.3 * error(np.round(exact / scales[..., None]))


def test_blocks_of_columns_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeguard_converters.quantize import rounding_fit

    exact, scales = layer()
    whole = rounding_fit.rounded_in_turn(exact, scales, factor(correlated(400, 2)))
    monkeypatch.setattr(rounding_fit, "_BLOCK", 7)
    assert (rounding_fit.rounded_in_turn(exact, scales, factor(correlated(400, 2))) == whole).all()


def test_inputs_with_errors_are_made_up_for() -> None:
    """The int8 inputs lack a quarter of what float has: larger weights and another bias give it back."""
    from edgeguard_converters.quantize.rounding_fit import Filters, Samples, fitted

    exact, _ = layer()
    scales = np.abs(exact).max(axis=2) / 90
    usual = Filters(np.round(exact / scales[..., None]), scales, np.zeros((1, 5)))
    x = correlated(400, 2)
    samples = Samples(
        (0.75 * x + 0.1).astype(np.float32), (x @ exact.swapaxes(1, 2)).astype(np.float32), np.arange(400) % 4 == 0
    )
    found = fitted(exact, usual, samples, -np.inf, np.inf)

    def error(filters: Filters) -> float:
        said = samples.inputs @ (filters.levels * filters.scales[..., None]).swapaxes(1, 2) + filters.bias[:, None]
        return float(((said - samples.wanted) ** 2)[:, samples.held_out].mean())

    assert error(found) < 0.05 * error(usual)
    assert np.abs(found.levels).max() <= 127


def test_what_does_not_get_better_stays() -> None:
    from edgeguard_converters.quantize.rounding_fit import Filters, Samples, fitted

    exact = np.array([[[3.0, -5.0]]])
    usual = Filters(exact, np.ones((1, 1)), np.full((1, 1), 2.0))
    x = np.random.default_rng(0).normal(size=(1, 80, 2)).astype(np.float32)
    wanted = (x @ exact.swapaxes(1, 2) + 2).astype(np.float32)
    found = fitted(exact, usual, Samples(x, wanted, np.arange(80) % 4 == 0), 0.0, 6.0)
    assert (found.levels == usual.levels).all() and (found.bias == usual.bias).all()


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("depthwise", [True, False])
@pytest.mark.parametrize(("stride", "dilation"), [((1, 1), (1, 1)), ((2, 1), (1, 2)), ((2, 2), (1, 1))])
def test_the_windows_are_those_of_a_convolution(
    same: bool, depthwise: bool, stride: tuple[int, int], dilation: tuple[int, int]
) -> None:
    import torch

    from edgeguard_converters.quantize.patches import Windows

    rng = np.random.default_rng(0)
    features = rng.normal(size=(1, 9, 8, 3)).astype(np.float32)
    windows = Windows(depthwise, False, 2 if depthwise else 1, (3, 2), stride, dilation, same, 0.0, 6.0)
    count = windows.places(features)
    patches = windows.at(features, np.arange(count))
    filters = rng.normal(size=(len(patches), 4 if not depthwise else 1, patches.shape[2])).astype(np.float32)
    found = (patches @ filters.swapaxes(1, 2)).transpose(1, 0, 2).reshape(count, -1)

    x = torch.from_numpy(features).permute(0, 3, 1, 2)
    if same:
        outs = [-(-side // s) for side, s in zip((9, 8), stride, strict=True)]
        totals = [
            max((out - 1) * s + (k - 1) * d + 1 - side, 0)
            for side, out, s, k, d in zip((9, 8), outs, stride, (3, 2), dilation, strict=True)
        ]
        top, left = (total // 2 for total in totals)
        x = torch.nn.functional.pad(x, (left, totals[1] - left, top, totals[0] - top))
    weights = torch.from_numpy(filters.reshape(-1, 3, 2, 1 if depthwise else 3)).permute(0, 3, 1, 2)
    expected = torch.nn.functional.conv2d(x, weights, stride=stride, dilation=dilation, groups=3 if depthwise else 1)
    assert count == expected.shape[2] * expected.shape[3]
    assert np.allclose(found, expected[0].flatten(1).T.numpy(), atol=1e-4)


@pytest.mark.full
def test_a_conversion_with_it(trained: Path, squares: list, fd: GuardProfile, tmp_path: Path) -> None:
    """Better behind a guard, the same filters in another order of images, and the contract tells."""
    from converters.in_process import convert

    from edgeguard_converters.graph.tflite_graph import TfliteGraph
    from edgeguard_converters.options import Options
    from edgeguard_converters.quantize.weights import filter_operators

    def filters(name: str) -> list[bytes]:
        model = TfliteGraph((tmp_path / name).read_bytes()).model
        tensors = [model.subgraphs[0].tensors[op.inputs[i]] for op in filter_operators(model) for i in (1, 2)]
        return [bytes(model.buffers[tensor.buffer].data) for tensor in tensors]

    usual = Options(guard=fd, preprocess="tf", crop="none")
    adaptive = replace(usual, rounding="adaptive")
    before = convert(trained, tmp_path / "a.tflite", squares[:60], squares[60:], usual)
    after = convert(trained, tmp_path / "b.tflite", squares[:60], squares[60:], adaptive)
    again = convert(trained, tmp_path / "c.tflite", squares[:60][::-1], squares[60:], adaptive)
    assert after.report.snr_db > before.report.snr_db
    assert abs(after.bytes - before.bytes) < 200  # the older filters are not left inside
    assert "rounding" not in before.contract.gates and after.contract.gates["rounding"] == "adaptive"
    assert filters("b.tflite") == filters("c.tflite") != filters("a.tflite")
    assert again.report.snr_db == after.report.snr_db
    with pytest.raises(InputError, match="--round adaptive needs at least 8 calibration images, got 5"):
        convert(trained, tmp_path / "d.tflite", squares[:5], squares[60:], adaptive)
    assert not (tmp_path / "d.tflite").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounding": "up"}, "--round must be auto, nearest or adaptive"),
        ({"rounding": "adaptive", "precision": "float16"}, "--round adaptive is for int8"),
        ({"rounding": "adaptive", "auto_mixed": True}, "--auto-mixed looks for layers with the usual rounding"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict, message: str) -> None:
    from edgeguard_converters.options import Options, check_options

    with pytest.raises(InputError, match=message):
        check_options(Options(preprocess="tf", **changes))
