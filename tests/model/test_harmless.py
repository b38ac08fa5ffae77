"""Which graphs may run in this process: the usual ones, and nothing that a pixel could steer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from model import crafted
from model.crafted import FLOAT32, IMAGE, INT8, INT32, OPS, Crafted, schema

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.harmless import objection
from edgeguard.model.isolation import SHIPPED


def _objection(data: bytes) -> str | None:
    return objection(ModelFile(data))


def test_the_bundled_model_is_harmless_and_known_by_its_hash() -> None:
    import hashlib

    data = bundled_model().read_bytes()
    assert _objection(data) is None
    assert hashlib.sha256(data).hexdigest() in SHIPPED, "the bundled model has changed: put its hash into SHIPPED"


def test_models_of_other_makers(shared: Path) -> None:
    assert _objection((shared / "models/mobilenet_v2_1.0_224_quant.tflite").read_bytes()) is None
    compiled = (shared / "models/mobilenet_v1_0.25_128_quant_edgetpu.tflite").read_bytes()
    assert _objection(compiled) == "has the operator 'edgetpu-custom-op'"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (crafted.harmless(), None),
        (crafted.huge(), None),  # its sizes are constants: the trial sees them
        (crafted.divides(), "has the operator FLOOR_MOD"),
        (crafted.fills(), "has a FILL whose parameters are computed"),
        (crafted.never_ends(), "has 3 graphs"),
        (crafted.strange_numbers("input"), "has a MEAN that lacks an input"),
        (crafted.strange_numbers("output"), "names a tensor -1 of 3"),
        (crafted.strange_numbers("border"), "names a tensor -1 of 3"),
        (crafted.strange_numbers("huge"), "names a tensor 1073741824 of 3"),
    ],
)
def test_what_is_said(data: bytes, words: str | None) -> None:
    assert _objection(data) == words


def _mean(made: Crafted, image: int, axes: int) -> bytes:
    mean = made.step(OPS.MEAN, [image, axes], [made.tensor((1, 3), scale=1.0)], schema.ReducerOptionsT())
    return made.bytes([image], [mean])


def test_integers_are_not_divided_by_data() -> None:
    for kind, words in ((INT32, "has a DIV of integers"), (FLOAT32, None)):
        made = Crafted()
        image = made.tensor(IMAGE, kind)
        ratio = made.step(OPS.DIV, [image, image], [made.tensor(IMAGE, kind)], schema.DivOptionsT())
        assert _objection(made.bytes([image], [ratio])) == words


def test_parameters_may_be_computed_from_constants_alone() -> None:
    """As the f16 weights that a DEQUANTIZE makes floats of."""
    for source, words in (("constant", None), ("image", "has a GATHER whose parameters are computed")):
        made = Crafted()
        image = made.tensor(IMAGE, INT32)
        indices = made.constant([0, 1]) if source == "constant" else image
        shape = (2,) if source == "constant" else IMAGE
        doubled = made.step(OPS.ADD, [indices, indices], [made.tensor(shape, INT32)], schema.AddOptionsT())
        found = made.step(OPS.GATHER, [image, doubled], [made.tensor((2,), INT32)], schema.GatherOptionsT())
        assert _objection(made.bytes([image], [found])) == words


def test_tensors_are_written_once_and_before_they_are_read() -> None:
    made = Crafted()
    image, later = made.tensor(IMAGE), made.tensor(IMAGE)
    made.step(OPS.RELU, [later], [made.tensor(IMAGE)])
    assert _objection(made.bytes([image], [later])) == "has a RELU that reads what nothing wrote"
    made = Crafted()
    image, answer = made.tensor(IMAGE), made.tensor(IMAGE)
    for _ in range(2):
        made.step(OPS.RELU, [image], [answer])
    assert _objection(made.bytes([image], [answer])) == "has a RELU that writes over a tensor"
    made = Crafted()
    image, axes = made.tensor(IMAGE), made.constant([1, 2])
    made.step(OPS.RELU, [image], [axes])
    assert _objection(_mean(made, image, axes)) == "has a RELU that writes over a tensor"
    made = Crafted()
    image, axes = made.tensor(IMAGE), made.constant([1, 2])
    assert _objection(made.bytes([axes], [image])) == "has a constant for an input"
    made = Crafted()
    image, answer = made.tensor(IMAGE), made.tensor(IMAGE)
    assert _objection(made.bytes([image], [answer])) == "never writes an output"


def test_tensors_have_sizes_and_their_bytes() -> None:
    made = Crafted()
    image, axes = made.tensor(IMAGE), made.tensor((2000,), INT32, [1, 2])
    assert _objection(_mean(made, image, axes)) == "has 8 bytes for a constant of shape (2000,)"
    made = Crafted()
    image, axes = made.tensor((1, -1, 8, 3)), made.constant([1, 2])
    assert _objection(_mean(made, image, axes)) == "has a tensor of shape (1, -1, 8, 3)"
    made = Crafted()
    image, axes = made.tensor(IMAGE), made.constant([1, 2])
    made.graph.tensors[image].type = 5  # text
    assert _objection(_mean(made, image, axes)) == "has a tensor of the schema's type 5"
    made = Crafted()
    image, axes = made.tensor(IMAGE), made.constant([1, 2])
    made.graph.tensors[image].isVariable = True
    assert _objection(_mean(made, image, axes)) == "keeps a variable from frame to frame"
    made = Crafted()
    image, axes = made.tensor(IMAGE), made.constant([1, 2])
    made.graph.tensors[axes].buffer = 77
    assert _objection(_mean(made, image, axes)) == "has no buffer 77"


@pytest.mark.parametrize(
    ("scales", "points", "words"),
    [
        ([0.0], [0], "has a scale that is not positive"),
        ([float("nan")], [0], "has a scale that is not positive"),
        ([1.0], [300], "has a zero point outside of its type"),
        ([1.0, 1.0], [0, 0], "has 2 scales along an axis of 1"),
        ([1.0], [0, 0], "has more zero points than scales"),
    ],
)
def test_quantizations(scales: list[float], points: list[int], words: str) -> None:
    made = Crafted()
    image, axes = made.tensor(IMAGE, scale=1.0), made.constant([1, 2])
    made.graph.tensors[image].quantization.scale = scales
    made.graph.tensors[image].quantization.zeroPoint = points
    assert _objection(_mean(made, image, axes)) == words


def test_a_constant_in_two_places_has_no_meaning() -> None:
    """The runtime takes one and a check the other: then a check proves nothing."""
    made = Crafted()
    image, axes = made.tensor(IMAGE), made.constant([1, 2])
    made.model.buffers[-1].offset, made.model.buffers[-1].size = 64, 8
    assert _objection(_mean(made, image, axes)) == "has a constant in two places"
    made = Crafted()
    image, axes = made.tensor(IMAGE), made.constant([1, 2])
    made.model.buffers[-1].data, made.model.buffers[-1].offset, made.model.buffers[-1].size = None, 1 << 40, 8
    assert _objection(_mean(made, image, axes)) == "has a constant beyond its end"


def test_what_is_damaged_is_refused() -> None:
    with pytest.raises(InputError, match="truncated or damaged"):
        _objection(crafted.harmless()[:100])


def test_a_reader_that_follows_every_reference_is_spared() -> None:
    data = crafted.shared_name(tensors=10_000, name_bytes=1 << 20)
    assert len(data) < 1_200_000  # 10 GB of names
    with pytest.raises(InputError, match="costs too much to read"):
        ModelFile(data).metadata("edgeguard.json")
    with pytest.raises(InputError, match="costs too much to read"):
        ModelFile(crafted.shared_name(tensors=200_000, name_bytes=8)).root  # noqa: B018
    assert ModelFile(crafted.shared_name(tensors=10, name_bytes=8)).metadata("x") is None


def test_tables_over_each_other_are_counted_as_often_as_they_are_named() -> None:
    """400 graphs at one place, each with 400 tensors at one place: 160,000 tables in 3 kB."""
    from flatbuffers import Builder

    builder = Builder(1 << 16)
    schema.TensorStart(builder)
    tensor = schema.TensorEnd(builder)

    def many(start: Callable[[Builder, int], object], offset: int) -> int:
        start(builder, 400)
        for _ in range(400):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    tensors = many(schema.SubGraphStartTensorsVector, tensor)
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graphs = many(schema.ModelStartSubgraphsVector, schema.SubGraphEnd(builder))
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    data = bytes(builder.Output())
    assert len(data) < 4000
    with pytest.raises(InputError, match="more than 100000 parts"):
        ModelFile(data).root  # noqa: B018


def test_lengths_that_lie(subtests: object = None) -> None:
    whole = bytearray(bundled_model().read_bytes())
    for position in range(8, 400, 4):
        damaged = bytearray(whole)
        damaged[position : position + 4] = np.uint32(0x7FFFFFFF).tobytes()
        try:
            _objection(bytes(damaged))
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("kind", "words"), [(INT8, "has a FULLY_CONNECTED of floats with weights of integers"), (FLOAT32, None)]
)
def test_floats_with_weights_of_integers_skip_zeros(kind: int, words: str | None) -> None:
    """A run on zeros says nothing of their time: the runtime quantizes the data, and skips what is zero."""
    made = crafted.Crafted()
    image = made.tensor((1, 4), FLOAT32)
    weights = made.tensor((2, 4), kind, np.ones((2, 4)), scale=1.0 if kind == INT8 else None)
    out = made.tensor((1, 2), FLOAT32)
    made.step(OPS.FULLY_CONNECTED, [image, weights, -1], [out], schema.FullyConnectedOptionsT())
    assert objection(ModelFile(made.bytes([image], [out]))) == words
