"""`edgeguard guard` from outside."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli.launch import refused, run
from commands import here
from pictures import read_bgr

from edgeguard.demo.assets import bundled_model
from edgeguard.guard import GuardProfile


class TestGuard:
    def test_show_and_draw(self, tmp_path: Path) -> None:
        done = here("guard", "show", "jpeg:75", "--output", tmp_path / "t.png", "--json")
        assert json.loads(done.stdout)["sha256"] == GuardProfile.preset("jpeg:75").sha256
        picture = read_bgr(tmp_path / "t.png")
        assert picture.shape[1] > 900 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 20
        assert "24   24   24   24   32" in here("guard", "show", "fd").stdout
        refused(here("guard", "show", "fdd"), 2, "no guard preset 'fdd'")
        refused(here("guard", "show", "none"), 2, "absence of a guard")

    def test_design_apply_certify(self, folder: Path, tmp_path: Path) -> None:
        profile, clean, chart = tmp_path / "mine.toml", tmp_path / "clean.png", tmp_path / "map.png"
        assert here("guard", "design", folder, "--output", profile, "--by", "sigma", "--as-bands", 15).returncode == 0
        assert GuardProfile.load(profile).tables[0].count(24) == 15
        done = here("guard", "apply", folder / "0.jpg", "--guard", profile, "--output", clean, "--json")
        assert 25 < json.loads(done.stdout)["psnr_db"] < 60
        done = here("guard", "certify", clean, "--guard", profile, "--output", chart, "--json")
        assert json.loads(done.stdout)["share_1"] > 0.8 and read_bgr(chart).size
        assert json.loads(here("guard", "certify", folder / "0.jpg", "--json").stdout)["share_1"] < 0.2
        assert json.loads(here("guard", "certify", folder / "0.jpg", "--first-pass", "--json").stdout)["share_1"] > 0.8
        refused(here("guard", "certify", clean, "--guard", "fd-jpeg"), 2, "has no certificate")

    @pytest.mark.full
    def test_a_table_from_the_proof(self, folder: Path, tmp_path: Path) -> None:
        profile, travels, back = tmp_path / "proof.toml", tmp_path / "travels.png", tmp_path / "back.png"
        done = here("guard", "design", folder, "--output", profile, "--certify", 1, "--json")
        told = json.loads(done.stdout)
        assert told["proven_share"] >= 0.99 and told["profile"]["room"] == 16 and told["profile"]["proof_levels"] == 1
        loaded = GuardProfile.load(profile)
        assert loaded.sha256 == told["sha256"] and max(loaded.tables[0]) < 32
        shown = here("guard", "design", folder, "--output", profile, "--certify", 2, "--room", 24, "--color", "gray")
        assert "at +-2: " in shown.stdout and "lost contrast for it (room 24, slack" in shown.stdout
        here("guard", "design", folder, "--output", profile, "--certify", 1)
        here("guard", "apply", folder / "0.jpg", "--guard", profile, "--pass", "first", "--output", travels)
        found = json.loads(here("guard", "certify", travels, "--guard", profile, "--json").stdout)
        assert found["share_1"] > 0.99 > found["share_2"] == found["share_3"] == 0 and not found["proven_at_2"]
        here("guard", "apply", travels, "--guard", profile, "--pass", "second", "--output", back)
        one = tmp_path / "one.png"
        here("guard", "apply", folder / "0.jpg", "--guard", profile, "--output", one)
        assert (read_bgr(back) == read_bgr(one)).mean() > 0.999
        refused(here("guard", "design", folder, "--output", profile, "--certify", 1, "--as-step", 24), 2, "--as-step")
        refused(
            here("guard", "design", folder, "--output", profile, "--certify", 1, "--color", "ycbcr420"), 2, "--certify"
        )
        refused(
            here("guard", "apply", travels, "--guard", "fd-jpeg", "--pass", "second", "--output", back),
            2,
            "--pass second",
        )

    def test_bad_input(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "bad.toml").write_text("schema = 1\ncolour = 'rgb'\n")
        refused(here("guard", "show", tmp_path / "bad.toml"), 2, "bad.toml:2: unknown key 'colour'")
        refused(here("guard", "apply", tmp_path / "no.jpg", "--output", tmp_path / "x.png"), 2, "cannot read")
        refused(here("guard", "apply", folder / "0.jpg", "--output", tmp_path / "x.jpg"), 2, "write a .png")
        refused(here("guard", "apply", folder / "0.jpg", "--output", tmp_path / "no" / "x.png"), 3, "cannot write")
        refused(here("guard", "design", tmp_path / "none", "--output", tmp_path / "p.toml"), 2, "not a folder")
        assert not (tmp_path / "x.jpg").exists() and not (tmp_path / "p.toml").exists()


@pytest.mark.convert
class TestBake:
    def test_writes_a_model_that_runs(self, tmp_path: Path) -> None:
        done = here("guard", "bake", "--size", "64x48", "--output", tmp_path / "s.tflite")
        assert done.returncode == 0 and "64x48, for one pass" in done.stdout, done.stderr
        from ai_edge_litert.interpreter import Interpreter

        model = Interpreter(str(tmp_path / "s.tflite"))
        assert list(model.get_input_details()[0]["shape"]) == [1, 48, 64, 3]

    def test_what_cannot_be_baked(self, tmp_path: Path) -> None:
        target = tmp_path / "s.tflite"
        refused(here("guard", "bake", "--guard", "fd-jpeg", "--size", 64, "--output", target), 2, "only rgb profiles")
        refused(here("guard", "bake", "--size", 60, "--output", target), 2, "multiples of 8")
        refused(here("guard", "bake", "--guard", "none", "--size", 64, "--output", target), 2, "none")
        refused(run("convert", bundled_model(), "--guard", "none", "--bake-guard"), 2, "leaves nothing to bake")
        refused(run("convert", bundled_model(), "--place", "in-graph"), 2, "--bake-guard")
        assert not target.exists()
