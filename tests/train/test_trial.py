"""A .pt2 to fine-tune is tried in a confined process: what it takes or breaks, it takes and breaks there."""

import json
import os
import zipfile
from pathlib import Path

import pytest

if not os.environ.get("CI"):
    pytest.importorskip("torch", reason="the convert extra is not installed")

import torch
from converters.load.hostile_base import members, write
from system.crafted_zip import memory_below

from edgeguard.errors import InputError
from edgeguard.train.export import load_program, program_facts, save_program
from edgeguard.train.networks import network

pytestmark = [pytest.mark.convert, pytest.mark.full]


class _Fills(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).mean((2, 3)) + torch.full((55, 57), 1.0).sum()


def _filling(path: Path, sides: list[int]) -> Path:
    batch = torch.export.Dim("batch", min=1, max=4096)
    example = (torch.zeros(2, 3, 32, 32),)
    torch.export.save(torch.export.export(_Fills().eval(), example, dynamic_shapes=({0: batch},)), path)
    found = members(path.read_bytes())
    name = next(name for name in found if "/models/" in name)
    assert b"[55, 57]" in found[name]
    found[name] = found[name].replace(b"[55, 57]", json.dumps(sides).encode())
    return write(path, found)


@pytest.mark.parametrize("sides", [[35_000, 35_000], [90_000, 90_000], [10**9, 10**9]])
def test_a_program_that_fills_memory_fills_none_here(tmp_path: Path, sides: list[int]) -> None:
    """4.9 GB are filled until the process is ended; 32 GB it does not get; 4e18 bytes nobody has."""
    path = _filling(tmp_path / "evil.pt2", sides)
    if sides[0] < 10**9:
        with pytest.raises(InputError, match="evil.pt2 cannot be read as a torch.export program: .*memory"):
            load_program(path, 32)
    else:
        with pytest.raises(InputError):
            module, _ = load_program(path, 32)
            module(torch.zeros(2, 3, 32, 32))


def test_a_good_program_is_tried_and_loaded(tmp_path: Path) -> None:
    made = network("resnet9", 3, 8, 32, None)
    save_program(made, tmp_path / "model.pt2", size=32, labels=("a", "b", "c"), profile=None)
    module, facts = load_program(tmp_path / "model.pt2", 32)
    assert facts["labels"] == ["a", "b", "c"] and program_facts(tmp_path / "model.pt2")[1] == ("a", "b", "c")
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.parametrize("labels", [None, "abc", [1, 2], ["a"] * 65_537, {"a": 1}])
def test_the_labels_of_a_trained_folder_are_bounded_names(tmp_path: Path, labels: object) -> None:
    """The network is made for as many: ten million are gigabytes of weights before anything is compared."""
    name = "archive/extra/edgeguard.json"
    write(tmp_path / "m.pt2", {"archive/archive_format": b"pt2", name: json.dumps({"labels": labels}).encode()})
    with pytest.raises(InputError, match="m.pt2 says of itself is damaged"):
        program_facts(tmp_path / "m.pt2")


def test_what_a_program_says_of_itself_is_read_alone(tmp_path: Path) -> None:
    """Packed zeros beside it, 11 MB, took 3.2 GB and 20 s where a trained folder was only looked at."""
    said = json.dumps({"labels": ["a"]}).encode()
    with zipfile.ZipFile(tmp_path / "m.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/extra/edgeguard.json", said)
        archive.writestr("archive/data/weights/weight_0", bytes(16 << 20))
    with memory_below(2 << 20):
        assert program_facts(tmp_path / "m.pt2") == ({"labels": ["a"]}, ("a",))
    with zipfile.ZipFile(tmp_path / "m.pt2", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/extra/edgeguard.json", said)
    with pytest.raises(InputError, match="twice"):
        program_facts(tmp_path / "m.pt2")
