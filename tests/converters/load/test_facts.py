"""What a file says of its model, of wrong types: one line each."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgeguard.errors import InputError
from edgeguard.model.labels import parse_labels
from edgeguard_converters.load.source import facts_from_json, facts_from_sidecar


@pytest.mark.parametrize(
    "said",
    [
        {"preprocess": 5}, {"preprocess": [1]}, {"preprocess": {"mean": 5}}, {"preprocess": {"mean": "123"}},
        {"preprocess": {"mean": [10**400, 1, 1]}}, {"preprocess": {"std": [float("inf"), 1, 1]}},
        {"preprocess": {"crop": 5}}, {"preprocess": {"crop_fraction": "x"}}, {"size": [float("inf"), 5]},
        {"size": [10**9, 5]}, {"size": [0, 5]}, {"size": 5}, {"size": {}}, {"labels": 5}, {"labels": "abc"},
        {"detection": 5}, {"trained_on_profile": 5}, {"mean": [0, 0, 0], "input_size": 5},
        {"pretrained_cfg": {"input_size": [3, float("inf"), 5]}}, {"pretrained_cfg": {"crop_pct": "x"}},
        {"pretrained_cfg": {"label_names": 5}}, {"color": []},
    ],
)  # fmt: skip
def test_facts_of_wrong_types(said: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^m\.json: the preprocessing it gives cannot be read"):
        facts_from_json(said, "m.json")


def test_null_is_silence() -> None:
    assert facts_from_json({"preprocess": None, "size": None, "detection": None, "labels": None}, "m.json").size is None


@pytest.mark.parametrize("text", ['{"size": [1e999, 5]}', '{"size": [NaN, 5]}', "[" * 100_000, "[]", "\xff"])
def test_the_json_beside_a_model(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"m\.json: "):
        facts_from_sidecar(tmp_path / "m.json")


@pytest.mark.parametrize("said", [{"id2label": 5}, {"id2label": None}, {"id2label": "abc"}, [5], [[]], {"0": 5}])
def test_labels_of_wrong_types(said: object) -> None:
    with pytest.raises(InputError, match="the label file is JSON, but no"):
        parse_labels(json.dumps(said).encode())
