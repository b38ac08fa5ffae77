"""Which part of a picture a model sees: nobody's habit, but what is said or what labelled pictures show."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.convert
pytest.importorskip("ai_edge_quantizer", reason="the convert extra is not installed")

from ai_edge_litert import schema_py_generated as schema  # noqa: E402
from evaluate.one_op import one_op_model  # noqa: E402

from edgeguard.datasets.images import LabeledImage, prepare  # noqa: E402
from edgeguard.errors import InputError  # noqa: E402
from edgeguard.model import Contract, InputSpec, Preprocess  # noqa: E402
from edgeguard_converters import pipeline  # noqa: E402
from edgeguard_converters.contract.crop import chosen_by_labels, other_crop, stated_crop  # noqa: E402
from edgeguard_converters.graph.float_graph import FloatGraph, float_graph  # noqa: E402
from edgeguard_converters.graph.normalization import Normalization  # noqa: E402
from edgeguard_converters.load.exchange import facts_of, facts_to_json  # noqa: E402
from edgeguard_converters.load.source import FileFacts, Source, facts_from_json, merge_facts  # noqa: E402
from edgeguard_converters.load.tflite_source import tflite_source  # noqa: E402
from edgeguard_converters.options import Options  # noqa: E402
from edgeguard_converters.pipeline import Conversion, convert  # noqa: E402
from edgeguard_converters.verify.crop_cost import line_of_costs  # noqa: E402
from edgeguard_converters.verify.gates import check_gates  # noqa: E402

SIDE, FRAME = 8, 32
FAMILY = FileFacts(crop_fraction=0.875, crop_by="torchvision resnet18")


@pytest.mark.full
def test_what_is_said_goes_in_order() -> None:
    assert stated_crop(Options(crop="letterbox"), FAMILY).text == "letterbox"
    assert stated_crop(Options(crop="center"), FileFacts(crop="none")).text == "center:0.875"
    assert stated_crop(Options(), FileFacts(crop="center", crop_fraction=0.9)).text == "center:0.9 (file)"
    assert stated_crop(Options(), FAMILY).text == "center:0.875 (torchvision resnet18)"
    nothing = stated_crop(Options(), FileFacts())
    assert (nothing.by, nothing.text) == ("nobody", "none (nothing said)")


@pytest.mark.parametrize(
    "facts", [FileFacts(crop="middle"), FileFacts(crop_fraction=0.0), FileFacts(crop_fraction=87.5)]
)
def test_a_crop_that_does_not_exist_is_refused(facts: FileFacts) -> None:
    with pytest.raises(InputError, match="give --crop"):
        stated_crop(Options(), facts)


@pytest.mark.parametrize(("mode", "crop"), [("center", "center"), ("squash", "none"), ("border", "letterbox")])
def test_timm_says_how_it_fits_a_picture(mode: str, crop: str) -> None:
    config = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 8, 8], "crop_pct": 0.9, "crop_mode": mode}
    facts = facts_from_json({"pretrained_cfg": config}, "x")
    assert stated_crop(Options(), facts).crop == crop


def test_json_beside_the_file_goes_before_the_family() -> None:
    family = replace(FAMILY, mean=(1.0,) * 3, std=(2.0,) * 3, stated_by=FAMILY.crop_by, size=(8, 8))
    said = merge_facts(family, FileFacts(mean=(127.5,) * 3, std=(127.5,) * 3, crop="none"))
    assert (said.mean, said.std, said.stated_by) == ((127.5,) * 3, (127.5,) * 3, None)
    assert stated_crop(Options(), said).text == "none (file)" and said.size == (8, 8)
    assert merge_facts(family, FileFacts()) == family
    assert merge_facts(FileFacts(crop="none"), family).crop_by is None
    assert facts_of(facts_to_json(family)) == family  # through the process that holds the model


def test_a_familys_crop_gives_way_only_to_what_chance_does_not_explain() -> None:
    stated = stated_crop(Options(), FAMILY)
    whole = other_crop(stated)
    assert whole is not None and whole.crop == "none"
    right, better, alike = np.arange(100) < 90, np.arange(100) < 99, np.arange(100) < 91
    chosen, line = chosen_by_labels(stated, right, whole, better)
    assert (
        chosen is whole and "THE FAMILY'S CROP IS NOT THIS MODEL'S: top-1 0.900 with --crop center:0.875, 0.990" in line
    )
    assert chosen_by_labels(stated, right, whole, alike) == (stated, "")


def test_what_you_or_the_file_say_is_no_guess() -> None:
    assert other_crop(stated_crop(Options(crop="center"), FAMILY)) is None
    assert other_crop(stated_crop(Options(), FileFacts(crop_fraction=0.5))) is None


def test_a_crop_that_you_said_is_judged_as_well() -> None:
    contract = Contract(InputSpec(SIDE, SIDE), Preprocess("center", 0.875))
    right, better = np.arange(100) < 90, np.arange(100) < 99
    assert "THE CROP COSTS ACCURACY: top-1 0.900 with --crop center:0.875" in (
        line_of_costs(contract, right, better) or ""
    )
    assert line_of_costs(contract, right, right) is None and line_of_costs(contract, better, right) is None


def _ring_model(path: Path) -> Path:
    """A classifier of the color at a picture's border: one convolution as large as its input."""
    weights = np.zeros((4, SIDE, SIDE, 3), np.float32)
    for color in range(3):
        weights[color, :, :, color] = 0.2
        weights[color, 1:-1, 1:-1, color] = 0
    options = schema.Conv2DOptionsT()
    options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
    options.padding = schema.Padding.VALID
    path.write_bytes(
        one_op_model("CONV_2D", options, [weights, np.zeros(4, np.float32)], (1, SIDE, SIDE, 3), (1, 1, 1, 4))
    )
    return path


