"""What `edgeguard demo` does, step by step: convert, run the clip, alter frames in transit, show it all."""

import importlib.util
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeguard.camera.files import VideoFile
from edgeguard.camera.source import Captured
from edgeguard.demo.answers import classify_altered
from edgeguard.demo.assets import AlteredFrame, bundled_clip, bundled_model, bundled_program, load_altered
from edgeguard.demo.sheet import Tile, contact_sheet
from edgeguard.model import Model, Prediction, load_model
from edgeguard.pipeline import Pipeline
from edgeguard.pipeline.result import FrameResult
from edgeguard.scene.cards import LABELS
from edgeguard.scene.views import clip_views
from edgeguard.sinks.video import AnnotatedVideo
from edgeguard.system.files import write_bytes

_log = logging.getLogger(__name__)

Picture = NDArray[np.uint8]
#: Of each card the frame on which the undefended path falls to the smallest budget: chosen, not sampled.
ATTACKED_FRAMES = (7, 15, 22)


@dataclass(frozen=True)
class Row:
    """One row of the table: a path, an attack, and how many frames it answers correctly."""

    path: str
    attack: str
    correct: int
    n: int


def run_demo(output: Path) -> list[Row]:
    """Run the whole demo into the folder `output`; returns the table.

    Raises:
        DeviceError: the folder cannot be written.
    """
    with_torch = _installed("torch", "litert_torch", "ai_edge_quantizer", "edgeguard_converters.load")
    model_path = convert_cards(output) if with_torch else bundled_model()
    if not with_torch:
        _log.info("the converter is not installed: the bundled .tflite runs")
    model = load_model(model_path)
    truth = [LABELS.index(view.card or "background") for view in clip_views()]
    _log.info("running the bundled clip through two passes, with the undefended path beside it")
    results = _run_clip(model, output / "demo.mp4")
    clip = clip_frames()
    if with_torch:
        _log.info("altering three frames in transit: an attacker of the undefended path, and one who knows the guard")
        from edgeguard.demo.attack import alter

        altered = [alter(model, clip[index], index, truth[index]) for index in ATTACKED_FRAMES]
    else:
        _log.info("torch is not installed: the bundled altered frames are used")
        altered = load_altered(clip)
    trials = [classify_altered(model, clip[a.clip_index], a) for a in altered]
    rows = _table(results, trials, truth, altered)
    tiles = _tiles(results, trials, altered, clip, truth)
    good, png = cv2.imencode(".png", contact_sheet(tiles)[:, :, ::-1])
    assert good
    write_bytes(output / "contact-sheet.png", png.tobytes())
    document = _document(model, results, rows, trials, altered, truth, with_torch=with_torch)
    write_bytes(output / "results.json", json.dumps(document, indent=1).encode())
    return rows


def _installed(*modules: str) -> bool:
    try:
        return all(importlib.util.find_spec(module) is not None for module in modules)
    except ImportError:  # of a package above it
        return False


def convert_cards(output: Path) -> Path:
    """Convert the bundled program with the guard `fd`, calibrated on rendered views; returns the .tflite's path."""
    from edgeguard.datasets.images import LabeledImage
    from edgeguard.dct.profile import GuardProfile
    from edgeguard.demo.assets import stand_in_images
    from edgeguard_converters.pipeline import Options, convert

    _log.info("converting the bundled card model (rendered views calibrate it)")
    images = [LabeledImage(f"bundled-{i}", image) for i, image in enumerate(stand_in_images())]
    done = convert(bundled_program(), output / "cards.tflite", images, options=Options(guard=GuardProfile.preset("fd")))
    report = done.report
    _log.info(
        "cards.tflite: %.0f kB, float and int8 agree on %s of %d held-out views, %.1f dB",
        done.bytes / 1e3,
        f"{report.agreement:.0%}",
        report.n,
        report.snr_db,
    )
    return done.path


def clip_frames() -> list[Picture]:
    """The frames of the bundled clip, uint8 240x320x3."""
    source = VideoFile(bundled_clip())
    frames = [item.rgb for item in source.frames() if isinstance(item, Captured) and item.rgb is not None]
    source.close()
    return frames


def _run_clip(model: Model, video: Path) -> list[FrameResult]:
    results = []
    with AnnotatedVideo(video, 12.0) as sink, Pipeline(VideoFile(bundled_clip()), model, compare_every=1) as pipeline:
        for result in pipeline:
            sink.write(result)
            results.append(result)
    return results


def _table(
    results: list[FrameResult], trials: list[dict[str, Prediction]], truth: list[int], altered: list[AlteredFrame]
) -> list[Row]:
    n, k = len(results), len(trials)

    def right(name: str) -> int:
        return sum(trial[name].index == truth[a.clip_index] for trial, a in zip(trials, altered, strict=True))

    bare = sum(r.undefended is not None and r.undefended.index == truth[r.frame] for r in results)
    eps = "/".join(str(a.eps_8bit) for a in altered)
    adaptive = "/".join(str(a.adaptive_eps_8bit) for a in altered)
    return [
        Row("undefended", "none (the clip)", bare, n),
        Row("two passes", "none (the clip)", sum(r.prediction.index == truth[r.frame] for r in results), n),
        Row("undefended", f"PGD in transit, +-{eps} levels", right("undefended"), k),
        Row("two passes", f"the same attack, +-{eps} levels", right("two_pass"), k),
        Row("two passes", f"adaptive: knows the guard, +-{adaptive} levels", right("adaptive"), k),
    ]


def _tiles(
    results: list[FrameResult],
    trials: list[dict[str, Prediction]],
    altered: list[AlteredFrame],
    clip: list[Picture],
    truth: list[int],
) -> list[list[Tile]]:
    rows = []
    for trial, a in zip(trials, altered, strict=True):
        pictures = (
            ("clean, undefended", clip[a.clip_index], "clean"),
            (f"+-{a.eps_8bit} in transit, undefended", a.undefended, "undefended"),
            (f"+-{a.eps_8bit} in transit, two passes", a.two_pass, "two_pass"),
            (f"+-{a.adaptive_eps_8bit} adaptive, two passes", a.adaptive, "adaptive"),
        )
        rows.append(
            [
                Tile(
                    picture,
                    title,
                    f"{trial[name].label} {trial[name].score:.2f}",
                    trial[name].index == truth[a.clip_index],
                )
                for title, picture, name in pictures
            ]
        )
    return rows


def _document(
    model: Model,
    results: list[FrameResult],
    rows: list[Row],
    trials: list[dict[str, Prediction]],
    altered: list[AlteredFrame],
    truth: list[int],
    *,
    with_torch: bool,
) -> dict[str, Any]:
    return {
        "note": "an illustration on three frames of one clip, not a measurement of robustness",
        "threat_model": "transit",
        "attack": "PGD, L-infinity, 30 steps; adaptive: BPDA through the integer codec, signs and DCT-aware steps",
        "attack_computed_here": with_torch,
        "model": model.sha256,
        "profile": model.contract.guard.profile.sha256 if model.contract.guard.profile else None,
        "table": [vars(row) for row in rows],
        "frames": [
            {
                "clip_frame": a.clip_index,
                "truth": LABELS[truth[a.clip_index]],
                "eps_8bit": a.eps_8bit,
                "adaptive_eps_8bit": a.adaptive_eps_8bit,
                **{name: {"label": p.label, "score": p.score} for name, p in trial.items()},
            }
            for a, trial in zip(altered, trials, strict=True)
        ],
        "clip": [result.to_dict() for result in results],
    }
