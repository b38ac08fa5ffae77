"""The folder of an evaluation of poisons may come from somebody else."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError

pytest.importorskip("torch")

from edgeguard.poison.evaluate import _is_outcome_of
from edgeguard.poison.kept import JsonKept, PoisonsKept, kept_poison
from edgeguard.poison.lock import held
from edgeguard.poison.make import Poison
from edgeguard.poison.plan import Plan, arm_of
from edgeguard.poison.units import Aim, Outcome, Training

IMAGES = np.zeros((4, 8, 8, 3), np.uint8)


@pytest.mark.parametrize("text", ["[]", "5", "{", "[" * 100_000, '{"n": 1e999}', '{"n": ' + "9" * 400 + "}"])
def test_a_kept_result_of_somebody_else_counts_as_none(tmp_path: Path, text: str) -> None:
    kept = JsonKept(tmp_path)
    kept.save("a", {"n": 1})
    assert kept.load("a") == {"n": 1}
    (tmp_path / "a.json").write_text(text)
    assert kept.load("a") is None


@pytest.mark.parametrize(
    ("rows", "targets", "shape"),
    [([4], [0], (1, 8, 8, 3)), ([-1], [0], (1, 8, 8, 3)), ([0], [3], (1, 8, 8, 3)), ([0], [0], (1, 9, 8, 3)),
     ([0, 1], [0], (2, 8, 8, 3)), ([0.5], [0], (1, 8, 8, 3))],
)  # fmt: skip
def test_a_kept_poison_fits_the_images_or_is_refused(
    tmp_path: Path, rows: list[float], targets: list[int], shape: tuple[int, ...]
) -> None:
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    np.savez(good, rows=np.array([1, 3]), targets=np.array([0, 2]), images=np.zeros((2, 8, 8, 3), np.uint8))
    assert kept_poison(good, IMAGES, 3).rows.tolist() == [1, 3]
    np.savez(bad, rows=np.array(rows), targets=np.array(targets), images=np.zeros(shape, np.uint8))
    with pytest.raises(InputError, match="is damaged"):
        kept_poison(bad, IMAGES, 3)
    bad.write_bytes(b"half")
    with pytest.raises(InputError, match=r"bad\.npz is damaged"):
        kept_poison(bad, IMAGES, 3)


@pytest.mark.parametrize("text", ["{}", '{"facts": 5}', '{"facts": {"matching_loss": "x"}}', "half"])
def test_a_kept_poison_whose_facts_cannot_be_is_made_again(tmp_path: Path, text: str) -> None:
    kept = PoisonsKept(tmp_path)
    kept.save("a", Poison(np.array([1]), IMAGES[:1], np.array([0]), {"matching_loss": 0.5, "pixels": []}))
    assert kept.has("a") and kept.load("a", IMAGES, 3).facts == {"matching_loss": 0.5}
    (tmp_path / "a.json").write_text(text)
    assert not kept.has("a")


@pytest.mark.parametrize(
    "change",
    [
        {"n": 0},
        {"hits": -1},
        {"hits": 11},
        {"success": 2},
        {"arm": "poisoned"},
        {"victim": 1},
        {"poison": 3},
        {"n": "x"},
    ],
)
def test_a_kept_training_that_cannot_be_is_done_again(change: dict[str, object]) -> None:
    """Its counts are divided by: `poison evaluate` ended in exit code 70."""
    plan = Plan(data="x")
    job = Training(plan, "f", Aim(0), arm_of("clean"), 0)
    kept = asdict(Outcome("clean", 0, 0, None, None, 1, 1, 5, 10))
    assert _is_outcome_of(job, kept)
    assert not _is_outcome_of(job, {**kept, **change})


def test_a_lock_that_is_a_link_is_not_made_where_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "a.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"), held(tmp_path / "a.lock"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_results_of_a_profile_that_changed_are_not_taken_for_those_of_the_new_one(tmp_path: Path) -> None:
    keys = set()
    for name in ("jpeg:50", "jpeg:60", "jpeg:50"):
        GuardProfile.preset(name).save(tmp_path / "mine.toml")
        job = Training(Plan(data="x"), "f", Aim(0), arm_of(f"adaptive:{tmp_path}/mine.toml"), 0)
        assert job.brewing is not None
        keys |= {job.key, job.brewing.key, job.brewing.surrogate.work.name}
    assert len(keys) == 6
