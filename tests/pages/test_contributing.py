"""What the pages for contributors name is there: files, names in files, commands, and the recipes work."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from edgeguard.firmware.board import INSTALLED, boards

ROOT = Path(__file__).parents[2]
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
#: Names that a recipe puts in the place of the reader's own, and what is not in a checkout.
PLACEHOLDERS = ("NAME", ".venv/", "~/", "out/")


def _paths() -> list[str]:
    quoted = re.findall(r"`([\w./-]+)`", TEXT)
    return sorted({text for text in quoted if "/" in text and not any(word in text for word in PLACEHOLDERS)})


def _names_of_files() -> list[tuple[str, str]]:
    """`name` in/of `file`, as the recipes write it."""
    said = re.findall(r"`(\w+)`(?: and `(\w+)`)?[^`.;]{0,12} (?:in|of) `([\w./-]+\.py)`", TEXT)
    said += [(name, "", path) for name, path in re.findall(r"`(\w+)`\s+\(`([\w./-]+\.py)`\)", TEXT)]
    return [(name, path) for first, second, path in said for name in (first, second) if name]


def _make_targets() -> dict[str, str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = " ".join(re.findall(r"^\.PHONY: (.*)$", text, re.M)).split()
    told = dict(re.findall(r"^([a-z0-9-]+):.*?  ## (.+)$", text, re.M))
    return {name: told.get(name, "") for name in phony}


@pytest.mark.parametrize("path", _paths())
def test_a_path_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_a_name_that_is_said_to_be_in_a_file_is_there() -> None:
    found = _names_of_files()
    assert len(found) > 8, "the recipes are written otherwise now: this test reads nothing"
    missing = [(name, path) for name, path in found if not re.search(rf"\b{name}\b", (ROOT / path).read_text())]
    assert not missing


def test_every_command_of_make_has_a_line_of_help() -> None:
    told = _make_targets()
    assert told and [name for name, line in told.items() if not line] == []
    said = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout
    assert all(re.search(rf"^make {name} +\S", said, re.M) for name in told)


def test_the_commands_of_make_that_pages_name_are_there() -> None:
    pages = "".join((ROOT / page).read_text(encoding="utf-8") for page in (*PAGES, "README.md"))
    named = set(re.findall(r"`make ([a-z0-9-]+)", pages)) | set(re.findall(r"^ {4}make ([a-z0-9-]+)", pages, re.M))
    assert named and named <= set(_make_targets())


def test_a_board_of_the_users_needs_no_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "edgeguard" / "firmware_configs"
    folder.mkdir(parents=True)
    text = (INSTALLED / "vc0706.toml").read_text(encoding="utf-8")
    (folder / "mine.toml").write_text(text.replace('board = "vc0706"', 'board = "mine"'), encoding="utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert "mine" in boards()


def test_an_attack_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="attacks need PyTorch")
    import torch

    from edgeguard.evaluate import attacks

    @dataclass(frozen=True, kw_only=True)
    class Brighter:
        gradient_free = True
        eps_8bit: int = 8
        name = "brighter"

        def __call__(self, victim: attacks.Victim, images: torch.Tensor, labels: object, seed: int = 0) -> object:
            return attacks.whole_levels(images, images + self.eps_8bit, self.eps_8bit)

    kinds: dict[str, Callable[..., object]] = {**attacks.KINDS, "brighter": Brighter}
    monkeypatch.setattr(attacks, "KINDS", kinds)
    made = attacks.attack("brighter", {"eps_8bit": 4})
    changed = made(lambda levels: levels, torch.full((1, 3, 8, 8), 254.0), torch.zeros(1, dtype=torch.int64))
    assert changed.unique().tolist() == [255.0]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_forms_are_forms(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.name == "config.yml":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert {"name", "description", "body"} <= set(form)
    kinds = {"markdown", "input", "textarea", "dropdown", "checkboxes"}
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert fields and {field["type"] for field in form["body"]} <= kinds
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)


def test_workflows_only_call_what_is_here() -> None:
    steps = [
        step
        for path in WORKFLOWS
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
        for step in job["steps"]
    ]
    runs = [str(step["run"]) for step in steps if "run" in step]
    assert ".ci/run" in runs and "make wheels" in runs
    targets = {name for run in runs for name in re.findall(r"\bmake ([a-z-]+)", run)}
    assert targets <= set(_make_targets())


def test_a_version_in_the_changelog_has_a_date() -> None:
    from edgeguard import __version__

    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert headings[0] == "Unreleased" and len(set(headings)) == len(headings)
    released = [re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d{2}-\d{2})", heading) for heading in headings[1:]]
    assert all(released), "a heading is VERSION - YYYY-MM-DD"
    assert [found[1] for found in released if found][:1] in ([], [__version__])
