"""What the board's wheel leaves out: the rest works without it, and a command that needs it says so in one line."""

import json
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from release.build_wheels import NOT_ON_A_BOARD

from edgeguard.demo.assets import bundled_model

ROOT = Path(__file__).parents[2]
#: Imports as on a board: what the wheel lacks is not found.
AS_ON_A_BOARD = """
import importlib.abc, json, sys
missing = set(json.loads({missing!r}))
class Board(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in missing:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Board())
from edgeguard.cli.main import main
main()
"""


def _left_out() -> list[str]:
    """Modules that match the wheel's list."""
    files = [(ROOT, file) for file in (ROOT / "edgeguard").rglob("*.py")]
    files += [(ROOT / "converters", file) for file in (ROOT / "converters" / "edgeguard_converters").rglob("*.py")]
    names = [str(file.relative_to(root)) for root, file in files]
    found = [name for name in names if any(fnmatch(name, pattern) for pattern in NOT_ON_A_BOARD)]
    return [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in found]


def _run(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    code = AS_ON_A_BOARD.format(missing=json.dumps(_left_out()))
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_list_names_modules() -> None:
    out = _left_out()
    assert len(out) > 100 and "edgeguard_converters.pipeline" in out
    assert not {"edgeguard_converters.verify", "edgeguard_converters.verify.manifest"} & set(out)


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "{model}"],
        ["evaluate", "{model}", "--images", "{folder}", "--output", "{folder}/o"],
        ["evaluate", "certify", "{model}", "--images", "{folder}", "--patch", "2"],
        ["evaluate", "compare", "{folder}", "{folder}"],
        ["evaluate", "matrix", "{folder}", "--images", "{folder}", "--output", "{folder}/o"],
        ["guard", "search", "{model}", "--images", "{folder}", "--output", "{folder}/o"],
        ["patch", "make", "{model}", "--card", "stop", "--target", "no entry", "--output", "{folder}/o"],
        ["train", "--data", "{folder}", "--output", "{folder}/o"],
        ["data", "audit", "{folder}", "--output", "{folder}/o"],
        ["poison", "make", "lsp", "--data", "{folder}", "--output", "{folder}/o"],
        ["config", "schema", "protocol"],
    ],
    ids=lambda words: " ".join(word for word in words[:2] if "{" not in word),
)
@pytest.mark.full
def test_what_is_left_out_is_said_in_one_line(tmp_path: Path, words: list[str]) -> None:
    done = _run(*(word.format(model=bundled_model(), folder=tmp_path) for word in words))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "this wheel is a board's and leaves" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--help"], ["demo", "--output", "{folder}/d"],
        ["doctor"], ["model", "show", "{model}"], ["guard", "show", "fd"],
        ["config", "schema", "train"], ["guard", "bake", "--size", "32", "--output", "{folder}/s.tflite"],
        ["run", "{model}", "--source", "{photos}/across", "--output", "{folder}/r.jsonl"],
    ],
    ids=lambda words: " ".join(word for word in words[:2] if "{" not in word),
)  # fmt: skip
@pytest.mark.full
def test_what_a_board_does_needs_none_of_it(tmp_path: Path, stripes: Path, words: list[str]) -> None:
    photos = stripes / "test"
    done = _run(*(word.format(model=bundled_model(), folder=tmp_path, photos=photos) for word in words))
    assert done.returncode == 0, done.stderr
