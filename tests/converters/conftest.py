"""Models that several converter tests share."""

import gc
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgeguard.guard import GuardProfile

if TYPE_CHECKING:
    from edgeguard_converters.options import Options


@pytest.fixture(scope="session", autouse=True)
def _the_exporter_is_no_garbage() -> None:
    """Conversions collect garbage: a sixth of their time here, if the exporter's million objects are looked at."""
    if importlib.util.find_spec("litert_torch") is not None:
        import litert_torch  # noqa: F401

        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def squares() -> list:
    """120 labelled pictures of four classes."""
    from converters.models import tinted_squares

    from edgeguard.datasets.images import LabeledImage

    pictures, labels = tinted_squares(120, 7)
    return [LabeledImage(f"{i}.png", p, int(k)) for i, (p, k) in enumerate(zip(pictures, labels, strict=True))]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained classifier as a .pt2."""
    import torch
    from converters.models import SIDE, train_residual

    path = tmp_path_factory.mktemp("trained") / "residual.pt2"
    torch.export.save(torch.export.export(train_residual(), (torch.zeros(1, 3, SIDE, SIDE),)), path)
    return path


@pytest.fixture(scope="session")
def fd() -> GuardProfile:
    """The default profile."""
    return GuardProfile.preset("fd")


@pytest.fixture(scope="session")
def options(fd: GuardProfile) -> "Options":
    """For the small classifier."""
    from edgeguard_converters.options import Options

    return Options(guard=fd, preprocess="tf", crop="none")


@pytest.fixture(scope="session")
def converted(trained: Path, squares: list, options: "Options") -> Path:
    """The small classifier behind the default profile."""
    from converters.in_process import convert

    path = trained.with_suffix(".tflite")
    convert(trained, path, squares[:60], squares[60:], options)
    return path
