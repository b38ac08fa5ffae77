"""A region on the codec's grid: the same bytes as sanitising the whole frame and cropping."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeguard.camera import open_source
from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError
from edgeguard.guard import GuardProfile, Sanitizer, encode_jpeg, sanitize_jpeg
from edgeguard.guard.sanitizer import frame_to_tensor
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.model import ContractGuard, load_model
from edgeguard.pipeline import Pipeline, Region

REGION = Region(13, 21, 150, 130)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("guard", "grid"), [("fd", 8), ("fd-jpeg", 16)])
def test_the_model_sees_the_crop_of_the_sanitised_frame(
    tmp_path: Path, scene: NDArray[np.uint8], guard: str, grid: int, keep: bool
) -> None:
    data, profile = encode_jpeg(scene, GuardProfile.preset("jpeg:90")), GuardProfile.preset(guard)
    (tmp_path / "a.jpg").write_bytes(data)
    model = load_model(bundled_model())
    model = model.with_contract(replace(model.contract, guard=ContractGuard(profile, "frame")))
    with Pipeline(open_source(tmp_path), model, region=REGION, keep_frames=keep) as pipeline:
        result = next(iter(pipeline))
    snapped = REGION.snapped(grid)
    assert pipeline.stages.region == snapped and snapped.x % grid == snapped.width % grid == 0
    decoded = Sanitizer(profile)(decode_rgb(data)) if guard == "fd" else sanitize_jpeg(data, profile)
    whole = np.asarray(decoded, np.uint8)
    tensor = frame_to_tensor(snapped.of(whole), model.contract, None)
    expected = model.read(model.run(tensor), snapped.width, snapped.height)
    assert result.prediction == expected
    assert (result.rgb is not None) == keep and (result.rgb is None or np.array_equal(result.rgb, whole))


def test_bad_regions(tmp_path: Path, scene: NDArray[np.uint8]) -> None:
    for text in ("1,2,3", "a,b,c,d", "-1,0,5,5", "0,0,0,5"):
        with pytest.raises(InputError, match="a region"):
            Region.parse(text)
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(scene, GuardProfile.preset("jpeg:90")))
    with Pipeline(open_source(tmp_path), load_model(bundled_model()), region=Region(5000, 0, 8, 8)) as pipeline:
        assert list(pipeline) == []
    assert pipeline.counters.lost == 1 and "the region starts at 5000,0, outside" in pipeline.losses[0].reason
