"""What stands once in a file and is used over and over is counted as often as it is used."""

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from converters.load.hostile_sharing import models_within

from edgeguard.errors import InputError
from edgeguard_converters.load.keras_config import checked_config
from edgeguard_converters.load.pickle_words import check_objects
from edgeguard_converters.load.refused import PickleRefused
from edgeguard_converters.load.saved_model import _check_calls


def _function(nodes: int, *called: str) -> Any:
    empty = SimpleNamespace(func=SimpleNamespace(name=""), list=SimpleNamespace(func=()))
    calls = [SimpleNamespace(func=SimpleNamespace(name=name), list=SimpleNamespace(func=())) for name in called]
    found = [SimpleNamespace(attr={"T": empty}) for _ in range(nodes)]
    return SimpleNamespace(node_def=[*found, *(SimpleNamespace(attr={"f": call}) for call in calls)])


def test_functions_of_a_saved_model() -> None:
    chain = {f"f{i}": _function(3, f"f{i + 1}", f"f{i + 1}") for i in range(40)} | {"f40": _function(1)}
    with pytest.raises(PickleRefused, match="call each other too often"):
        _check_calls(chain)
    _check_calls({f"f{i}": _function(3, f"f{i + 1}") for i in range(400)})
    with pytest.raises(PickleRefused, match="calls itself"):
        _check_calls({"f": _function(1, "g"), "g": _function(1, "f")})


def test_models_within_models_of_keras() -> None:
    checked_config(models_within(8))
    with pytest.raises(PickleRefused, match="connected too often"):
        checked_config(models_within(40))


@pytest.mark.parametrize("kind", [tuple, frozenset])
def test_keys_of_pickles(kind: Any) -> None:
    value: Any = ()
    for _ in range(10):
        value = kind((value, (value,)))
    check_objects(pickle.dumps({value: 1}, 2), "small.pt")
    for _ in range(30):
        value = (value, value)
    with pytest.raises(InputError, match="hold each other too often"):
        check_objects(pickle.dumps([value], 2), "large.pt")


def test_values_that_hold_themselves_are_no_reason() -> None:
    """Loops of objects and lists are usual in what training programs save."""
    loop: list[Any] = [1]
    loop.append({"again": loop, (1, 2): [loop] * 5})
    assert check_objects(pickle.dumps(loop, 2), "loop.pt") == len(pickle.dumps(loop, 2))
