"""The command line from outside: help, version, what the small commands print."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from cli.launch import refused, run
from commands import here
from pictures import read_bgr

from edgeguard.cli import commands
from edgeguard.cli.commands import SUMMARIES
from edgeguard.cli.model import labels_shown
from edgeguard.demo.assets import bundled_model


class TestHelp:
    @pytest.mark.parametrize(
        "command",
        [
            [],
            ["convert"],
            ["run"],
            ["demo"],
            ["doctor"],
            ["sensor"],
            *([["firmware", c] for c in ("list", "show", "export", "probe", "verify", "ports")]),
            ["config", "show"],
            ["config", "check"],
            ["config", "schema"],
            ["config", "table"],
            ["service", "install"],
            ["bench"],
            ["guard"],
            ["model", "show"],
            ["model", "verify"],
            *([["guard", c] for c in ("design", "show", "apply", "bake", "certify")]),
        ],
    )
    def test_each_has_help_with_an_example(self, command: list[str]) -> None:
        done = run(*command, "--help")
        assert done.returncode == 0 and "Usage:" in done.stdout
        assert "Example: edgeguard" in done.stdout or command == ["guard"]

    def test_every_command_is_listed_with_a_line_that_fits(self) -> None:
        said = run("--help").stdout.partition("Commands:")[2]
        for name, summary in SUMMARIES.items():
            assert f"\n  {name:<10} {summary}\n" in said  # in one line, not cut off
        names = {path.stem for path in Path(commands.__file__).parent.glob("*.py")} - {"__init__", "main"}
        modules = {name: importlib.import_module(f"edgeguard.cli.{name}") for name in names}
        assert set(SUMMARIES) == {n for n, m in modules.items() if hasattr(m, "app") or hasattr(m, f"{n}_command")}

    @pytest.mark.parametrize("command", [(), ("patch",)])
    def test_without_a_command_the_help_is_shown_as_it_is(self, command: tuple[str, ...]) -> None:
        done = run(*command)
        assert done.returncode == 2 and done.stdout == "" and "\\n" not in done.stderr
        assert done.stderr.startswith("Usage: ") and "\n\nCommands:\n  " in done.stderr

    def test_a_command_imports_no_other(self) -> None:
        code = (
            "import sys; sys.argv = ['edgeguard', 'doctor', '--help']\n"
            "from edgeguard.cli.main import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "print(sorted(m for m in sys.modules if m in ('edgeguard.cli.run', 'edgeguard.cli.convert')))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"

    def test_version_and_usage_errors(self) -> None:
        assert run("--version").stdout.startswith("edgeguard 0.")
        refused(run("run", "--sorce", "x"), 2, "No such option")
        refused(run("nonsense"), 2, "nonsense")
        refused(run("convert"), 2, "Missing argument")


class TestBench:
    @pytest.mark.full
    def test_table_and_json(self, folder: Path) -> None:
        done = here("bench", "--seconds", 0.2)
        assert done.returncode == 0 and "sanitise to tensor" in done.stdout and "temperature" in done.stdout
        done = here("bench", "--guard", "fd-jpeg", "--image", folder / "0.jpg", "--seconds", 0.2, "--json")
        report = json.loads(done.stdout)
        assert any(t["stage"].startswith("JPEG to tensor") for t in report["timings"]), done.stderr

    def test_bad_input(self, tmp_path: Path) -> None:
        refused(here("bench", "--guard", "none"), 2, "bench times a guard")
        refused(here("bench", "--image", tmp_path / "missing.jpg"), 2, "cannot read")
        (tmp_path / "x.jpg").write_bytes(b"no picture")
        refused(here("bench", "--image", tmp_path / "x.jpg"), 2, "does not decode")


@pytest.mark.convert
class TestModel:
    def test_show(self, tmp_path: Path) -> None:
        done = here("model", "show", bundled_model())
        assert done.returncode == 0 and "uint8 1x128x128x3" in done.stdout and "all 29 operators map" in done.stdout
        assert "preprocess     crop center:0.875, mean (127.5, " in done.stdout  # not taken for a --preprocess
        fields = json.loads(here("model", "show", bundled_model(), "--json").stdout)
        assert f": {', '.join(fields['contract']['labels'])}\n" in done.stdout
        assert fields["contract"]["guard"]["passes"] == 2 and fields["sha256"] in done.stdout
        (tmp_path / "x.tflite").write_bytes(b"nothing")
        refused(here("model", "show", tmp_path / "x.tflite"), 2, "not a .tflite")
        refused(here("model", "show", tmp_path / "y.tflite"), 2, "cannot read")

    def test_many_labels_are_not_all_shown(self) -> None:
        assert labels_shown([f"c{k}" for k in range(1000)]).endswith(", c19 and 980 more (all: --json)")
        assert labels_shown([f"c{k}" for k in range(20)]).endswith(", c19") and labels_shown([]) == ""

    def test_verify(self, tmp_path: Path) -> None:
        from edgeguard.model.contract import read_contract
        from edgeguard.model.flatbuffer import ModelFile
        from edgeguard_converters.verify.manifest import make_manifest, write_manifest

        file, manifest = tmp_path / "m.tflite", tmp_path / "m.json"
        file.write_bytes(bundled_model().read_bytes())
        contract = read_contract(ModelFile(file.read_bytes()))
        assert contract is not None
        write_manifest(manifest, make_manifest(file, contract))
        assert here("model", "verify", file, "--manifest", manifest).returncode == 0
        swapped = bytearray(file.read_bytes())
        swapped[len(swapped) // 2] ^= 1  # one weight
        file.write_bytes(swapped)
        refused(here("model", "verify", file, "--manifest", manifest), 1, "SHA-256")
        manifest.write_text("[]")
        refused(here("model", "verify", file, "--manifest", manifest), 2, "not a manifest")
        refused(here("model", "verify", file, "--manifest", tmp_path / "none.json"), 2, "cannot read")


def test_doctor() -> None:
    done = run("doctor")
    assert done.returncode == 0 and "ai-edge-litert" in done.stdout and "->" in done.stdout
    assert {finding["status"] for finding in json.loads(run("doctor", "--json").stdout)} <= {"ok", "note"}


@pytest.mark.full
def test_cards_to_print(tmp_path: Path) -> None:
    assert run("demo", "--cards", tmp_path / "cards.pdf").returncode == 0
    pdf = (tmp_path / "cards.pdf").read_bytes()
    boxes = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+)", pdf)
    assert pdf.startswith(b"%PDF") and len(boxes) == 12
    assert all(abs(float(w) - 595.3) < 1 and abs(float(h) - 841.9) < 1 for w, h in boxes)  # A4, points
    refused(run("demo", "--cards", tmp_path / "cards.png"), 2, "wants a .pdf")


@pytest.mark.convert
@pytest.mark.full
def test_demo_writes_what_it_promises(tmp_path: Path) -> None:
    done = run("demo", "--output", tmp_path / "d", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(r["path"], r["correct"], r["n"]) for r in rows] == [
        ("undefended", 24, 24), ("two passes", 24, 24),
        ("undefended", 0, 3), ("two passes", 3, 3), ("two passes", 0, 3),
    ]  # fmt: skip
    document = json.loads((tmp_path / "d/results.json").read_text())
    assert document["threat_model"] == "transit" and len(document["clip"]) == 24 and document["attack_computed_here"]
    assert read_bgr(tmp_path / "d/contact-sheet.png").shape[0] > 800
    assert cv2.VideoCapture(str(tmp_path / "d/demo.mp4")).read()[0]
