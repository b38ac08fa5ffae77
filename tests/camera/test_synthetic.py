import time

import numpy as np
import pytest

from edgeguard.camera import Captured, open_source
from edgeguard.errors import InputError


def test_the_same_scenes_for_the_same_seed() -> None:
    def frames(seed: int) -> list[np.ndarray]:
        items = open_source(f"synthetic:cards?frames=3&seed={seed}&width=320&height=240").frames()
        return [item.rgb for item in items if isinstance(item, Captured) and item.rgb is not None]

    once, again, other = frames(1), frames(1), frames(2)
    assert len(once) == 3 and once[0].shape == (240, 320, 3)
    assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True)) and not np.array_equal(once[0], other[0])


def test_pace_and_end() -> None:
    source = open_source("synthetic:cards?fps=20&width=64&height=64")
    began, frames = time.monotonic(), source.frames()
    for _ in range(5):
        next(frames)
    assert source.live and 0.2 <= time.monotonic() - began < 2 and source.applied.fps == 20
    source.close()
    assert next(frames, None) is None


@pytest.mark.parametrize(("spec", "said"), [("colour=1", "unknown key 'colour'"), ("fps=a", "wants a number"),
                                            ("width=1", "width is 64 to 4096")])  # fmt: skip
def test_bad_specifications(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        open_source(f"synthetic:cards?{spec}")
    with pytest.raises(InputError, match="synthetic:boats is not known"):
        open_source("synthetic:boats")
