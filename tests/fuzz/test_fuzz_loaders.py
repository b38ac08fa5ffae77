"""The fuzzer of the loaders, briefly: a few files of each format, each in a forked worker."""

import importlib.util
import os
import random
import sys
from pathlib import Path

import pytest

_NEEDED = ("torch", "onnx", "h5py", "safetensors")
pytestmark = [
    pytest.mark.convert,
    pytest.mark.full,
    pytest.mark.skipif(
        not os.environ.get("CI") and any(importlib.util.find_spec(name) is None for name in _NEEDED),
        reason="the extras convert, onnx and keras are not installed",
    ),
]

sys.path.insert(0, str(Path(__file__).parents[1]))
from fuzz.fuzz_loaders import load_everything, tried  # noqa: E402
from fuzz.model_files import FORMATS  # noqa: E402


@pytest.mark.parametrize("name", FORMATS)
def test_a_changed_file_is_refused_in_one_line_or_loads(name: str, tmp_path: Path) -> None:
    load_everything()
    kind, rng = FORMATS[name](), random.Random(3)
    for number in range(6):
        data = kind.changed(rng)
        outcome = tried(kind, data, tmp_path)
        assert not outcome.bad, f"file {number}: {outcome}"


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_seed_gives_the_same_files(name: str) -> None:
    kind = FORMATS[name]()
    first, again = random.Random(1), random.Random(1)
    if kind.suffix in (".h5", ".keras"):
        pytest.skip("HDF5 writes the time into a file")
    assert [kind.changed(first) for _ in range(3)] == [kind.changed(again) for _ in range(3)]
