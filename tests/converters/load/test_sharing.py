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
from edgeguard_converters.load.saved_model import _check_calls, _check_objects, _check_value, _keep_plain


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


@pytest.mark.parametrize("deeper", [b"\x85", b"]q\x01h\x00ah\x01q\x00", b"}K\x01h\x00sq\x00"])
def test_values_within_values_without_end(deeper: bytes) -> None:
    """torch took 200,000 tuples within tuples apart by a function that calls itself, and crashed."""
    for times in (900, 100_000):
        program = b"\x80\x02)q\x00" + deeper * times + b"."
        if times == 900:
            assert check_objects(program, "m.pt") == len(program)
            continue
        with pytest.raises(InputError, match="nested too deeply"):
            check_objects(program, "m.pt")


def test_values_that_hold_themselves_are_no_reason() -> None:
    """Loops of objects and lists are usual in what training programs save."""
    loop: list[Any] = [1]
    loop.append({"again": loop, (1, 2): [loop] * 5})
    assert check_objects(pickle.dumps(loop, 2), "loop.pt") == len(pickle.dumps(loop, 2))


def _value(kind: str, **fields: Any) -> Any:
    made = {"func": SimpleNamespace(name="", attr={}), "list": SimpleNamespace(func=(), tensor=()), **fields}
    return SimpleNamespace(WhichOneof=lambda _: kind, **made)


def test_what_the_attributes_of_a_saved_model_may_stand_for() -> None:
    """Functions with parameters are calls that nobody counts; a constant may say one number for a terabyte of them."""
    called = SimpleNamespace(name="f", attr={"g": 1})
    for value in (_value("placeholder"), _value("func", func=called)):
        with pytest.raises(PickleRefused, match="functions with parameters"):
            _check_value(value)

    def tensor(*sides: int) -> Any:
        shape = SimpleNamespace(dim=[SimpleNamespace(size=size) for size in sides])
        return _value("tensor", tensor=SimpleNamespace(tensor_shape=shape, ByteSize=lambda: 40))

    assert _check_value(_value("i")) == 0 and _check_value(tensor(2, 5)) == 0
    assert _check_value(tensor(1 << 40)) == (1 << 40) - 40
    with pytest.raises(PickleRefused, match="a negative side"):
        _check_value(tensor(-1, 3))


def test_how_to_run_a_saved_model_is_not_its_business() -> None:
    attributes = dict.fromkeys(["_XlaMustCompile", "config_proto", "executor_type", "T", "_output_shapes"])
    _keep_plain(attributes)
    assert list(attributes) == ["T", "_output_shapes"]


@pytest.mark.parametrize("name", ["__class__", "__dict__", "__del__"])
def test_objects_of_a_saved_model_are_no_parts_of_python(name: str) -> None:
    def graph(name: str) -> Any:
        node = SimpleNamespace(
            WhichOneof=lambda _: "constant", registered_saver=None, ClearField=lambda _: None,
            children=[SimpleNamespace(local_name=name)],
        )  # fmt: skip
        return SimpleNamespace(nodes=[node])

    _check_objects(graph("__call__"))
    with pytest.raises(PickleRefused, match="an object of the name"):
        _check_objects(graph(name))
