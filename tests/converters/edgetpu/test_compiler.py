"""`--target edgetpu` against a stand-in for Google's program: its files, its table, its failures."""

import shutil
import stat
from pathlib import Path

import pytest

from edgeguard.demo.assets import bundled_model
from edgeguard.errors import CheckFailed
from edgeguard.model.contract import read_contract
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.labels import read_labels

pytestmark = pytest.mark.convert

_PROGRAM = """#!{python}
import sys
from pathlib import Path
mode = "{mode}"
out, model = Path(sys.argv[sys.argv.index("--out_dir") + 1]), Path(sys.argv[-1])
print("Edge TPU Compiler version 16.0.384591198")
if mode == "fails":
    print("Internal compiler error. Aborting! ", file=sys.stderr)
    sys.exit(1)
from edgeguard_converters.graph.tflite_graph import TfliteGraph
graph = TfliteGraph(model.read_bytes()).editable()
graph.metadata = []
if mode != "maps nothing":
    code = graph.operatorCodes[graph.subgraphs[0].operators[0].opcodeIndex]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, b"edgetpu-custom-op"
    for op in graph.subgraphs[0].operators:
        op.builtinOptionsType, op.builtinOptions = 0, None
(out / (model.stem + "_edgetpu.tflite")).write_bytes(TfliteGraph.of(graph).data)
rows = "CONV_2D                        4          Mapped to Edge TPU\\nPAD    2   Mapped to Edge TPU\\n"
rows += "TRANSPOSE                      1          Operation is otherwise supported, but not mapped\\n"
if mode == "maps nothing":
    rows = "CONV_2D                        4          More than one subgraph is not supported\\n"
(out / (model.stem + "_edgetpu.log")).write_text("Operator                       Count      Status\\n\\n" + rows)
print("Model compiled successfully in 123 ms.")
"""


def _program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    import sys

    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / "edgetpu_compiler"
    program.write_text(_PROGRAM.format(python=sys.executable, mode=mode))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


@pytest.fixture
def int8(tmp_path: Path) -> Path:
    """A converted file: the bundled one."""
    return Path(shutil.copy(bundled_model(), tmp_path / "m.tflite"))


def test_the_compiled_file_gets_its_contract_back(int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeguard_converters.edgetpu.compiler import compile_beside

    _program(tmp_path, monkeypatch, "works")
    made = compile_beside(int8)
    assert made is not None
    path, compiled = made
    assert path.name == "m_edgetpu.tflite" and compiled.mapped == 6
    assert (
        compiled.left[0][:2] == ("TRANSPOSE", 1)
        and "6 of 7 operators map; on the CPU: TRANSPOSE 1" in compiled.summary()
    )
    before, after = (ModelFile(p.read_bytes()) for p in (int8, path))
    assert after.is_edgetpu and read_contract(after) == read_contract(before)
    assert read_labels(after) == read_labels(before) != ()


@pytest.mark.parametrize(
    ("mode", "message"), [("fails", "Internal compiler error"), ("maps nothing", "mapped no operator")]
)
def test_a_compiler_that_fails(
    int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, message: str
) -> None:
    from edgeguard_converters.edgetpu.compiler import compile_beside

    target = int8.with_name("m_edgetpu.tflite")
    _program(tmp_path, monkeypatch, mode)
    with pytest.raises(CheckFailed, match=message):
        compile_beside(int8)
    assert not target.exists()


def test_no_compiler(int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeguard_converters.edgetpu.compiler import compile_beside

    monkeypatch.setenv("PATH", str(tmp_path))
    assert compile_beside(int8) is None
