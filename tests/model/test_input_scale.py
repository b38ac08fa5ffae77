"""A float input is scaled as the file's metadata say. The layout was checked once against MediaPipe's own writer."""

from pathlib import Path

import numpy as np
import pytest
from flatbuffers import Builder
from hypothesis import given
from hypothesis import strategies as st
from model.crafted import schema
from model.made_models import Out, made_model

from edgeguard.model import load_model
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.input_scale import said_scale

_THRESHOLD, _NORMALIZATION = 3, 1  # kinds of process units


def _metadata(mean: list[float], std: list[float]) -> bytes:
    """ModelMetadata with one graph, one input, and two process units: a threshold, then the normalization."""
    builder = Builder(256)

    def table(slots: dict[int, int], kind: int = 0) -> int:
        builder.StartObject(8)
        if kind:
            builder.PrependUint8Slot(0, kind, 0)
        for number, offset in slots.items():
            builder.PrependUOffsetTRelativeSlot(number, offset, 0)
        return builder.EndObject()

    def vector(tables: list[int]) -> int:
        builder.StartVector(4, len(tables), 4)
        for one in reversed(tables):
            builder.PrependUOffsetTRelative(one)
        return builder.EndVector()

    means, stds = (builder.CreateNumpyVector(np.array(values, np.float32)) for values in (mean, std))
    normalization = table({0: means, 1: stds})
    other = table({})
    units = vector([table({1: other}, _THRESHOLD), table({1: normalization}, _NORMALIZATION)])
    image = table({4: units})
    graph = table({2: vector([image])})
    root = table({3: vector([graph])})
    builder.Finish(root, b"M001")
    return bytes(builder.Output())


def _with_metadata(data: bytes, metadata: bytes) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(metadata, np.uint8)
    model.buffers.append(buffer)
    entry.name, entry.buffer = b"TFLITE_METADATA", len(model.buffers) - 1
    model.metadata = [entry]
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


#: Two scores: 0, and the mean of the input as the graph gets it.
FLOAT = made_model([Out([[0.0, 0.0]], per_level=1.0)], float_input=True)


@pytest.mark.parametrize(
    ("mean", "std", "line"),
    [
        ([127.5], [127.5], "(level - 127.5) / 127.5"),
        ([0.0], [255.0], "(level - 0) / 255"),
        ([123.5, 116.25, 103.5], [58.5, 57.0, 57.5], "(level - [123.5, 116.25, 103.5]) / [58.5, 57, 57.5]"),
        ([100.0, 110.0, 120.0], [50.0], "(level - [100, 110, 120]) / [50, 50, 50]"),
    ],
)
def test_the_scale_is_used_and_said(tmp_path: Path, mean: list[float], std: list[float], line: str) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(_with_metadata(FLOAT, _metadata(mean, std)))
    model = load_model(path)
    assert f"the float input is {line}, as the file's metadata say" in model.guesses
    assert model.contract.preprocess.mean == tuple(mean if len(mean) == 3 else mean * 3)
    assert model.contract.preprocess.std == tuple(std if len(std) == 3 else std * 3)


def test_levels_of_a_quantized_input_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(_with_metadata(made_model([Out([[0.1, 0.9]])]), _metadata([127.5], [127.5])))
    assert load_model(path).contract.preprocess.std == load_model(_plain(tmp_path)).contract.preprocess.std


def _plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.tflite"
    path.write_bytes(made_model([Out([[0.1, 0.9]])]))
    return path


@pytest.mark.parametrize(
    ("mean", "std", "why"),
    [
        ([0.0], [0.0], "a mean or deviation is 0 or no number"),
        ([float("nan")], [1.0], "a mean or deviation is 0 or no number"),
        ([1.0, 2.0], [1.0], "2 means and 1 deviations for 3 channels"),
    ],
)
def test_a_scale_that_is_none_is_said(tmp_path: Path, mean: list[float], std: list[float], why: str) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(_with_metadata(FLOAT, _metadata(mean, std)))
    guesses = load_model(path).guesses
    assert f"the scale in the file's metadata cannot be used ({why})" in guesses
    assert "the float input is taken to want -1..1" in guesses


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_damaged_metadata_say_nothing(place: int, value: int) -> None:
    metadata = bytearray(_metadata([127.5], [127.5]))
    metadata[place % len(metadata)] = value
    found = said_scale(ModelFile(_with_metadata(FLOAT, bytes(metadata))))
    assert found is None or found.unusable or all(np.isfinite((*found.mean, *found.std)))
