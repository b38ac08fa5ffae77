"""The flow as a whole: the same answers whatever the source, passes counted honestly, losses counted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from camera.streams import http_server, stream
from numpy.typing import NDArray

from edgeguard.camera import open_source
from edgeguard.demo.assets import bundled_model
from edgeguard.errors import DeviceError, InputError
from edgeguard.guard import GuardProfile, Sanitizer, encode_jpeg, sanitize_jpeg
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.jpeg.seal import Seal, seal_jpeg
from edgeguard.model import ContractGuard, Model, load_model
from edgeguard.model.contract import Place
from edgeguard.patchguard import patch_guard
from edgeguard.pipeline import Pipeline
from edgeguard.pipeline.result import FrameResult
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.preprocess.geometry import quantize_input

CAMERA = GuardProfile.preset("jpeg:90")


@pytest.fixture
def folder(tmp_path: Path, scenes: list[NDArray[np.uint8]]) -> Path:
    for i, scene in enumerate(scenes):
        (tmp_path / f"{i}.jpg").write_bytes(encode_jpeg(scene, CAMERA))
    return tmp_path


def _model(guard: str | None = None, place: Place = "frame") -> Model:
    model = load_model(bundled_model())
    if guard is None:
        return model
    chosen = ContractGuard() if guard == "none" else ContractGuard(GuardProfile.preset(guard), place)
    return model.with_contract(replace(model.contract, guard=chosen))


def _run(source: str | Path, model: Model, compare: bool = False) -> list[FrameResult]:
    with Pipeline(open_source(source), model, compare_every=int(compare)) as pipeline:
        return list(pipeline)


@pytest.mark.parametrize("guard", ["fd", "fd-jpeg", "none"])
def test_folder_and_stream_give_the_labels_of_the_interpreter_called_by_hand(folder: Path, guard: str) -> None:
    from ai_edge_litert.interpreter import Interpreter

    from edgeguard.guard import decode_rgb
    from edgeguard.preprocess.crop_resize import crop_and_resize

    model = _model(guard)
    bare = Interpreter(model_path=str(bundled_model()))
    bare.allocate_tensors()
    jpegs = [path.read_bytes() for path in sorted(folder.iterdir())]
    expected = []
    for jpeg in jpegs:
        frame = decode_rgb(jpeg) if guard == "none" else sanitize_jpeg(jpeg, GuardProfile.preset(guard))
        pixels = crop_and_resize(np.asarray(frame, np.uint8), model.contract.input, model.contract.preprocess)
        bare.set_tensor(bare.get_input_details()[0]["index"], pixels[None])
        bare.invoke()
        expected.append(int(bare.get_tensor(bare.get_output_details()[0]["index"]).argmax()))
    assert [r.prediction.index for r in _run(folder, model)] == expected
    with http_server(stream(jpegs, pause_s=0.15)) as url:
        live = _run(url, model)
    assert len(live) >= len(jpegs) - 2 and all(r.prediction.index == expected[r.frame] for r in live)


def test_who_counts_as_pass_one(folder: Path, tmp_path: Path, scenes: list[NDArray[np.uint8]]) -> None:
    fd_jpeg = GuardProfile.preset("fd-jpeg")
    received = _run(folder, _model("fd-jpeg"))
    assert {(r.pass1, r.passes, r.certified_share) for r in received} == {("none", 1, None)}
    coded = tmp_path / "coded"
    coded.mkdir()
    sealed = seal_jpeg(encode_jpeg(scenes[0], fd_jpeg), Seal(0, 0.0, "", fd_jpeg.sha256))
    (coded / "camera.jpg").write_bytes(encode_jpeg(scenes[0], fd_jpeg))
    (coded / "sensor.jpg").write_bytes(sealed)
    assert [(r.pass1, r.passes) for r in _run(coded, _model("fd-jpeg"))] == [("camera", 2), ("sensor", 2)]
    assert [(r.pass1, r.passes) for r in _run(coded, _model("fd"))] == [("none", 1), ("none", 1)]


def test_raw_frames_get_pass_one_here_and_are_certified(tmp_path: Path, scenes: list[NDArray[np.uint8]]) -> None:
    import cv2

    for i, scene in enumerate(scenes):
        cv2.imwrite(str(tmp_path / f"{i}.png"), scene[:, :, ::-1])
    for guard, certified in (("fd", True), ("fd-jpeg", False)):
        results = _run(tmp_path, _model(guard))
        assert {(r.pass1, r.passes) for r in results} == {("run", 2)}
        assert all((r.certified_share is not None) == certified for r in results)
    shares = [r.certified_share for r in _run(tmp_path, _model("fd"))]
    assert min(s for s in shares if s is not None) > 0.8
    at_input = _run(tmp_path, _model("fd", "input"))
    assert {(r.pass1, r.passes, r.certified_share) for r in at_input} == {("none", 1, None)}
    assert {(r.passes, r.profile) for r in _run(tmp_path, _model("none"))} == {(0, None)}


def test_two_passes_undo_a_change_of_one_level_in_transit(scenes: list[NDArray[np.uint8]]) -> None:
    """The claim that the product makes, on the very array that the model sees."""
    from edgeguard.guard import certificate
    from edgeguard.jpeg.blocks import split_blocks

    profile = GuardProfile.preset("fd")
    sanitizer = Sanitizer(profile)
    rng = np.random.default_rng(0)
    for scene in scenes:
        sent = sanitizer(scene)
        attacked = np.clip(sent + rng.choice(np.array([-1, 1]), sent.shape), 0, 255).astype(np.uint8)
        proof = certificate(sent, profile)
        assert proof is not None and (attacked != sent).mean() > 0.9
        same = (split_blocks(sanitizer(attacked)) == split_blocks(sanitizer(sent))).all(axis=(0, 1))
        assert same[proof.map > 1].all() and same.mean() >= proof.share_1


def test_compare_runs_the_undefended_path_on_the_raw_frame(folder: Path) -> None:
    bare = [r.prediction.index for r in _run(folder, _model("none"))]
    results = _run(folder, _model("fd"), compare=True)
    assert [r.undefended.index for r in results if r.undefended] == bare


def test_losses_are_counted_and_the_rest_is_handled(folder: Path) -> None:
    (folder / "3.jpg").write_bytes((folder / "3.jpg").read_bytes()[:400])
    with Pipeline(open_source(folder), _model()) as pipeline:
        frames = [r.frame for r in pipeline]
    assert frames == [0, 1, 2, 4, 5, 6, 7]
    summary = pipeline.counters.to_dict()
    assert summary["lost"] == 1 and summary["frames"] == 7 and pipeline.losses[0].source == "3.jpg"


def test_a_lost_stream_gives_its_frames_first(folder: Path) -> None:
    jpegs = [path.read_bytes() for path in sorted(folder.iterdir())][:2]
    results = []
    with http_server(stream(jpegs, pause_s=0.3, close=b"")) as url:
        with pytest.raises(DeviceError, match="ended between frames"):
            with Pipeline(open_source(url), _model()) as pipeline:
                for result in pipeline:
                    results.append(result)
    assert [r.frame for r in results] == [0, 1] and all(r.age_ms is not None and r.age_ms > 0 for r in results)
    assert results[0].time_source == "received"


@pytest.mark.parametrize("name", ["lgs", "recompression"])
def test_a_patch_guard_stands_between_resize_and_model(folder: Path, name: str) -> None:
    """Against the steps called by hand; its marks and alarms are counted."""
    model, guard = load_model(bundled_model()), patch_guard(name)
    contract, marked, alarms = model.contract, 0, 0
    model = model.with_contract(replace(contract, guard=replace(contract.guard, patch=name)))
    with Pipeline(open_source(folder), model) as pipeline:
        for result in pipeline:
            assert result.rgb is not None
            guarded = guard(crop_and_resize(result.rgb, contract.input, contract.preprocess))
            tensor = quantize_input(guarded.image, contract.input, contract.preprocess)
            assert result.prediction.index == int(model.infer(tensor).argmax())
            path = folder / result.source
            assert model(decode_rgb(path.read_bytes())).index == result.prediction.index
            marked, alarms = marked + bool(guarded.suspect.any()), alarms + guarded.alarm
    summary = pipeline.counters.to_dict()
    assert summary["suspected"] == marked > 0 and summary["alarms"] == alarms


def test_what_is_found_in_a_region_is_placed_in_the_frame() -> None:
    from edgeguard.model.prediction import BoxScore, ClassMap, Keypoint, Prediction
    from edgeguard.pipeline.stages import _placed

    seen = Prediction(
        (),
        boxes=(BoxScore("a", 0, 0.5, 1, 2, 3, 4),),
        class_map=ClassMap(np.zeros((2, 2), np.int64), 0, 0, 8, 8),
        keypoints=(Keypoint("nose", 0, 0.5, 1, 2),),
    )
    placed = _placed(seen, (16, 8))
    assert placed.boxes == (BoxScore("a", 0, 0.5, 17, 10, 19, 12),) and placed.keypoints is not None
    assert (placed.keypoints[0].x, placed.keypoints[0].y) == (17, 10) and placed.class_map is not None
    assert (placed.class_map.x1, placed.class_map.y1, placed.class_map.x2, placed.class_map.y2) == (16, 8, 24, 16)


def test_names_of_a_source_and_a_model_give_the_same_results(folder: Path) -> None:
    by_hand = _run(folder, _model())
    with Pipeline(folder, bundled_model()) as pipeline:
        assert [result.prediction for result in pipeline] == [result.prediction for result in by_hand]


def test_a_named_source_is_closed_where_the_pipeline_cannot_be(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    closed: list[str] = []
    monkeypatch.setattr("edgeguard.camera.files.ImageFiles.close", lambda self: closed.append(self.name))

    def refuse(*_: object, **__: object) -> None:
        raise InputError("a region that lies outside")

    monkeypatch.setattr("edgeguard.pipeline.pipeline.Stages", refuse)
    with pytest.raises(InputError, match="lies outside"):
        Pipeline(folder, bundled_model())
    assert len(closed) == 1
    with pytest.raises(InputError):
        Pipeline(open_source(folder), bundled_model())
    assert len(closed) == 1  # a source that is given belongs to whoever gave it


def test_a_named_camera_that_is_lost_is_opened_again(scene: NDArray[np.uint8]) -> None:
    frames = [encode_jpeg(scene, CAMERA)] * 3
    with http_server(stream(frames)) as url, Pipeline(url, _model(), lost_after_s=0.5) as pipeline:
        seen = [result.frame for result, _ in zip(pipeline, range(4), strict=False)]
    assert len(seen) == 4  # the stream ends after three frames: the fourth is of another connection
