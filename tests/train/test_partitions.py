"""A changed image touches one net; votes prove what they say."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import here
from needs import needs
from stripes import write_classes

needs("torch", "litert_torch", extras="the extra convert")

import torch  # noqa: E402

from edgeguard.evaluate.experiments.partition_certification import certified_radii  # noqa: E402
from edgeguard.train.partitions import part_of  # noqa: E402

pytestmark = pytest.mark.convert


def _worst(votes: list[int], changes: int) -> int:
    """The winner where an attacker turns so many votes of the winner into votes of the strongest other class."""
    first = int(np.argmax(votes))
    for other in range(len(votes)):
        turned = list(votes)
        taken = min(changes, turned[first])
        turned[first] -= taken
        turned[other] += taken
        if other != first and int(np.argmax(turned)) != first:
            return int(np.argmax(turned))
    return first


def test_radii_are_those_of_every_attack() -> None:
    rng = np.random.default_rng(0)
    for votes in rng.multinomial(12, [0.5, 0.3, 0.2], 200).tolist():
        radius = int(certified_radii(np.array([votes]), np.array([int(np.argmax(votes))]))[0][0])
        assert _worst(votes, radius) == int(np.argmax(votes)) != _worst(votes, radius + 1)


def test_wrong_votes_survive_nothing() -> None:
    radii, right = certified_radii(np.array([[1, 9], [5, 5]]), np.array([0, 1]))
    assert radii.tolist() == [-1, -1] and not right.any()


def test_an_images_part_is_its_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (400, 4, 4, 3), np.uint8)
    counts = np.bincount([part_of(one, 5) for one in pictures], minlength=5)
    assert counts.min() > 50 and part_of(pictures[3], 5) == part_of(pictures[3].copy(), 5)


@pytest.mark.full
def test_one_added_image_changes_one_net(tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", 12)
    words = ("--model", "resnet8", "--epochs", 2, "--partitions", 3)
    assert here("train", "--data", data, "--output", tmp_path / "a", *words).returncode == 0
    done = here("train", "--data", data, "--output", tmp_path / "a", "--seed", 4, *words)
    assert done.returncode == 2 and "another training" in done.stderr
    found = here("evaluate", "certify", tmp_path / "a", "--images", data, "--partitions", "--json")
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["n"] == 36 and told["partitions"] == 3 and told["certified"]["0"][0] > 0.4
    alone = here("evaluate", "certify", tmp_path / "a", "--images", data / "test", "--partitions", "--json")
    assert json.loads(alone.stdout)["n"] == 36
    assert here("evaluate", "certify", tmp_path / "a", "--images", data, "--partitions", "--patch", 2).returncode == 2
    write_classes(tmp_path / "more", 1, parts=("train",), seed=77)
    (tmp_path / "more/train/along/000.png").rename(data / "train/along/new.png")
    assert here("train", "--data", data, "--output", tmp_path / "b", *words).returncode == 0
    nets = [[torch.load(tmp_path / run / f"partition-{n:04}.pt", weights_only=True) for n in range(3)] for run in "ab"]
    changed = [any(not torch.equal(a[name], b[name]) for name in a) for a, b in zip(*nets, strict=True)]
    assert sum(changed) == 1
