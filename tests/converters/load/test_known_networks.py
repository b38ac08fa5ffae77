"""Six of the sixty networks of `benchmarks/zoo/known_networks.py`, drawn by a seed, in the three forms."""

import random
import sys
from pathlib import Path

import pytest
from needs import needs

needs("torchvision", "timm", "onnxscript", extras="the extras zoo and onnx")

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from zoo.known_networks import FORMS, NAMES, SAME, rows_of  # noqa: E402

pytestmark = [pytest.mark.full, pytest.mark.convert]


@pytest.mark.parametrize("name", random.Random(1).sample(NAMES, 6))
def test_the_float_graph_answers_like_torch(name: str) -> None:
    for row in rows_of(name, list(FORMS), "float"):
        assert row["difference"] is not None and row["difference"] <= SAME, row


def test_there_are_thirty_of_each_library() -> None:
    assert len(set(NAMES)) == 60 and sum(name.startswith("timm:") for name in NAMES) == 30
