import io
import json
import zipfile
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from system.crafted_zip import DEFLATED, bomb, memory_below

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import InputError
from edgeguard.guard import GuardProfile
from edgeguard.model import Contract, ContractGuard, InputSpec, Preprocess, load_model
from edgeguard.model.contract import read_contract
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.labels import parse_labels, read_labels

CONTRACT = Contract(
    InputSpec(224, 192),
    Preprocess("letterbox", 1.0, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), guessed=True),
    ContractGuard(GuardProfile.preset("fd"), "frame"),
    labels=("background", "Ü"),
    background=True,
    gates={"n": 3},
)


def test_round_trip() -> None:
    assert Contract.from_json(CONTRACT.to_json()) == CONTRACT
    data = json.loads(CONTRACT.to_json())
    assert data["schema"] == 1 and data["guard"]["passes"] == 2 and data["guard"]["place"] == "frame"
    assert set(data) == {
        "schema", "task", "input", "preprocess", "guard", "labels", "background", "outputs", "trained_on_profile",
        "source_sha256", "calibration_sha256", "versions", "gates",
    }  # fmt: skip


def test_a_patch_guard_stands_in_the_contract_only_where_one_was_chosen() -> None:
    guarded = replace(CONTRACT, guard=replace(CONTRACT.guard, patch="lgs"))
    assert Contract.from_json(guarded.to_json()) == guarded
    assert json.loads(guarded.to_json())["guard"]["patch"] == "lgs"
    assert "patch" not in json.loads(CONTRACT.to_json())["guard"]
    model = load_model(bundled_model())
    with pytest.raises(InputError, match="no patch guard 'magic'"):
        model.with_contract(replace(model.contract, guard=replace(model.contract.guard, patch="magic")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2"),
        ({"schema": None}, "schema None"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"input": {"width": 0, "height": 2}}, "input.width"),
        ({"input": {"width": 2}}, "damaged"),
        ({"preprocess": {"std": [0, 1, 1]}}, "preprocess.std"),
        ({"preprocess": {"crop": "top"}}, "preprocess.crop"),
        ({"guard": {"place": "frame", "profile": None}}, "profile is missing"),
        ({"guard": {"place": "frame", "profile": {"schema": 1}}}, "guard.profile"),
        ({"guard": {"place": "none", "profile": None, "patch": 3}}, "guard.patch"),
        ({"task": "panoptic"}, "task 'panoptic', which this version does not know"),
        ({"task": ["classify"]}, "does not know"),
        ({"input": {"width": 8, "height": 8, "kind": "video"}}, "input.kind 'video', which this version does not know"),
    ],
)
def test_damage_is_refused(change: dict[str, object], message: str) -> None:
    data = {**json.loads(CONTRACT.to_json()), **change}
    with pytest.raises(InputError, match=message):
        Contract.from_json(json.dumps(data).encode())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("gates", [1], "gates is not a table"),
        ("background", 1, "background is not true or false"),
        ("labels", "abc", "labels is not a list"),
        ("labels", ["a", None], "an item of labels is not a text"),
        ("input.width", True, "input.width is not a whole number"),
        ("input.width", 8.0, "input.width is not a whole number"),
        ("input.width", 10**400, "input.width is out of range"),
        ("preprocess.crop_fraction", "0.875", "preprocess.crop_fraction is not a number"),
        ("preprocess.mean", {"a": 1}, "preprocess.mean is not a list"),
        ("preprocess.mean", [1, 2, True], "an item of preprocess.mean is not a number"),
        ("preprocess.std", [10**400, 1, 1], "too large"),
        ("guard.profile", [], "guard.profile is not a table or null"),
        ("source_sha256", 3, "source_sha256 is not a text or null"),
    ],
)
def test_types_are_not_believed(key: str, value: object, message: str) -> None:
    data = json.loads(CONTRACT.to_json())
    part, _, name = key.rpartition(".")
    (data[part] if part else data)[name] = value
    with pytest.raises(InputError, match=message):
        Contract.from_json(json.dumps(data).encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"schema":' + "[" * 900 + "]" * 900 + "}", "schema|nested too deeply"),
        ('{"schema": 1, "input": NaN}', "damaged"),
        ('{"schema": 1, "gates": {"a": 1e999}}', "damaged"),
        ('{"schema": 1, "labels": ["\\ud800"]}', "damaged"),
        ('{"schema": ' + "9" * 5000 + "}", "not JSON"),
        (" " * (5 << 20), "larger than 4 MiB"),
    ],
)
def test_texts_that_break_readers(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Contract.from_json(text.encode())
    assert len(str(caught.value)) < 400


def test_not_json() -> None:
    with pytest.raises(InputError, match="not JSON"):
        Contract.from_json(b"\xff{")
    with pytest.raises(InputError, match="schema None"):
        Contract.from_json(b"[]")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
        max_leaves=8,
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    for document in (value, {**json.loads(CONTRACT.to_json()), "preprocess": value}):
        try:
            Contract.from_json(json.dumps(document).encode())
        except InputError:
            continue


def test_the_bundled_model_carries_its_contract_and_its_labels() -> None:
    model = ModelFile(bundled_model().read_bytes())
    contract = read_contract(model)
    assert contract is not None and contract.guard.profile == GuardProfile.preset("fd")
    assert contract.labels == read_labels(model) and contract.background and contract.labels[0] == "background"
    assert contract.trained_on_profile == GuardProfile.preset("fd").sha256


def test_labels() -> None:
    assert parse_labels(b"cat\n dog \n\n") == ("cat", "dog")
    assert parse_labels(b"0  cat\n1  dog house\n") == ("cat", "dog house")
    assert parse_labels(b"7 up\n8 ball\n") == ("7 up", "8 ball")
    for codec in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"):
        assert parse_labels("caf\xe9\r\nna\xefve\r\n".encode(codec)) == ("caf\xe9", "na\xefve"), codec
    assert parse_labels(b'["cat", "dog"]') == ("cat", "dog")
    assert parse_labels(b'{"1": ["n02", "dog"], "0": ["n01", "cat"]}') == ("cat", "dog")
    assert parse_labels(b'{"architectures": [], "id2label": {"0": "cat", "1": "dog"}}') == ("cat", "dog")
    for text, words in ((b"{}", "no list of names"), (b'{"a": 1}', "no object of index"), (b"[1]", "no list of names"),
                        (b"{x", "begins like JSON"), (b"\x00\x01\x00\x00\x02", "no text")):  # fmt: skip
        with pytest.raises(InputError, match=f"the label file .*{words}"):
            parse_labels(text)
    stream = io.BytesIO(b"xxxxTFL3")
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("a/label_map.txt", "x\ny\n")
    assert read_labels(ModelFile(b"xxxxTFL3" + stream.getvalue()[8:])) == ("x", "y")
    assert read_labels(ModelFile(b"xxxxTFL3")) == ()


def test_labels_that_break_readers() -> None:
    assert parse_labels(b"9" * 5000 + b"  cat\n") == ("9" * 5000 + "  cat",)  # a number too long for Python
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_LZMA) as archive:  # its dictionary may be 4 GB
        archive.writestr("labels.txt", "x\n")
    assert read_labels(ModelFile(b"xxxxTFL3" + stream.getvalue())) == ()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(12_000):
            archive.writestr(f"{number:060d}", "")
        archive.writestr("labels.txt", "x\n")
    assert read_labels(ModelFile(b"xxxxTFL3" + stream.getvalue())) == ()  # a list of more than a megabyte
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", "x\n" * 1_000_000)
    assert read_labels(ModelFile(b"xxxxTFL3" + stream.getvalue())) == ()  # 2 MB in 4 kB
    lying = bomb("labels.txt", DEFLATED)
    with memory_below(1 << 20):
        assert read_labels(ModelFile(b"xxxxTFL3" + lying)) == ()  # says 10 bytes, has 4 MB
    whole = bytearray(b"xxxxTFL3" + stream.getvalue())
    for position in range(8, len(whole), 997):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        assert isinstance(read_labels(ModelFile(bytes(damaged))), tuple)


