"""Sets of many pictures that are alike, and of many classes: what an audit takes for them has a bound."""

import tracemalloc
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("cryptography", reason="the data extra is not installed")

from edgeguard.audit import duplicates, features, images
from edgeguard.audit.duplicates import exact_duplicates, near_pairs
from edgeguard.audit.images import sample_of
from edgeguard.errors import InputError
from edgeguard_converters.training_data.image_facts import ImageFacts
from edgeguard_converters.training_data.scan import ScannedImage

LIMITS = {"duplicates": 0.1, "label-conflicts": 0.0, "leaks": 0.0}


def test_pictures_that_all_look_alike_are_compared_with_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """10^5 pictures of a film are 5 * 10^9 pairs, and each was looked at, and kept."""
    rng = np.random.default_rng(0)
    pixels = np.clip(rng.integers(0, 200, (32, 32, 3)) + rng.integers(0, 9, (200, 32, 32, 3)), 0, 255).astype(np.uint8)
    hashes = np.full(200, 77, np.uint64)
    for place in (10, 150):  # two that are something else
        pixels[place], hashes[place] = rng.integers(0, 255, (32, 32, 3)), rng.integers(0, 2**63)
    with monkeypatch.context() as small:
        small.setattr(duplicates, "_MOST_CANDIDATES", 1000)
        small.setattr(duplicates, "_COMPARED", 2000)
        with mock.patch.object(duplicates, "_best_correlation", wraps=duplicates._best_correlation) as compared:
            few = near_pairs(pixels, hashes)
    looked_at = sum(len(call.args[1]) for call in compared.call_args_list)
    assert looked_at <= 2000 + 20 * 200 < 200 * 199 / 2
    assert {pair.second for pair in few} == set(range(1, 200)) - {10, 150}
    assert len({(pair.first, pair.second) for pair in few}) == len(few)


@pytest.mark.parametrize("compared", [64, 3000, 1 << 24])
def test_the_pairs_do_not_hang_on_how_many_are_compared_at_a_time(
    compared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (120, 32, 32, 3)).astype(np.uint8)
    pixels[60:] = np.clip(pixels[:60].astype(int) + 1, 0, 255)
    hashes = np.concatenate([rng.integers(0, 2**63, 60, np.uint64)] * 2)
    wanted = near_pairs(pixels, hashes)
    monkeypatch.setattr(duplicates, "_COMPARED", compared)
    found = near_pairs(pixels, hashes)
    key = lambda pair: (pair.first, pair.second)  # noqa: E731 - for two sorts
    assert sorted(map(key, found)) == sorted(map(key, wanted)) and len(wanted) >= 60


def test_a_picture_in_countless_classes_is_one_line_each() -> None:
    """Each line named all 30,000 of them: 600 MB of results."""
    facts = ImageFacts(1, "00" * 32, "11" * 32)
    found = exact_duplicates([ScannedImage(f"c{n:05}/a.png", f"c{n:05}", facts) for n in range(30_000)], LIMITS)
    conflicts = next(one for one in found if one.check == "label-conflicts")
    assert conflicts.value == 30_000 and max(len(one.why) for one in conflicts.suspects) < 100
    assert conflicts.suspects[0].why.endswith("c00000, c00001, c00002, c00003, c00004 and 29995 more")


def test_too_many_classes_are_refused_before_pictures_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of 10^4 classes by 10^4 pictures, 25 times, took 20 GB."""
    monkeypatch.setattr(images, "_MOST_CLASSES", 3)
    facts = ImageFacts(1, "00" * 32)
    with pytest.raises(InputError, match="holds 4 classes; the audit compares at most 3"):
        sample_of(tmp_path, [ScannedImage(f"c{n}/a.png", f"c{n}", facts) for n in range(4)])


def test_temperatures_are_tried_one_after_the_other() -> None:
    scores = np.random.default_rng(0).normal(size=(1000, 500)).astype(np.float32)
    tracemalloc.start()
    found = features.probabilities(scores, np.arange(1000) % 500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * found.nbytes
