"""A .pt2 to fine-tune may be a stranger's: it is read behind the converter's lists, and never as torch would."""

import os
from pathlib import Path

import pytest

if not os.environ.get("CI"):
    pytest.importorskip("torch", reason="the convert extra is not installed")

import torch
from converters.load.hostile_torch import torch_files

from edgeguard.errors import InputError
from edgeguard.train.export import load_program, save_program
from edgeguard.train.networks import network

pytestmark = [pytest.mark.convert, pytest.mark.full]


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, _, make in torch_files()])
def test_no_code_of_it_runs(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = tmp_path / "flag"
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in", flag)
    monkeypatch.setattr(torch.export, "load", lambda *_, **__: pytest.fail("torch loaded the file"))
    with pytest.raises(InputError) as refused:
        load_program(path)
    assert "\n" not in str(refused.value) and not flag.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_what_we_wrote_is_read_and_can_be_trained(tmp_path: Path) -> None:
    made = network("resnet9", 3, 8, 32, None)
    save_program(made, tmp_path / "model.pt2", size=32, labels=("a", "b", "c"), profile=None)
    module, facts = load_program(tmp_path / "model.pt2")
    assert facts["labels"] == ["a", "b", "c"]
    images = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(module(images), made.eval()(images))
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    module(images).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
