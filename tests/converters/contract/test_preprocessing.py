"""What is said where pictures cannot tell how levels become numbers."""

import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = pytest.mark.convert
pytest.importorskip("ai_edge_quantizer", reason="the convert extra is not installed")

from edgeguard.errors import InputError  # noqa: E402
from edgeguard_converters.contract.preprocessing import guess  # noqa: E402
from edgeguard_converters.graph.normalization import PRESETS  # noqa: E402


@pytest.mark.parametrize(
    ("images", "labeled", "said"),
    [
        (400, True, r"from 200 of the 400 --eval images, evenly chosen \(accuracy: "),
        (100, True, r"from 100 --eval images \(accuracy: "),
        (75, False, r"from 75 --calibrate images \(mutual information: .*labeled images \(--eval\) may tell"),
    ],
)
def test_the_images_that_were_looked_at_are_named(images: int, labeled: bool, said: str) -> None:
    def same(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.tile(np.array([0.0, 1.0], np.float32), (len(pixels), 1))

    pixels, labels = np.zeros((images, 2, 2, 3), np.uint8), np.arange(images) % 2 if labeled else None
    with pytest.raises(InputError, match=f"the preprocessing cannot be told {said}"):
        guess(same, pixels, labels)


def test_only_what_a_gray_model_can_take_is_named() -> None:
    gray = {name: preset for name, preset in PRESETS.items() if name != "imagenet"}
    with pytest.raises(InputError, match=r"give --preprocess [a-z|]+ or") as refused:
        guess(lambda pixels: np.zeros((len(pixels), 2), np.float32), np.zeros((9, 2, 2, 1), np.uint8), None, gray)
    assert "imagenet" not in str(refused.value) and "unit = 0..1" in str(refused.value)
