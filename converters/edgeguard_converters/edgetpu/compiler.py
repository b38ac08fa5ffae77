"""Google's `edgetpu_compiler`, where it is installed: run it, read its verdict, put the contract back.

The program exists for x86-64 Linux only, in Google's own package repository. It copies what it can map into one custom
operator and drops what it does not know of the file, so the contract is embedded again afterwards.
"""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgeguard.errors import CheckFailed
from edgeguard.model.contract import ENTRY, read_contract
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.system.files import write_bytes
from edgeguard_converters.edgetpu.predict import predict
from edgeguard_converters.graph.tflite_graph import TfliteGraph
from edgeguard_converters.load.archive import read_file

PROGRAM = "edgetpu_compiler"
HOW_TO_GET_IT = (
    "edgetpu_compiler is not on PATH: it runs on x86-64 Debian or Ubuntu, from Google's package repository for Coral "
    "(coral-edgetpu-stable, package edgetpu-compiler), or in their Colab; the int8 file is ready for it"
)
_LIMIT_S = 600
_ROW = re.compile(r"^([A-Z][A-Z0-9_]+)\s+(\d+)\s+(\S.*?)\s*$")
_MAPPED = "Mapped to Edge TPU"


@dataclass(frozen=True)
class Compiled:
    """What the compiler made and said.

    Attributes:
        data: the compiled file, without a contract.
        mapped: operators that run on the Edge TPU.
        left: (operator, count, reason) of those that stay on the CPU.
        log: the compiler's own words.
    """

    data: bytes
    mapped: int
    left: tuple[tuple[str, int, str], ...]
    log: str

    def summary(self) -> str:
        """One line."""
        total = self.mapped + sum(count for _, count, _ in self.left)
        rest = ", ".join(f"{name} {count} ({reason})" for name, count, reason in self.left)
        return f"compiled: {self.mapped} of {total} operators map" + (f"; on the CPU: {rest}" if rest else "")


def compile_beside(path: Path, program: str = PROGRAM) -> tuple[Path, Compiled] | None:
    """Compile a finished file to `NAME_edgetpu.tflite` beside it, with contract and labels; None without a compiler.

    Raises:
        CheckFailed: the compiler fails.
    """
    data = read_file(path)
    compiled = compile_for_edgetpu(data, program)
    if compiled is None:
        return None
    contract = read_contract(ModelFile(data))
    finished = TfliteGraph(compiled.data)
    if contract is not None:
        finished = finished.with_contract(ENTRY, contract.to_json(), contract.labels)
    target = path.with_name(f"{path.stem}_edgetpu.tflite")
    write_bytes(target, finished.data)
    return target, compiled


def compile_for_edgetpu(data: bytes, program: str = PROGRAM) -> Compiled | None:
    """Compile an int8 file; None where the compiler is not installed.

    Raises:
        CheckFailed: the compiler fails, takes longer than ten minutes, or maps nothing.
    """
    found = shutil.which(program)
    if found is None:
        return None
    with tempfile.TemporaryDirectory(prefix="edgeguard-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(data)
        command = [found, "--show_operations", "--out_dir", str(folder), str(folder / "model.tflite")]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise CheckFailed(f"{program} took longer than {_LIMIT_S} s") from error
        target = folder / "model_edgetpu.tflite"
        if done.returncode != 0 or not target.is_file():
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise CheckFailed(f"{program} failed: {lines[-1] if lines else f'exit status {done.returncode}'}")
        log = folder / "model_edgetpu.log"
        text = done.stdout + (log.read_text(errors="replace") if log.is_file() else "")
        compiled = target.read_bytes()
    rows = sorted({(m[1], int(m[2]), m[3]) for m in map(_ROW.match, text.splitlines()) if m})
    mapped = sum(count for _, count, status in rows if status == _MAPPED)
    if mapped == 0 or not predict(TfliteGraph(compiled)).compiled:
        raise CheckFailed(
            f"{program} mapped no operator to the Edge TPU; see `edgeguard model show` for the first break"
        )
    left = tuple(row for row in rows if row[2] != _MAPPED)
    return Compiled(compiled, mapped, left, text)
