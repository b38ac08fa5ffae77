"""Hostile model files against the lists alone: refused in one line, in this process, before a library loads them."""

import os
from functools import partial
from pathlib import Path

import pytest

if not os.environ.get("CI"):
    pytest.importorskip("torch", reason="the convert extra is not installed")
    pytest.importorskip("onnx", reason="the onnx extra is not installed")
    pytest.importorskip("h5py", reason="the keras extra is not installed")

import torch
from converters.load import hostile_advisories as advisories
from converters.load import hostile_implied as implied
from converters.load import hostile_sharing as sharing
from converters.load.hostile_base import Hostile, members, program, write
from converters.load.hostile_others import KERAS, ONNX, TFLITE, small_graph
from converters.load.hostile_torch import torch_files

from edgeguard.errors import InputError
from edgeguard_converters.load.registry import load_source

pytestmark = pytest.mark.convert
LOADED = [*torch_files(), *ONNX, *TFLITE, *advisories.TORCH, *advisories.ONNX, *advisories.TFLITE, *sharing.TORCH]
LOADED += implied.TORCH


def _refuse_to_load(*_: object, **__: object) -> None:
    pytest.fail("a library loaded the file")


@pytest.fixture(autouse=True)
def libraries_shut(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in ((torch.export, "load"), (torch.jit, "load"), (torch, "load")):
        monkeypatch.setattr(place, name, _refuse_to_load)
    from edgeguard_converters.load.onnx_graph import program

    monkeypatch.setattr(program, "OnnxModule", _refuse_to_load)


def _named(files: list[Hostile]) -> list[object]:
    return [pytest.param(make, id=name) for name, _, make in files]


def test_there_are_sixty_of_twenty_five_kinds() -> None:
    files = [*LOADED, *KERAS, *advisories.KERAS, *sharing.KERAS]
    assert len(files) >= 60 and len({kind for _, kind, _ in files}) >= 25
    assert len({name for name, _, _ in files}) == len(files)


@pytest.mark.parametrize("make", _named(LOADED))
def test_it_is_refused_in_one_line(make, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in", flag)
    with pytest.raises(InputError) as refused:
        load_source(path, size=(32, 32))
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600
    assert not flag.exists() and sorted(p.name for p in tmp_path.iterdir()) == ["in"]


@pytest.mark.parametrize("make", _named([*KERAS, *advisories.KERAS, *sharing.KERAS]))
def test_a_keras_file_is_refused_before_tensorflow_is_there(make, tmp_path: Path) -> None:
    from edgeguard_converters.load.keras_files import checked_copy

    flag = tmp_path / "flag"
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError) as refused:
        checked_copy(make(tmp_path / "in", flag), tmp_path)
    assert "\n" not in str(refused.value) and not flag.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_what_a_script_holds_beside_its_code_stays_behind(tmp_path: Path) -> None:
    """Bytecode for another interpreter, a pickle: nobody reads it, and the library does not see it."""
    import io
    import zipfile

    from converters.load import hostile_scripts

    from edgeguard_converters.load.script_archive import fresh_script

    code = b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R."
    change = partial(hostile_scripts._added, "bytecode.pkl", code)
    path = hostile_scripts._script(change, tmp_path, tmp_path / "flag")
    found = members(path.read_bytes())
    assert any(name.endswith("bytecode.pkl") for name in found)
    with zipfile.ZipFile(io.BytesIO(fresh_script(found, path.name).getvalue())) as fresh:
        assert fresh.namelist() and not any("bytecode" in name for name in fresh.namelist())


def test_the_small_graph_itself_is_good(tmp_path: Path) -> None:
    """What the hostile ones are changed from."""
    from ai_edge_litert import schema_py_generated as schema

    from edgeguard_converters.graph.foreign import check_foreign_graph
    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    check_foreign_graph(TfliteGraph.of(small_graph(schema)).data)


def test_a_graph_of_countless_nodes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch took more than two minutes for 200,000, which a file of some megabytes holds."""
    from edgeguard_converters.load import program_schema

    monkeypatch.setattr(program_schema, "_MOST_NODES", 0)
    path = write(tmp_path / "m.pt2", program())
    with pytest.raises(InputError, match="a graph of more than 0 nodes"):
        load_source(path, size=(32, 32))


@pytest.mark.parametrize(
    ("operator", "attributes", "why"),
    [
        ("Split", {"axis": 1, "num_outputs": 2_000_000_000}, "splits into 2000000000 pieces"),
        ("Split", {"axis": 1, "num_outputs": 0}, "splits into 0 pieces"),
    ],
)
def test_pieces_without_end_take_no_memory(operator: str, attributes: dict[str, int], why: str) -> None:
    """A list of their sizes took 8 GB and two minutes before the process was ended."""
    from edgeguard_converters.load.onnx_graph.arrangement import ARRANGEMENT
    from edgeguard_converters.load.onnx_graph.node import Node

    node = Node(operator, "", 18, ("x",), 1, attributes, (None,), ((1, 3, 8, 8),))
    with pytest.raises(InputError, match=why):
        ARRANGEMENT[operator](node)


def test_places_that_are_taken_backwards_are_bounded() -> None:
    from edgeguard_converters.load.onnx_graph.arrangement import ARRANGEMENT
    from edgeguard_converters.load.onnx_graph.node import Node

    def node(begin: int, step: int) -> Node:
        known = tuple(torch.tensor([value]) for value in (begin, -(1 << 62), 0, step))
        return Node("Slice", "", 17, ("x", "a", "b", "c", "d"), 1, {}, (None, *known), ((400_000_000,), *[(1,)] * 4))

    for begin, step in ((-1, -2), (-2, -1)):
        with pytest.raises(InputError, match="places backwards one by one"):
            ARRANGEMENT["Slice"](node(begin, step))
    ARRANGEMENT["Slice"](node(-1, -1))  # the whole, turned around: no list