def _pictures(ring: int, width: int, count: int = 60) -> list[LabeledImage]:
    """Pictures of random grays; a ring of the class's color begins `ring` pixels inside and is `width` wide."""
    rng, found = np.random.default_rng(3), []
    for number in range(count):
        frame = np.repeat(rng.integers(0, 200, (FRAME, FRAME, 1), dtype=np.uint8), 3, axis=2)
        frame[:, :, (number + 1) % 3] += 40  # what is not the ring misleads
        label, inner = number % 3, ring + width
        square = frame[ring : FRAME - ring, ring : FRAME - ring]
        middle = frame[inner : FRAME - inner, inner : FRAME - inner].copy()
        if ring:  # what the crop cuts off misleads
            frame[:] = 0
            frame[:, :, (number + 1) % 3] = 255
        square[:] = 20
        square[:, :, label] = 250
        frame[inner : FRAME - inner, inner : FRAME - inner] = middle
        found.append(LabeledImage(f"{number}.png", frame, label))
    return found


def _converted(
    folder: Path,
    pictures: list[LabeledImage],
    facts: FileFacts,
    step: Callable[[str], None] = lambda name: None,
    preprocess: str = "tf",
    **options: Any,
) -> Conversion:
    def load(path: Path, **_: object) -> Source:
        return tflite_source(path.read_bytes(), "TFLite", replace(facts, sha256="0" * 64))

    model = _ring_model(folder / "ring.tflite")
    chosen = Options(preprocess=preprocess, place="none", **options)
    return convert(model, folder / "out.tflite", pictures[:20], pictures[20:], chosen, load=load, step=step)


def test_labels_find_the_whole_picture(tmp_path: Path) -> None:
    done = _converted(tmp_path, _pictures(0, 2), FileFacts())
    assert done.contract.preprocess.crop == "none" and done.crop == "none (by labels)"
    assert any("CROP BY ACCURACY" in line and "none is taken" in line for line in done.notes)
    assert done.report.int8_top1 == 1


