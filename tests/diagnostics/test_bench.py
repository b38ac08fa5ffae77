from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.demo.assets import bundled_model
from edgeguard.diagnostics.bench import SIZES, bench, frame_memory, stage_count, temperature_c
from edgeguard.guard import GuardProfile
from edgeguard.model import ContractGuard, load_model


@pytest.mark.full
def test_every_stage_is_timed(scene: NDArray[np.uint8]) -> None:
    from dataclasses import replace

    model = load_model(bundled_model(), threads=1)
    jpeg = ContractGuard(GuardProfile.preset("fd-jpeg"), "frame")
    for timed in (model, model.with_contract(replace(model.contract, guard=jpeg))):
        steps: list[str] = []
        report = bench(timed, scene, seconds=0.1, step=steps.append)
        assert len(steps) == len(report.timings) == stage_count(timed)
        assert {t.size for t in report.timings} == {"-", *(f"{w}x{h}" for w, h in SIZES)}
        assert all(0 < t.p50_ms <= t.p95_ms and t.rounds >= 5 for t in report.timings)
        assert all(rate > 0 for rate in report.frames_per_s.values()) and report.peak_memory_mb > 50
    assert any("requantised" in t.stage for t in report.timings)


def test_a_frame_takes_little_more_than_its_result() -> None:
    """Under 1.5 frames of additional memory at 1920x1080."""
    for name in ("fd", "fd-jpeg"):
        extra = frame_memory(GuardProfile.preset(name))
        if extra is not None:
            assert 0.5 < extra < 1.5


def test_the_hottest_sensor_counts(tmp_path: Path) -> None:
    assert temperature_c(tmp_path) is None
    for i, value in enumerate(("41000", "55500", "rubbish")):
        (tmp_path / f"thermal_zone{i}").mkdir()
        (tmp_path / f"thermal_zone{i}/temp").write_text(value + "\n")
    assert temperature_c(tmp_path) == 55.5
