"""What `model.pt` can be, and everything dangerous that it can be: no code of a file's author ever runs."""

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

if not os.environ.get("CI"):
    pytest.importorskip("torch", reason="the convert extra is not installed")

import torch
from converters.models import SIDE, Residual

from edgeguard.demo.assets import bundled_program
from edgeguard.errors import InputError
from edgeguard_converters.load.pickle_guard import PickleRefused
from edgeguard_converters.load.registry import load_alone, load_source
from edgeguard_converters.load.torch_source import TorchSource

pytestmark = pytest.mark.convert


class Bomb:
    """Unpickling this creates a file."""

    def __init__(self, flag: Path) -> None:
        self.flag = str(flag)

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.flag, "w")


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    return tmp_path / "code-ran"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    torch.export.save(torch.export.export(Residual().eval(), (torch.zeros(1, 3, SIDE, SIDE),)), path)
    return path


def _rewritten(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def _graph(change: Callable[[dict], None]) -> Callable[[str, bytes], bytes]:
    def apply(name: str, data: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return data
        document = json.loads(data)
        change(document)
        return json.dumps(document).encode()

    return apply


def test_exported_program(program: Path) -> None:
    source = load_source(program)
    assert isinstance(source, TorchSource)
    assert source.kind == "torch.export" and source.size == (SIDE, SIDE) and not source.channels_last
    assert source.module(torch.zeros(1, 3, SIDE, SIDE)).shape == (1, 4)


def test_the_attack_on_sample_inputs_works_on_torch_and_not_on_us(program: Path, tmp_path: Path, flag: Path) -> None:
    buffer = io.BytesIO()
    torch.save(((Bomb(flag),), {}), buffer)
    evil = _rewritten(program, tmp_path / "evil.pt2", lambda n, d: buffer.getvalue() if "sample_inputs" in n else d)
    with pytest.raises(PickleRefused, match="not run"):
        load_source(evil)
    assert not flag.exists()
    try:
        torch.export.load(evil)
    except Exception:
        pass
    assert flag.exists(), "torch no longer runs this code: the test has lost its teeth, find the current attack"


@pytest.mark.parametrize("form", ["torch.save", "pickle", "protocol 0"])
@pytest.mark.parametrize("member", ["data/constants/custom_obj_0", "data/constants/opaque_obj_0", "extra/readme.bin"])
def test_a_pickle_in_any_member_is_refused(program: Path, tmp_path: Path, flag: Path, form: str, member: str) -> None:
    buffer = io.BytesIO()
    if form == "torch.save":
        torch.save(Bomb(flag), buffer)
    else:
        pickle.dump(Bomb(flag), buffer, protocol=0 if form == "protocol 0" else 4)
    evil = _rewritten(program, tmp_path / "evil.pt2", lambda n, d: d)
    root = zipfile.ZipFile(program).namelist()[0].split("/")[0]
    with zipfile.ZipFile(evil, "a") as archive:
        archive.writestr(f"{root}/{member}", buffer.getvalue())
    with pytest.raises(InputError):
        load_source(evil)
    assert not flag.exists()


def test_a_weight_declared_as_pickled_is_refused(program: Path, tmp_path: Path, flag: Path) -> None:
    buffer = io.BytesIO()
    torch.save(Bomb(flag), buffer)

    def change(name: str, data: bytes) -> bytes:
        if name.endswith("model_weights_config.json"):
            config = json.loads(data)
            for entry in config["config"].values():
                entry["use_pickle"] = True
            return json.dumps(config).encode()
        return buffer.getvalue() if name.endswith("weight_0") else data

    with pytest.raises(InputError):
        load_source(_rewritten(program, tmp_path / "evil.pt2", change))
    assert not flag.exists()


def test_code_in_the_graph_is_refused(program: Path, tmp_path: Path, flag: Path) -> None:
    def call(document: dict) -> None:
        document["graph_module"]["graph"]["nodes"][0]["target"] = "torch.os.system"

    def file(document: dict) -> None:
        document["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.aten.from_file.default"

    def expression(document: dict) -> None:
        tensors = document["graph_module"]["graph"]["tensor_values"]
        next(iter(tensors.values()))["sizes"][0] = {"as_expr": {"expr_str": f"open('{flag}', 'w')", "hint": None}}

    for change, message in ((call, "no tensor"), (file, "no tensor"), (expression, "not arithmetic")):
        with pytest.raises(PickleRefused, match=message):
            load_source(_rewritten(program, tmp_path / "evil.pt2", _graph(change)))
    assert not flag.exists()


def test_guard_code_is_never_executed(program: Path, tmp_path: Path, flag: Path) -> None:
    def guards(document: dict) -> None:
        document["guards_code"] = [f"open('{flag}', 'w') is not None"]

    evil = _rewritten(program, tmp_path / "evil.pt2", _graph(guards))
    source = load_source(evil)
    assert isinstance(source, TorchSource)
    source.module(torch.zeros(1, 3, SIDE, SIDE))
    assert not flag.exists()


def test_a_pickled_module_is_refused(tmp_path: Path, flag: Path) -> None:
    whole = tmp_path / "whole.pt"
    torch.save(Residual(), whole)
    with pytest.raises(PickleRefused, match=r"the class converters\.models\.Residual"):
        load_source(whole)
    for name, options in (("zip.pt", {}), ("legacy.pt", {"_use_new_zipfile_serialization": False})):
        torch.save({"state_dict": Bomb(flag)}, tmp_path / name, **options)
        with pytest.raises(PickleRefused):
            load_source(tmp_path / name)
    with open(tmp_path / "raw.pt", "wb") as stream:
        pickle.dump(Bomb(flag), stream)
    with pytest.raises(InputError):
        load_source(tmp_path / "raw.pt")
    assert not flag.exists()


@pytest.mark.parametrize("form", ["module", "checkpoint"])
def test_trust_pickle_loads_a_pickled_module(tmp_path: Path, form: str) -> None:
    net = Residual()
    torch.save(net if form == "module" else {"model": net, "epoch": 3}, tmp_path / "whole.pt")
    source = load_source(tmp_path / "whole.pt", size=(SIDE, SIDE), trust_pickle=True)
    assert isinstance(source, TorchSource)
    assert source.kind == "pickled" and source.size == (SIDE, SIDE) and not source.module.training
    x = torch.randn(2, 3, SIDE, SIDE)
    assert torch.equal(source.module(x), net.eval()(x))


def test_trust_pickle_trusts_pickles_only(program: Path, tmp_path: Path, flag: Path) -> None:
    """A .pt2 has no reason to hold code: it stays refused. What is no module is refused after it ran."""
    torch.save({"state_dict": Bomb(flag)}, tmp_path / "bomb.pt")
    with pytest.raises(InputError, match="not a torch module"):
        load_source(tmp_path / "bomb.pt", trust_pickle=True)
    assert flag.exists()  # this is what the flag means
    flag.unlink()

    def guards(document: dict) -> None:
        document["guards_code"] = [f"open('{flag}', 'w') is not None"]

    source = load_source(_rewritten(program, tmp_path / "evil.pt2", _graph(guards)), trust_pickle=True)
    assert isinstance(source, TorchSource)
    source.module(torch.zeros(1, 3, SIDE, SIDE))
    assert not flag.exists()


@pytest.mark.parametrize("nested", [False, True])
def test_state_dict_with_an_architecture(tmp_path: Path, nested: bool) -> None:
    weights = Residual().state_dict()
    path = tmp_path / "w.pt"
    torch.save({"state_dict": weights, "epoch": 3} if nested else weights, path)
    source = load_source(path, arch="converters.models:make_residual", size=(SIDE, SIDE))
    assert isinstance(source, TorchSource)
    assert source.kind == "state_dict" and not source.module.training
    with pytest.raises(InputError, match="give --arch"):
        load_source(path)
    for arch, message in (
        ("nowhere:x", "No module named 'nowhere' in this folder"), ("broken", "module:factory"),
        ("converters.models:nothing", "no attribute"),
        ("builtins:dict", "returned a dict"), ("torch.nn:ReLU", "do not fit"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            load_source(path, arch=arch)


def test_timm_configuration_in_the_checkpoint(tmp_path: Path) -> None:
    config = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1), "input_size": (3, 48, 64), "crop_pct": 0.9}
    torch.save({"state_dict": Residual().state_dict(), "pretrained_cfg": config}, tmp_path / "t.pt")
    source = load_source(tmp_path / "t.pt", arch="converters.models:make_residual")
    assert source.size == (64, 48) and source.facts.crop_fraction == 0.9
    assert source.facts.mean == pytest.approx((127.5, 102, 76.5)) and source.facts.std == pytest.approx((51, 51, 25.5))


@pytest.mark.parametrize("scripted", [True, False])
def test_torchscript(tmp_path: Path, scripted: bool) -> None:
    model, example = Residual().eval(), torch.rand(1, 3, SIDE, SIDE)
    script = torch.jit.script(model) if scripted else torch.jit.trace(model, example)
    script.save(str(tmp_path / "s.pt"))
    source = load_source(tmp_path / "s.pt", size=(SIDE, SIDE))
    assert isinstance(source, TorchSource)
    assert source.kind == "TorchScript"
    assert torch.allclose(source.module(example), model(example), atol=1e-5)
    with pytest.raises(InputError, match="--size"):
        load_source(tmp_path / "s.pt")


def test_a_script_that_reaches_files_is_refused(tmp_path: Path) -> None:
    class Reaches(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((1, 2)) + torch.from_file("/tmp/edgeguard-never", True, 4).sum()

    torch.jit.script(Reaches()).save(str(tmp_path / "f.pt"))
    with pytest.raises(InputError, match="no tensor operator"):
        load_source(tmp_path / "f.pt", size=(SIDE, SIDE))
    assert not Path("/tmp/edgeguard-never").exists()


def test_sidecar(program: Path, tmp_path: Path) -> None:
    copy = tmp_path / "m.pt2"
    copy.write_bytes(program.read_bytes())
    copy.with_suffix(".json").write_text(
        json.dumps({"preprocess": {"mean": [1, 2, 3], "std": [4, 5, 6]}, "labels": ["a", "b", "c", "d"]})
    )
    facts = load_source(copy).facts
    assert facts.mean == (1, 2, 3) and facts.std == (4, 5, 6) and facts.labels == ("a", "b", "c", "d")
    copy.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        load_source(copy)
    assert load_alone(copy).facts.labels is None, "a confined process may not read it, and is told what it says"


def test_our_own_export_says_everything() -> None:
    facts = load_source(bundled_program()).facts
    assert facts.mean == facts.std == (127.5,) * 3 and facts.size == (128, 128) and len(facts.labels or ()) == 13


def test_other_files(tmp_path: Path) -> None:
    files = {
        "empty.pt": (b"", "is empty"),
        "text.pt": (b"hello world", "not a model that is known here"),
        "m.pt": (b"\x1c\0\0\0TFL3", r"no \.tflite that can be read|not a model"),
        "cut.pt2": (bundled_program().read_bytes()[:5000], "truncated or damaged"),
    }
    for name, (data, message) in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=message):
            load_source(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("x.txt", "x")
    with pytest.raises(InputError, match="not of a torch or Keras model"):
        load_source(tmp_path / "other.pt")
    with pytest.raises(InputError, match="cannot read"):
        load_source(tmp_path / "missing.pt")


def test_a_program_that_takes_no_image(tmp_path: Path) -> None:
    path = tmp_path / "v.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(4, 2), (torch.zeros(1, 4),)), path)
    with pytest.raises(InputError, match="not an image batch"):
        load_source(path)