def test_labels_find_the_middle_and_all_begins_again_with_it(tmp_path: Path) -> None:
    done = _converted(tmp_path, _pictures(2, 4), FileFacts())
    assert done.contract.preprocess.crop == "center" and done.crop == "center:0.875 (by labels)"
    assert done.report.int8_top1 == 1  # judged on pictures that were prepared with it
    assert len(set(done.notes)) == len(done.notes)


@pytest.mark.parametrize("by_family", [False, True])
def test_the_model_is_gone_before_the_crop_is_settled_unless_it_is_needed(
    by_family: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # it holds most of the memory; a normalization that pictures may overrule is judged again behind the other crop
    told: list[str] = []
    monkeypatch.setattr(Source, "release", lambda source: told.append("the model is gone"))
    works, do = list[Any](), pipeline.do

    def watched(steps: Any, work: Any) -> None:
        works.append(work)
        do(steps, work)

    monkeypatch.setattr(pipeline, "do", watched)
    gray = (127.5,) * 3
    facts = FileFacts(mean=gray, std=gray, stated_by="torchvision resnet18") if by_family else FileFacts()
    done = _converted(tmp_path, _pictures(2, 4), facts, told.append, preprocess="auto" if by_family else "tf")
    assert done.contract.preprocess.crop == "center"
    assert (told.index("the model is gone") > told.index("settling the crop")) == by_family
    assert told.count("running the trained model") == 1 + by_family
    assert "the model is gone" in told[: told.index("running the float graph")]
    assert works[0].other_crop is works[0].other_trained is None  # a second export, after fine-tuning, lets it go too


@pytest.mark.parametrize("labelled", [40, pytest.param(300, marks=pytest.mark.full)])
def test_the_gates_see_what_the_float_graph_said_as_the_crop_was_settled(
    labelled: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = _pictures(2, 4, 20 + labelled)
    seen: list[tuple[int, ...]] = []
    whole = FloatGraph.outputs

    def counted(graph: FloatGraph, pixels: Any) -> Any:
        seen.append(pixels.shape)
        return whole(graph, pixels)

    gated: dict[str, Any] = {}

    def gates(trained: Any, expected: Any, found: Any, **rest: Any) -> Any:
        gated.setdefault("float", expected)
        return check_gates(trained, expected, found, **rest)

    monkeypatch.setattr(FloatGraph, "outputs", counted)
    monkeypatch.setattr(pipeline, "check_gates", gates)
    done = _converted(tmp_path, pictures, FileFacts())
    judged = min(labelled, 200)
    assert [shape[0] for shape in seen if shape[0] > 20] == [judged] * 2 + [labelled - judged] * (labelled > 200)
    prepared = prepare(pictures[20:], done.contract)
    graph = float_graph(tmp_path / "ring.tflite", Normalization((127.5,) * 3, (127.5,) * 3, "tf"))
    assert np.allclose(gated["float"][0], whole(graph, prepared)[0], atol=1e-5)


def test_labels_overrule_the_family(tmp_path: Path) -> None:
    done = _converted(tmp_path, _pictures(0, 2), FAMILY)
    assert done.crop == "none (by labels)" and done.report.int8_top1 == 1
    assert any("THE FAMILY'S CROP IS NOT THIS MODEL'S" in line for line in done.notes)


def test_without_labels_nothing_is_cut_off_and_it_is_said(tmp_path: Path) -> None:
    unlabelled = [replace(picture, label=None) for picture in _pictures(0, 2)]
    done = _converted(tmp_path, unlabelled, FileFacts())
    assert done.crop == "none (nothing said)" and any(line.startswith("CROP UNKNOWN") for line in done.notes)
    family = _converted(tmp_path, unlabelled, FAMILY)
    assert family.crop == "center:0.875 (torchvision resnet18)" and not any("CROP" in line for line in family.notes)


def test_a_crop_that_costs_accuracy_is_said_although_every_gate_is_green(tmp_path: Path) -> None:
    done = _converted(tmp_path, _pictures(0, 2), FileFacts(), crop="center")
    assert done.report.failures == () and done.contract.preprocess.crop == "center"
    assert any("THE CROP COSTS ACCURACY" in line for line in done.notes)
