"""`edgeguard convert` from outside."""

from pathlib import Path

import pytest
from cli.launch import refused, run

from edgeguard.guard import GuardProfile


@pytest.mark.convert
class TestConvert:
    @pytest.mark.full
    def test_bare_convert_of_our_own_program(self, tmp_path: Path) -> None:
        from edgeguard.demo.assets import bundled_program
        from edgeguard.model import load_model

        model = tmp_path / "model.pt2"
        model.write_bytes(bundled_program().read_bytes())
        done = run("convert", model)
        assert done.returncode == 0, done.stderr
        assert "NO --calibrate FOLDER" in done.stderr and "agreement" in done.stdout
        contract = load_model(tmp_path / "model.tflite").contract
        assert contract.guard.profile == GuardProfile.preset("fd") and not contract.preprocess.guessed
        assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pt2", "model.tflite"]

    @pytest.mark.full
    def test_refusals(self, tmp_path: Path) -> None:
        from edgeguard.demo.assets import bundled_program

        (tmp_path / "empty.pt").touch()
        (tmp_path / "none").mkdir()
        refused(run("convert", tmp_path / "missing.pt"), 2, "is not there")
        done = run("convert", tmp_path / "empty.pt")
        refused(done, 2, "is empty")
        assert len(done.stderr.splitlines()) == 1
        refused(
            run("convert", bundled_program(), "--calibrate", tmp_path / "none", "--output", tmp_path / "x.tflite"),
            2,
            "no images",
        )
        refused(run("convert", bundled_program(), "--size", "big"), 2, "--size wants")
        refused(run("convert", bundled_program(), "--crop", "top"), 2, "--crop wants")
        refused(
            run(
                "convert",
                bundled_program(),
                "--mean",
                "0.5,0.5,0.5",
                "--std",
                "0.2,0.2,0.2",
                "--output",
                tmp_path / "x.tflite",
            ),
            2,
            "0..255 units",
        )
        assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.pt", "none"]

    @pytest.mark.full
    def test_a_failed_gate_is_a_negative_verdict(self, tmp_path: Path) -> None:
        from edgeguard.demo.assets import bundled_program

        refused(run("convert", bundled_program(), "--min-snr", 99, "--output", tmp_path / "x.tflite"), 1, "SNR gate")
        assert not list(tmp_path.iterdir())
