"""Our certificates against another library's on the same net, and against an attack inside the radius."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from smoothing_attack import attacked, counted

from edgeguard.differentiable.guard_layer import to_levels
from edgeguard.smoothing.certify import SmoothingPlan, certify
from edgeguard.smoothing.integer_noise import IntegerNoise

SIGMA, DRAWS = 0.1, 1000


class _Net(torch.nn.Module):
    """Three classes by random directions; takes levels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3 * 8 * 8, 3)

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        return self.layer((levels.flatten(1) - 128) / 64)


def _images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(64, 192, (count, 8, 8, 3)).astype(np.uint8)


@pytest.mark.full
def test_the_adversarial_robustness_toolbox_agrees() -> None:
    smoothing: Any = pytest.importorskip("art.estimators.certification.randomized_smoothing")
    net, images, plan = _Net(), _images(60), SmoothingPlan(SIGMA, DRAWS)

    class InUnits(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return net(pixels * 255)

    theirs = smoothing.PyTorchRandomizedSmoothing(
        InUnits(), loss=torch.nn.CrossEntropyLoss(), input_shape=(3, 8, 8), nb_classes=3, sample_size=100, scale=SIGMA,
        alpha=0.001, device_type="cpu",
    )  # fmt: skip
    np.random.seed(0)  # noqa: NPY002 - what the library draws from
    predictions, radii = theirs.certify(to_levels(images).numpy() / 255, n=DRAWS)

    @torch.no_grad()
    def classify(pixels: NDArray[np.uint8]) -> int:
        return int(net(to_levels(pixels[None])).argmax())

    same, differences = 0, []
    for number, image in enumerate(images):
        found = certify(classify, image, IntegerNoise(SIGMA), plan, np.random.default_rng(number))
        same += (-1 if found.prediction is None else found.prediction) == predictions[number]
        if found.radius is not None and predictions[number] == found.prediction:
            differences.append(abs(found.radius - radii[number]) / SIGMA)
    assert same >= 0.95 * len(images) and len(differences) > 20
    assert float(np.median(differences)) < 0.15  # sampling error of 1,000 draws


def test_an_attack_inside_the_radius_changes_no_answer() -> None:
    found = counted(_Net(), _images(6), SIGMA, 200)  # type: ignore[arg-type]  # a double of a network
    assert found["certified"] >= 3 and found["changed"] == 0 and 0.5 < found["mean_share_of_radius"] < 1


def test_the_attack_stays_within_and_works_beyond() -> None:
    net, image = _Net(), _images(1)[0]
    label = int(net(to_levels(image[None])).argmax())
    near = attacked(net, image, label, 0.05, SIGMA, 0)
    assert 0 < np.linalg.norm(near.astype(float) - image) <= 0.05 * 255
    far = attacked(net, image, label, 20.0, SIGMA, 0)
    assert int(net(to_levels(far[None])).argmax()) != label
