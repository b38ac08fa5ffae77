"""Searched weight scales and kept activation ranges, on their own."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.convert


def error(filters: np.ndarray, scales: np.ndarray) -> np.ndarray:
    levels = np.clip(np.round(filters / scales[:, None]), -127, 127)
    return ((levels * scales[:, None] - filters) ** 2).sum(axis=1)


@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 1000))
def test_never_worse_than_the_usual_scale(rows: int, columns: int, seed: int) -> None:
    from edgeguard_converters.quantize.weights import searched_scales

    filters = np.random.default_rng(seed).normal(size=(rows, columns))
    found = searched_scales(filters)
    assert (error(filters, found) <= error(filters, np.abs(filters).max(axis=1) / 127) + 1e-12).all()
    assert (np.abs(filters / found[:, None]) <= 127.5).all()  # nothing is clipped


@given(st.integers(2, 127), st.floats(1e-4, 1e2), st.integers(0, 1000))
def test_weights_that_were_quantised_once_are_kept_exactly(largest: int, step: float, seed: int) -> None:
    from edgeguard_converters.quantize.weights import grid_step, searched_scales

    levels = np.random.default_rng(seed).integers(-largest, largest + 1, (5, 60))
    levels[0, :3] = 1, 2, largest
    filters = (levels * step).astype(np.float32).astype(np.float64)
    assert grid_step(filters) == pytest.approx(step, rel=1e-5)
    assert error(filters, searched_scales(filters)).max() < (1e-4 * step * largest) ** 2 * 60


def test_plain_float_weights_have_no_grid() -> None:
    from edgeguard_converters.quantize.weights import grid_step

    assert grid_step(np.random.default_rng(0).normal(size=(8, 100))) is None
    assert grid_step(np.zeros((2, 3))) is None


def test_zero_filters_get_a_sane_scale() -> None:
    from edgeguard_converters.quantize.weights import searched_scales

    assert (searched_scales(np.zeros((3, 4))) > 1e-4).all()


def test_the_methods_keep_what_they_say() -> None:
    from edgeguard_converters.quantize.ranges import Histogram, kept_range

    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=500_000), [40.0, -30.0]])
    found = Histogram(-30.0, 40.0, np.histogram(values, bins=2048, range=(-30, 40))[0])
    assert kept_range(found, "minmax") == (-30, 40)
    low, high = kept_range(found, "percentile")
    assert -6 < low < -4 and 4 < high < 6

    def cost(low: float, high: float) -> float:
        step = (high - low) / 255
        kept = np.clip(np.round(values / step) * step, low, high)
        return float(((values - kept) ** 2).mean())

    assert cost(*kept_range(found, "mse")) < 0.6 * cost(-30, 40)


def test_zero_stays_inside_every_range() -> None:
    from edgeguard_converters.quantize.ranges import METHODS, Histogram, kept_range

    for low, high in ((2.0, 5.0), (-5.0, -2.0), (0.0, 6.0)):
        for method in METHODS:
            kept = kept_range(Histogram(low, high, np.ones(2048, np.int64)), method)
            assert kept[0] <= 0 <= kept[1] and kept[0] < kept[1]


@pytest.mark.full
def test_a_model_that_was_quantised_before_keeps_its_weights(tmp_path: Path) -> None:
    """A net whose weights lie on a uint8 grid: with the searched scales its int8 outputs are closer to float."""
    import torch
    from converters.models import SIDE, tinted_squares, train_residual

    from edgeguard.statistics import snr_db
    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.graph.tflite_graph import TfliteGraph
    from edgeguard_converters.load.registry import load_source
    from edgeguard_converters.quantize.quantize import calibrate, quantize_int8, raw_int8

    net = train_residual()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
                step = module.weight.abs().max() / 100
                module.weight.copy_(torch.round(module.weight / step) * step)
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3, SIDE, SIDE),)), str(tmp_path / "m.pt2"))
    log = tmp_path / "log"
    source = load_source(tmp_path / "m.pt2")
    graph = source.export(Normalization(*PRESETS["tf"], "t"), (SIDE, SIDE), tmp_path, log)
    pixels = tinted_squares(40, 3)[0][:, 8:40, 8:40]
    calibration = calibrate(graph, pixels[:20], log)
    expected = graph.outputs(pixels[20:])[0]

    def snr(quantized: TfliteGraph) -> float:
        return snr_db(expected, quantized.with_integer_borders(log).outputs(pixels[20:], lambda image: image)[0])

    plain, refined = raw_int8(graph, calibration, log), quantize_int8(graph, calibration, log)
    assert snr(refined) > snr(plain.with_int8_versions()) - 0.1
    assert all(
        np.isfinite(snr(quantize_int8(graph, calibration, log, method=m))) for m in ("minmax", "percentile", "mse")
    )
