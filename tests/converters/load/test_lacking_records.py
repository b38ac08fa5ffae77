"""Records of a file that lack a field or hold another type: one line that names it, found by `fuzz_loaders.py`."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

if not os.environ.get("CI"):
    pytest.importorskip("torch", reason="the convert extra is not installed")

from converters.load.hostile_base import program

from edgeguard.errors import InputError
from edgeguard.system.frames import Frame
from edgeguard_converters.load.exported_archive import fresh_program
from edgeguard_converters.load.keras_config import checked_config
from edgeguard_converters.load.model_process import _error

pytestmark = pytest.mark.convert


@pytest.fixture(scope="module")
def members() -> dict[str, bytes]:
    return program()


def _first(document: Any) -> Any:
    return next(iter(document["config"].values()))


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        (lambda document: document.pop("config"), "config"),
        (lambda document: _first(document).pop("path_name"), "path_name"),
        (lambda document: _first(document).pop("use_pickle"), "use_pickle"),
        (lambda document: _first(document).pop("tensor_meta"), "tensor_meta"),
        (lambda document: _first(document)["tensor_meta"].pop("sizes"), "sizes"),
    ],
)
def test_a_program_whose_table_of_weights_lacks_something(
    members: dict[str, bytes], change: Callable[[Any], Any], lacking: str
) -> None:
    name = next(name for name in members if name.endswith("model_weights_config.json"))
    document = json.loads(members[name])
    change(document)
    with pytest.raises(InputError, match=f"is damaged: a record without '{lacking}'"):
        fresh_program({**members, name: json.dumps(document).encode()})


@pytest.mark.parametrize("name", [[], {}, 7, True])
def test_a_layer_whose_class_is_no_text(name: object) -> None:
    with pytest.raises(InputError, match="the model holds the class"):
        checked_config({"class_name": "Sequential", "config": {"layers": [{"class_name": name, "config": {}}]}})


def test_what_a_library_says_becomes_a_sentence() -> None:
    said = str(_error(Frame({"error": "RuntimeError", "text": "'config'"})))
    assert said == "the model cannot be read or run: 'config'"
    assert "does not say why" in str(_error(Frame({"error": "RuntimeError", "text": ""})))


def test_the_good_program_passes(members: dict[str, bytes]) -> None:
    assert fresh_program(members).getbuffer().nbytes > 1000
