"""No command writes over what it reads, or appends results to a file of something else."""

from pathlib import Path

import pytest
from cli.launch import refused
from commands import here

from edgeguard.cli.overwrites import refuse_overwriting
from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError


def _copy(tmp_path: Path) -> Path:
    model = tmp_path / "m.tflite"
    model.write_bytes(bundled_model().read_bytes())
    return model


@pytest.mark.parametrize("through", ["path", "link", "other name"])
def test_an_output_that_is_an_input_is_refused(through: str, tmp_path: Path) -> None:
    model = _copy(tmp_path)
    output = tmp_path / "r.jsonl"
    if through == "link":
        output.symlink_to(model)
    elif through == "other name":
        output.hardlink_to(model)
    else:
        output = tmp_path / "." / "m.tflite"
    with pytest.raises(InputError, match="--output .* is what MODEL reads"):
        refuse_overwriting({"model": str(model), "output": output}, {"model": "MODEL", "output": "--output"})


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    for value in (None, 0, "-", "synthetic:cards", "\0", "x" * 5000, tmp_path, [tmp_path / "none"]):
        refuse_overwriting({"source": value, "output": value}, {})


def test_the_commands_refuse_it(tmp_path: Path) -> None:
    model = _copy(tmp_path)
    before, config = model.read_bytes(), tmp_path / "c.toml"
    config.write_text(f'[camera]\nsource = "{tmp_path}/p.png"\n[output]\noutput = "{tmp_path}/p.png"\n')
    (tmp_path / "p.png").write_bytes(b"\x89PNG")
    for command in (
        ("run", model, "--source", tmp_path / "p.png", "--output", model),
        ("run", model, "--config", config),
        ("run", model, "--source", tmp_path / "p.png", "--status-file", tmp_path / "p.png"),
        ("model", "bom", model, "--output", model),
    ):
        refused(here(*command), 2, "would be written over; name another file")
    assert model.read_bytes() == before and (tmp_path / "p.png").read_bytes() == b"\x89PNG"


@pytest.mark.parametrize("live", [False, True])
def test_results_are_appended_to_results_only(live: bool, tmp_path: Path) -> None:
    other, source = tmp_path / "notes.json", "synthetic:cards?fps=30" if live else "synthetic:cards"
    other.write_text('{"a": 1}\n')
    refused(here("run", "--source", source, "--frames", 1, "--output", other), 2, "holds no results (JSON lines)")
    assert other.read_text() == '{"a": 1}\n'
