"""Certification against a patch: three methods on a hand-made file whose answers are known."""

import json
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest
from commands import here
from model.made_regions import made_regions

from edgeguard.errors import DeviceError, InputError
from edgeguard.evaluate.certify.attack import PatchAttack, attack_pictures
from edgeguard.evaluate.certify.masked_votes import MaskedVotes
from edgeguard.evaluate.certify.methods import Judge, check_method, mask_set, sides_of
from edgeguard.evaluate.certify.table import certify_patches
from edgeguard.model import load_model
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.patch_certificate import PatchCertifier

SIZE = 16


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file that knows colors, and labelled pictures of them: strong ones, and weak ones on another color."""
    folder = tmp_path_factory.mktemp("colors")
    model = folder / "colors.tflite"
    model.write_bytes(made_regions(colors=True, size=SIZE))
    rng = np.random.default_rng(0)
    for color in range(3):
        (folder / "images" / str(color)).mkdir(parents=True)
        for number in range(4):
            picture = rng.integers(20, 60, (SIZE, SIZE, 3)) + 120 * np.eye(3)[color]
            if number == 3:  # barely a majority
                picture[:, : SIZE // 2 - 2] = 20 + 120 * np.eye(3)[(color + 1) % 3]
            rgb = np.clip(picture, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / "images" / str(color) / f"{number}.png"), rgb[..., ::-1])
    return model, folder / "images"


@pytest.mark.parametrize("method", ["one-pass", "hybrid", "masking"])
def test_strong_pictures_are_proven_and_weak_ones_are_not(made: tuple[Path, Path], method: Any) -> None:
    table = certify_patches(*made, method=method, shares=(2.4, 10), workers=1)
    assert [row.patch_px for row in table.rows] == [2, 5] == list(sides_of((2.4, 10), SIZE))
    small, large = table.rows
    assert small.n == small.plain == small.clean == 12
    assert 9 <= large.certified <= small.certified <= 12 and large.certified < 12
    assert small.inferences == (25 if method == "masking" else 1)  # masks at 5 different places along an axis
    low, high = small.to_dict()["certified_interval"]
    assert low < small.certified / 12 <= high


def test_masks_on_the_map_prove_as_brute_force_does(made: tuple[Path, Path]) -> None:
    """The theorem, tried: whatever the votes under one rectangle become, the label stays where it is proven."""
    certifier = PatchCertifier.of(ModelFile(made[0].read_bytes()), 1, SIZE, SIZE)
    masked, rng = MaskedVotes(certifier, 3), np.random.default_rng(1)
    proven = fell = 0
    for _ in range(60):
        votes = rng.integers(-128, 0, (8, 8, 3)) + rng.integers(0, 90) * np.eye(3, dtype=np.int64)[1]
        label = masked(votes)
        certified = masked.is_certified(votes, label)
        proven += certified
        for top, bottom, left, right in masked._rectangles():
            attacked = votes.copy()
            attacked[top:bottom, left:right] = np.where(np.arange(3) == (label + 1) % 3, 127, -128)
            changed = masked(attacked) != label
            assert not (changed and certified)
            fell += changed
    assert proven and fell


def test_lines_are_kept_and_gone_on_with(made: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "out" / "lines.jsonl"
    first = certify_patches(*made, method="one-pass", shares=(2.4,), workers=1, output=output)
    lines = output.read_text().splitlines()
    assert len(lines) == 13 and json.loads(lines[0])["method"] == "one-pass"
    poisoned = json.loads(lines[1]) | {"found": [[99, False, 1, 0.0]]}
    output.write_text("\n".join([lines[0], json.dumps(poisoned), *lines[2:8], lines[8][:20]]))
    steps: list[int] = []
    again = certify_patches(
        *made,
        method="one-pass",
        shares=(2.4,),
        workers=1,
        output=output,
        progress=lambda _, done, __: steps.append(done),
    )
    assert steps == [7, 8, 9, 10, 11, 12]
    assert again.rows[0].clean == first.rows[0].clean - 1  # the kept line was taken, the cut one made again
    assert len(output.read_text().splitlines()) == 13
    with pytest.raises(InputError, match="holds another measurement"):
        certify_patches(*made, method="hybrid", shares=(2.4,), workers=1, output=output)


@pytest.mark.parametrize("name", ["file/lines.jsonl", "a" * 300, "new/" + "a" * 300])
def test_an_output_that_cannot_be_is_refused_before_the_work(
    made: tuple[Path, Path], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    work = mock.Mock(side_effect=AssertionError("work was done"))
    monkeypatch.setattr("edgeguard.evaluate.certify.table.run_task", work)
    with pytest.raises(DeviceError, match="cannot write"):
        certify_patches(*made, method="one-pass", shares=(2.4,), workers=1, output=tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_image_that_changed_is_measured_again(made: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(made[1], tmp_path / "images")
    output = tmp_path / "lines.jsonl"
    certify_patches(made[0], tmp_path / "images", method="one-pass", shares=(2.4,), workers=1, output=output)
    shutil.copy(tmp_path / "images" / "0" / "0.png", tmp_path / "images" / "1" / "0.png")
    again = certify_patches(made[0], tmp_path / "images", method="one-pass", shares=(2.4,), workers=1, output=output)
    assert again.rows[0].plain == 11
    lines = output.read_text().splitlines()
    damaged = "\n".join([lines[0], lines[1][:20], *lines[2:]]) + "\n"
    output.write_text(damaged)
    with pytest.raises(InputError, match=r":2 is damaged"):
        certify_patches(made[0], tmp_path / "images", method="one-pass", shares=(2.4,), workers=1, output=output)
    assert output.read_text() == damaged, "what was measured after it is not lost"
    output.write_text("\n".join([lines[0], json.dumps({**json.loads(lines[1]), "found": 5})]) + "\n")
    with pytest.raises(InputError, match="holds a line that is none of ours"):
        certify_patches(made[0], tmp_path / "images", method="one-pass", shares=(2.4,), workers=1, output=output)


def test_attacks_change_no_proven_label_and_some_others(made: tuple[Path, Path]) -> None:
    model = load_model(made[0], threads=1)
    pictures, truths = [], []
    for path in sorted(made[1].rglob("*.png")):
        pictures.append(np.asarray(cv2.imread(str(path)), np.uint8)[..., ::-1])
        truths.append(int(path.parent.name))
    attack = PatchAttack(side=5, places=6, steps=12, restarts=1)
    found = attack_pictures(str(made[0]), model, np.stack(pictures), np.array(truths), attack)
    assert found.violations == 0 and found.certified >= 9
    assert found.uncertified == found.fallen == 12 - found.certified > 0  # the weak ones fall: the attack can win


def test_what_cannot_be_done_is_refused(made: tuple[Path, Path]) -> None:
    done = here("evaluate", "certify", str(made[0]), "--images", str(made[1]), "--method", "one-pas")
    assert done.returncode == 2 and "--method one-pas is none of one-pass, masking, hybrid" in done.stderr
    with pytest.raises(InputError, match="masks of 16 pixels against a patch of 5 cover the whole picture of 16"):
        mask_set(SIZE, 5, 1)
    with pytest.raises(InputError, match="a patch of 17 pixels is larger than the model's input, 16x16"):
        check_method(load_model(made[0], threads=1), Judge(str(made[0]), "one-pass", (17,)))


def test_a_file_without_votes_is_refused_by_name(made: tuple[Path, Path]) -> None:
    from edgeguard.demo.assets import bundled_model

    done = here("evaluate", "certify", str(bundled_model()), "--images", str(made[1]), "--method", "one-pass")
    assert done.returncode == 2 and "this file's contract claims none" in done.stderr


@pytest.mark.full
def test_the_command_prints_a_row_for_each_size(made: tuple[Path, Path]) -> None:
    words = ["evaluate", "certify", str(made[0]), "--images", str(made[1]), "--method", "one-pass", "--workers", "1"]
    done = here(*words, "--patch", "2.4", "--patch", "10", "--attack", "2")
    assert done.returncode == 0, done.stderr
    assert "one-pass    2 px (1.6 %)  clean 100.0" in done.stdout
    assert "2 px of the input hold any patch of 2 px of a frame of 16x16" in done.stdout
    assert "0 of 2 proven labels fell" in done.stdout
    rows = [json.loads(line) for line in here(*words, "--json").stdout.splitlines()]
    assert rows[0]["n"] == 12 and rows[0]["method"] == "one-pass"
