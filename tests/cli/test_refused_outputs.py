"""Commands that are refused leave nothing where their results would have been."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import here

from edgeguard.demo.assets import bundled_model

pytest.importorskip("torch", reason="needs torch, from the attack or the convert extra")

MODEL = str(bundled_model())
REFUSED = {
    "evaluate": ("evaluate", "run", MODEL, "--images", "{strange}", "--output", "{out}"),
    "evaluate without a twin": ("evaluate", "run", MODEL, "--images", "{cards}", "--output", "{out}", "--target", "x"),
    "trust": ("evaluate", "trust", MODEL, "--images", "{strange}", "--output", "{out}"),
    "trust without a model": ("evaluate", "trust", "{cards}", "--images", "{cards}", "--output", "{out}"),
    "certify": ("evaluate", "certify", MODEL, "--images", "{strange}", "--smoothing", "0.25", "--output", "{out}"),
    "search": ("guard", "search", MODEL, "--images", "{strange}", "--output", "{out}", "--limit", "1"),
    "train": ("train", "--data", "{strange}", "--model", "resnet8", "--output", "{out}", "--exclude", "{names}"),
    "partitions": ("train", "--data", "{cards}", "--output", "{out}", "--partitions", "90"),
    "sound": ("train", "--task", "audio", "--data", "{cards}", "--output", "{out}"),
    "poison": ("poison", "make", "trigger", "--data", "{cards}", "--as", "none", "--output", "{out}"),
    "audit": ("data", "audit", "{empty}", "--output", "{out}"),
    "audit of one class": ("data", "audit", "{one}", "--output", "{out}"),
    "patch": ("patch", "make", MODEL, "--target", "unheard", "--output", "{out}"),
    "patch on photographs": ("patch", "make", MODEL, "--target", "yield", "--images", "{strange}", "--output", "{out}"),
    "firmware": ("firmware", "export", "esp32-ov5640", "--guard", "fd", "--output", "{out}"),
}


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    for folder in ("strange/zebra", "strange/gnu", "cards/stop", "cards/yield", "one/stop"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(3):
            pixels = np.full((32, 32, 3), 80 * number, np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"{number}.png"), pixels)
    (tmp_path / "empty").mkdir()
    (tmp_path / "names").write_text("nowhere.png\n")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "note.txt").write_text("mine")
    return {name: str(tmp_path / name) for name in ("strange", "cards", "one", "empty", "names")}


@pytest.mark.parametrize("out", ["out", "new/er/out", "old"])
@pytest.mark.parametrize("command", REFUSED.values(), ids=REFUSED)
def test_a_refused_command_leaves_nothing(
    tmp_path: Path, places: dict[str, str], command: tuple[str, ...], out: str
) -> None:
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    done = here(*(word.format(**places, out=tmp_path / out) for word in command))
    assert done.returncode == 2, done
    assert len([line for line in done.stderr.splitlines() if line]) >= 1
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("name", ["evaluate", "search", "train", "poison", "audit", "patch"])
def test_a_file_in_the_place_of_the_folder_is_refused_before_anything_else(
    tmp_path: Path, places: dict[str, str], name: str
) -> None:
    photograph = tmp_path / "photograph.jpg"
    photograph.write_bytes(b"mine")
    done = here(*(word.format(**places, out=photograph) for word in REFUSED[name]))
    assert done.returncode == 3 and photograph.read_bytes() == b"mine", done
    assert done.stderr == f"edgeguard: cannot write in {photograph}: it is a file, and a folder is wanted\n"
