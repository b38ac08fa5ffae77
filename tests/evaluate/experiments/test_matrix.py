from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from edgeguard.errors import InputError

torch = pytest.importorskip("torch")
pytest.importorskip("pyautoattack")

from edgeguard.errors import ProfileError  # noqa: E402
from edgeguard.evaluate.experiments import matrix as matrix_module  # noqa: E402
from edgeguard.evaluate.experiments.matrix import WHITE, MatrixPlan, matrix  # noqa: E402
from edgeguard.evaluate.experiments.matrix_jobs import MatrixJob, Part, PartStore, is_part_of, run_matrix_job  # noqa: E402
from edgeguard.evaluate.reports.matrix_report import differences, lines, page  # noqa: E402
from edgeguard.evaluate.reports.results import Cell, read_results  # noqa: E402
from edgeguard.train.config import TrainConfig  # noqa: E402
from edgeguard.train.restore import Restored, restored  # noqa: E402
from edgeguard.train.run import train  # noqa: E402

PLAN = MatrixPlan(("none", "fd"), (4,), (8,), images=18, steps=4, queries=20, batch=9)


@pytest.fixture(scope="module")
def run(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Restored:
    folder = tmp_path_factory.mktemp("runs") / "plain"
    config = TrainConfig(
        data=str(stripes), width=8, batch=24, epochs=8, learning_rate=0.05, precision="float32", shift=2, ema=0.8,
        codec="fd",
    )  # fmt: skip
    train(config, folder)
    return restored(folder)


@pytest.mark.full
def test_cells_agree_with_asking_the_model(run: Restored, stripes: Path, tmp_path: Path) -> None:
    found = matrix([run], str(stripes), PLAN, tmp_path, workers=1)
    cells = {(c.attack, c.defence): c for c in found.cells}
    assert set(cells) == {(a, d) for a in ("clean", "fgsm", "deepfool", WHITE) for d in ("none", "fd")}
    assert all(c.n == 18 and c.protocol == "matrix:plain" for c in found.cells)
    assert found.source == "18 test images of 3 classes, not JPEG-coded"
    from edgeguard.differentiable.guard_layer import to_levels
    from edgeguard.guard import GuardProfile, Sanitizer
    from edgeguard.train.restore import balanced_test_part

    part, _, _ = balanced_test_part(run.config, str(stripes), 18)
    sanitizer = Sanitizer(GuardProfile.preset("fd"))
    seen = np.stack([sanitizer(image) for image in part.pixels(np.arange(18), 32)])
    with torch.no_grad():
        right = run.network((to_levels(seen) - 127.5) / 127.5).argmax(1).numpy() == part.targets
    assert cells["clean", "fd"].correct_images == tuple(np.flatnonzero(right))
    assert cells["clean", "fd"].accuracy > 0.8
    assert cells[WHITE, "fd"].correct <= cells["clean", "fd"].correct
    assert cells[WHITE, "none"].correct <= cells["fgsm", "none"].correct
    assert cells["deepfool", "none"].correct == 0 and cells["deepfool", "none"].mean_l2 is not None
    assert (
        sum(int(part.rsplit(" ", 1)[1]) for part in cells[WHITE, "fd"].note.split(", "))
        == 18 - cells[WHITE, "fd"].correct
    )
    assert read_results(tmp_path) == list(found.cells)
    text = "\n".join(lines(found.cells))
    assert "white box" in text and "plain" in text
    html = page(found.cells, found.source, [(run.name, run.how)])
    assert "<script" not in html and "http" not in html and "through fd" in html


@pytest.mark.full
def test_gray_attacks_of_the_first_model_are_shown_to_the_others(run: Restored, stripes: Path, tmp_path: Path) -> None:
    other = Restored("other", run.config, run.labels, run.network, run.sha256)
    found = matrix([run, other], str(stripes), replace(PLAN, white_eps_8bit=()), tmp_path)
    mine = {(c.attack, c.eps_8bit, c.defence): c for c in found.cells if c.protocol == "matrix:other"}
    assert {attack for attack, _, _ in mine} == {"clean", "fgsm", "deepfool", "fgsm of plain", "deepfool of plain"}
    for codec in PLAN.codecs:  # the two networks are one here: their attacks are the same images
        assert mine["fgsm of plain", 4, codec].correct_images == mine["fgsm", 4, codec].correct_images
        assert mine["deepfool of plain", None, codec].correct_images == mine["deepfool", None, codec].correct_images
    text = "\n".join(lines(found.cells))
    assert "made on plain, 4 levels" in text


@pytest.mark.full
def test_only_the_adaptive_rows(run: Restored, stripes: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, white_eps_8bit=(8, 64), images=6, batch=6, adaptive_only=True)
    found = matrix([run], str(stripes), plan, tmp_path, workers=1)
    assert [(c.attack, c.eps_8bit, c.defence) for c in found.cells] == [
        ("clean", None, "fd"), (WHITE, 8, "fd"), (WHITE, 64, "fd"),
    ]  # fmt: skip
    assert found.cells[0].correct >= found.cells[1].correct >= found.cells[2].correct
    alone = matrix([run], str(stripes), plan, tmp_path / "more", workers=2)
    assert alone.cells == found.cells  # however many processes


@pytest.mark.full
def test_every_model_behind_every_codec(run: Restored, stripes: Path, tmp_path: Path) -> None:
    """Codecs that are asked for take the place of the model's own."""
    plan = replace(PLAN, white_eps_8bit=(64,), images=6, batch=6, adaptive_only=True, white_codecs=("none", "jpeg:50"))
    found = matrix([run], str(stripes), plan, tmp_path, workers=1)
    assert [(c.attack, c.defence) for c in found.cells] == [
        ("clean", "none"), ("clean", "jpeg:50"), (WHITE, "none"), (WHITE, "jpeg:50"),
    ]  # fmt: skip
    assert "plain, jpeg:50" in "\n".join(lines(found.cells))
    with pytest.raises(InputError, match="drawn for each image"):
        matrix([run], str(stripes), replace(plan, white_codecs=("jpeg:20..90",)), tmp_path)
    with pytest.raises(InputError, match="--eps wants a whole number of levels from 1 to 255"):
        matrix([run], str(stripes), replace(plan, white_eps_8bit=(0.031,)), tmp_path)
    with pytest.raises(ProfileError, match="no guard preset 'fdd'"):
        matrix([run], str(stripes), replace(plan, white_codecs=("fdd",)), tmp_path)


def test_adaptive_rows_are_compared_by_image() -> None:
    def cell(run: str, codec: str, right: set[int]) -> Cell:
        return Cell(
            protocol=f"matrix:{run}", box="white", threat="input", place="frame", attack=WHITE, eps_8bit=8.0,
            defence=codec, passes=0, n=100, correct=len(right), images="x", correct_images=tuple(sorted(right)),
        )  # fmt: skip

    cells = [
        cell("a", "none", set(range(50))),
        cell("b", "none", set()),
        cell("b", "fd", set(range(5, 52))),  # 5 lost, 2 won
        cell("c", "none", set(range(50))),
    ]
    [(title, rows)] = differences(cells)
    assert "difference to a, none" in title and "8 levels" in title
    (_, lost), (b, shown), (c, none) = rows
    assert (
        lost.startswith("-50.0 [")
        and (b, c) == ("b, fd", "c, none")
        and shown.startswith("-3.0 [-8.")
        and none.startswith("+0.0 [-2.")
    )
    assert shown in "\n".join(lines(cells)) and shown in page(cells, "images", [])
    assert list(differences(cells[:1])) == []


@pytest.mark.full
def test_finished_cells_are_kept(run: Restored, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(PLAN, white_eps_8bit=())
    first = matrix([run], str(stripes), plan, tmp_path, workers=1)
    damaged = sorted((tmp_path / "cells").iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:40])
    asked: list[MatrixJob] = []

    def counted(job: MatrixJob) -> Part:
        asked.append(job)
        return run_matrix_job(job)

    monkeypatch.setattr(matrix_module, "run_matrix_job", counted)
    again = matrix([run], str(stripes), plan, tmp_path, workers=1)
    assert again.cells == first.cells and len(asked) == 1


@pytest.mark.full
def test_what_does_not_fit(run: Restored, stripes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="same folder name"):
        matrix([run, run], str(stripes), PLAN, tmp_path)
    other = Restored("other", run.config, ("a", "b", "c"), run.network, run.sha256)
    with pytest.raises(InputError, match="other was trained on other classes"):
        matrix([run, other], str(stripes), PLAN, tmp_path)
    with pytest.raises(InputError, match="holds no training"):
        restored(tmp_path)


def test_drawn_codecs_are_matched_by_a_fixed_one() -> None:
    base = TrainConfig(data="x")
    assert matrix_module.matched_codec(replace(base, codec="jpeg:20..90")) == "jpeg:50"
    assert matrix_module.matched_codec(replace(base, codec="fd")) == "fd"
    assert matrix_module.matched_codec(base) == "none"


def test_cells_are_not_kept_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "cells").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link"):
        PartStore(tmp_path / "cells")


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [((9, 11), True), ((), True), ((8,), False), ((12,), False), ((9, 9), False), ((-1,), False)],
)
def test_a_kept_part_names_images_of_its_batch(numbers: tuple[int, ...], expected: bool) -> None:
    """A folder of somebody else counted more right images than there are."""
    job = SimpleNamespace(start=9, labels=np.zeros(3, np.int64))
    assert is_part_of(cast(MatrixJob, job), Part(numbers, {}, ())) is expected