def _coefficients(**fields: Any) -> Contract:
    profile = GuardProfile.preset("jpeg:75")
    values: dict[str, Any] = {"guard": ContractGuard(profile, "frame"), **fields}
    return Contract(InputSpec(64, 48, "int8", color="DCT"), **values)


def test_a_contract_of_coefficients_goes_through_json() -> None:
    contract = _coefficients()
    assert Contract.from_json(contract.to_json()) == contract
    assert contract.input.shape == (9, 8, 64) and InputSpec(64, 48).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("contract", "line"),
    [
        (replace(_coefficients(), input=InputSpec(64, 40, color="DCT")), "multiples of 16, not 64x40"),
        (_coefficients(guard=ContractGuard()), "reads its guard's quantization indices"),
        (_coefficients(guard=ContractGuard(GuardProfile.preset("fd"), "frame")), "needs a ycbcr420 profile"),
        (_coefficients(guard=ContractGuard(GuardProfile.preset("jpeg:75"), "input")), "needs a ycbcr420 profile"),
        (_coefficients(guard=ContractGuard(GuardProfile.preset("jpeg:90"), "frame")), "DC step 3 does not fit"),
        (_coefficients(guard=ContractGuard(GuardProfile.preset("jpeg:75"), "frame", "lgs")), "patch guards"),
    ],
)
def test_what_a_coefficient_model_cannot_read(contract: Contract, line: str) -> None:
    with pytest.raises(InputError, match=line):
        Contract.from_json(contract.to_json())
