"""Each example runs as it stands, is short, and prints what it promises. Slow ones run in `make test-full`."""

import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
#: What each prints; all of them run in one of the tests below.
FAST = {
    "own_source": "19 background",
    "own_sink": "{'stop': 8, 'left': 8, 'yield': 8}",
    "pipeline_in_a_script": "24 frames, 0 lost",
    "several_cameras": "yard ",
    "certificate_map": "of blocks cannot be altered by +-1 level",
}
SLOW = ("attack_a_tflite", "convert_from_python", "score_a_field_test", "train_through_the_guard")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(name: str, *arguments: str) -> str:
    """In a process of its own: what converts, trains or attacks sets threads and handlers of signals."""
    words = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_run_by_a_test() -> None:
    assert {path.stem for path in SCRIPTS} == {*FAST, *SLOW}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_what_it_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    code = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert text.startswith('"""') and len(code) <= 45


@pytest.mark.parametrize("name", FAST)
def test_a_fast_example(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert FAST[name] in capsys.readouterr().out


def test_the_map_of_a_certificate_is_a_picture(folder: Path) -> None:
    runpy.run_path(str(EXAMPLES / "certificate_map.py"), run_name="__main__")
    picture = cv2.imread(str(folder / "certificate.png"))
    assert picture is not None and picture.shape == (240, 320, 3) and picture.std() > 10


def test_the_log_of_labels_has_a_line_for_each_change(folder: Path) -> None:
    runpy.run_path(str(EXAMPLES / "own_sink.py"), run_name="__main__")
    lines = (folder / "labels.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in lines] == ["stop", "left", "yield"]


@pytest.mark.full
@pytest.mark.convert
def test_the_attack_beats_the_file_with_room_and_not_without(folder: Path) -> None:
    lines = _run("attack_a_tflite").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["pgd-8 eps 2", "pgd-8 eps 16"]
    held = [int(line.split(" on ")[1].split()[0]) for line in lines]
    assert held[0] == 3 and held[1] < 3


@pytest.mark.full
@pytest.mark.convert
def test_a_training_that_takes_images_of_classes(folder: Path, stripes: Path) -> None:
    said = _run("train_through_the_guard", str(stripes), str(folder / "trained"))
    assert "test accuracy" in said and "n = 72" in said
    assert (folder / "trained" / "model.pt2").exists()


@pytest.mark.full
@pytest.mark.convert
def test_a_conversion(folder: Path) -> None:
    said = _run("convert_from_python", str(folder / "cards.tflite"))
    assert f"wrote {folder / 'cards.tflite'}" in said and "its answer to the first frame:" in said


@pytest.mark.full
def test_a_field_test_is_scored_row_by_row(folder: Path) -> None:
    from commands import here

    from edgeguard.demo.assets import bundled_model

    sheets = [folder / f"{arm}.pdf" for arm in ("clean", "plain")]
    for number, sheet in enumerate(sheets):
        here("patch", "sheet", "--card", "stop", "--arm", sheet.stem, "--number", number, "--output", sheet)
    grid = ("--distances", "450", "--angles", "0", "--frames", 2, "--passes", 1)
    assert here("fieldtest", "plan", "s", *sheets, *grid).returncode == 0
    shown = [word for sheet in sheets for word in ("--sheets", sheet)]
    assert here("fieldtest", "record", "s", "--source", "synthetic:session", *shown).returncode == 0
    lines = _run("score_a_field_test", "s", str(bundled_model())).splitlines()
    assert lines[0].startswith("arm") and any(line.startswith("plain    contract   0 of 2 frames") for line in lines)
    assert any(line.startswith("the clean card behind guard contract: right on 100% of 2") for line in lines)
