"""What the tests of evaluation share: the bundled card model and pictures of its cards on disk."""

from pathlib import Path

import cv2
import pytest

from edgeguard.demo.assets import bundled_model
from edgeguard.scene.views import render, stand_in_views

torch = pytest.importorskip("torch", reason="needs torch, from the attack or the convert extra")
torch.set_num_threads(1)  # tests run beside each other


@pytest.fixture(scope="session")
def card_model() -> Path:
    """The bundled int8 classifier, guard `fd` on the frame."""
    return bundled_model()


@pytest.fixture(scope="session")
def card_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 rendered views in class folders."""
    folder = tmp_path_factory.mktemp("cards")
    for index, view in enumerate(stand_in_views(24)):
        if view.card is None:
            continue
        (folder / view.card).mkdir(exist_ok=True)
        assert cv2.imwrite(str(folder / view.card / f"{index}.png"), render(view, 160, 120)[:, :, ::-1])
    return folder
