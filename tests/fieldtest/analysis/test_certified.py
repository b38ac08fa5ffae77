"""Certified sizes in a field test: by hand, and over a recorded session."""

from pathlib import Path

import pytest
from commands import here
from fieldtest.analysis.test_score import _made_up
from model.made_regions import Layer, made_regions

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError
from edgeguard.fieldtest.analysis.certified import (
    CertifiedFrame,
    certified_report,
    certify_session,
    millimetres_per_pixel,
    side_wanted_mm,
)
from edgeguard.fieldtest.analysis.findings import findings
from edgeguard.fieldtest.session.plan import Cell
from edgeguard.fieldtest.session.session import FrameRecord, Session
from edgeguard.fieldtest.sheets.sheet import Sheet
from edgeguard.model import load_model
from edgeguard.model.patch_footprint import Footprint
from edgeguard.scene.cards import LABELS


def test_lines_say_what_is_proven_beside_what_patches_did(tmp_path: Path) -> None:
    session, scores = _made_up(tmp_path, patch_hits=0.9, guarded_hits=0.3)
    frames = [
        CertifiedFrame(k, 0, distance, angle, right=True, side_px=20, side_mm=40.0 if distance == 500 else 30.0)
        for distance in (500, 800) for angle in (0, 30) for k in range(5)
    ]  # fmt: skip
    assert side_wanted_mm(session) == 38
    lines = certified_report(session, findings(session, scores), frames)
    assert "one patch of 38 mm on the object: 50.0 [30, 70] %, n 20" in lines[0]
    assert lines[1].startswith(
        "    500 mm: certified 100.0 [72, 100] %, n 10, median size 40 mm; patch to yield behind off: "
    )
    assert lines[2].startswith("    800 mm: certified 0.0 ") and len(lines) == 5
    wrong = [CertifiedFrame(0, 0, 500, 0, right=False, side_px=0, side_mm=0.0)]
    assert "0.0 [0, 79] %, n 1" in certified_report(session, findings(session, scores), wrong)[0]


def test_a_pixel_covers_the_least_at_the_nearest_edge() -> None:
    sheet = Sheet(1, "stop", "stop", "clean", object_mm=120.0)
    record = FrameRecord("", "", 0.0, 500.0, 0.0, 1.0, 4, Cell(500, 0, "bright"), None, {})
    assert millimetres_per_pixel(record, sheet, 90.0, 1000) == pytest.approx(1.0)
    turned = FrameRecord("", "", 0.0, 500.0, 30.0, 1.0, 4, Cell(500, 30, "bright"), None, {})
    assert millimetres_per_pixel(turned, sheet, 90.0, 1000) == pytest.approx(470 / 500)


@pytest.mark.full
def test_each_clean_frame_gets_the_size_that_its_own_result_has(recorded: Session, tmp_path: Path) -> None:
    path = tmp_path / "regions.tflite"
    preprocess = {"crop": "center", "crop_fraction": 0.875, "mean": [0, 0, 0], "std": [1, 1, 1]}
    layers = (Layer(3, 2, 8), Layer(1, 1, len(LABELS)))
    path.write_bytes(made_regions(layers, size=32, labels=LABELS, preprocess=preprocess))
    model = load_model(path, threads=1)
    found = certify_session(recorded.folder, model)
    assert len(found) == 24 and (recorded.folder / "certified.jsonl").read_text().count("\n") == 24
    first = found[0]
    frame = recorded.read_frame(recorded.passes[first.number].frames[first.shot])
    prepared = model.input_path(model.input_path.arrive(frame))
    said = model.read(model.run(prepared.tensor), *prepared.size)
    bound = Footprint.of(model.contract, *prepared.size)
    assert said.certified_patch_frame == bound.largest(said.certified_patch or 0)
    assert first.side_px == (said.certified_patch_frame if said.label == "stop" else 0)


@pytest.mark.full
def test_models_without_a_proof_are_refused(recorded: Session) -> None:
    done = here("fieldtest", "score", str(recorded.folder), "--model", str(bundled_model()), "--certify")
    assert done.returncode == 2 and "--certify needs a model that proves its labels" in done.stderr
    with pytest.raises(InputError, match="proves its labels"):
        certify_session(recorded.folder, load_model(bundled_model()))
