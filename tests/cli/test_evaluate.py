"""The commands of `edgeguard evaluate`, and its short form."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from cli.launch import refused
from commands import here

from edgeguard.evaluate.reports.results import Cell, write_results

pytest.importorskip("torch", reason="needs torch, from the attack or the convert extra")

A = Cell("p", "white", "input", "frame", "pgd", 2, "fd", 1, 50, 10, "same", correct_images=tuple(range(10)))


@pytest.mark.parametrize("command", ["run", "compare", "certify", "matrix"])
def test_each_has_help_with_an_example(command: str) -> None:
    done = here("evaluate", command, "--help")
    assert done.returncode == 0 and f"Example: edgeguard evaluate {command}" in done.stdout


def test_help_names_the_commands_and_the_short_form() -> None:
    done = here("evaluate", "--help")
    assert done.returncode == 0 and "Example: edgeguard evaluate model.tflite" in done.stdout
    assert all(f"\n  {command} " in done.stdout for command in ("run", "compare", "certify", "matrix"))


@pytest.mark.parametrize("form", [("evaluate",), ("evaluate", "run")])
def test_a_model_without_a_command_is_run(form: tuple[str, ...], tmp_path: Path) -> None:
    wanted = ("--images", tmp_path, "--output", tmp_path / "out")
    refused(here(*form, "no.tflite", *wanted), 2, "cannot read the model no.tflite")
    refused(here(*form, *wanted, "no.tflite"), 2, "cannot read the model no.tflite")
    refused(here(*form, "no.tflite"), 2, "Missing option '--images'")
    refused(here(*form, "no.tflite", "other.tflite", *wanted), 2, "(other.tflite)")


@pytest.mark.parametrize("name", ["run", "compare", "certify", "matrix"])
def test_files_may_be_called_like_commands(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"no model")
    wanted = ("--images", tmp_path, "--output", tmp_path / "out")
    refused(here("evaluate", f".{os.sep}{name}", *wanted), 2, f"{name}: evaluate attacks the .tflite")
    refused(here("evaluate", "run", name, *wanted), 2, f"{name}: evaluate attacks the .tflite")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compare",), "Missing argument 'A'"),
        (("compare", "a"), "Missing argument 'B'"),
        (("compare", "a", "b", "c"), "(c)"),
        (("compare", "a", "b", "--images", "c"), "No such option: --images"),
        (("certify", "m.tflite"), "Missing option '--images'"),
        (("certify", "m.tflite", "--images", "i", "--protocol", "guard-audit"), "No such option: --protocol"),
        (("matrix", "--images", "i", "--output", "o"), "Missing argument 'RUN...'"),
        (("matrix", "r", "--images", "i", "--output", "o", "--seed", 1), "No such option: --seed"),
        (("run", "m.tflite", "--images", "i", "--output", "o", "--eps", 8), "No such option: --eps"),
    ],
)
def test_each_has_flags_of_its_own(words: tuple[object, ...], said: str) -> None:
    refused(here("evaluate", *words), 2, said)


def test_compare(tmp_path: Path) -> None:
    for name, correct in (("a", 10), ("b", 15)):
        (tmp_path / name).mkdir()
        cell = replace(A, correct=correct, correct_images=tuple(range(correct)))
        write_results(tmp_path / name / "results.jsonl", [cell])
    done = here("evaluate", "compare", tmp_path / "a", tmp_path / "b")
    assert done.returncode == 0 and "20.0 ->  30.0  +10.0 [" in done.stdout and "(paired)" in done.stdout
    (line,) = here("evaluate", "compare", tmp_path / "a", tmp_path / "b", "--json").stdout.splitlines()
    figures = json.loads(line)
    assert figures["a"] == 0.2 and figures["b"] == 0.3 and figures["defence"] == "fd"
    refused(here("evaluate", "compare", tmp_path / "a", tmp_path / "none"), 2, "cannot read")


def test_what_a_run_would_ignore_is_refused(tmp_path: Path) -> None:
    wanted = ("m.tflite", "--images", tmp_path, "--output", tmp_path / "out")
    refused(here("evaluate", *wanted, "--ray", "auto", "--workers", 2), 2, "--workers is for this machine")
    protocol = "feature-distillation-table1"
    refused(here("evaluate", *wanted, "--surrogate", "s.tflite", "--protocol", protocol), 2, "--surrogate is for")
