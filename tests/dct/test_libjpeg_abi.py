"""The binary interface of libjpeg as the native library declares it: against libjpeg's headers, and without them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from programs import missing, needed

from edgeguard.dct import libjpeg

REPOSITORY = Path(__file__).parents[2]
NATIVE = REPOSITORY / "edgeguard/dct/native"
CHECK = REPOSITORY / "tests/native/check_libjpeg_abi.cpp"
HEADER = "libjpeg_abi.h"
#: A library with libjpeg's names whose reader has another size: its constructor says so through the error manager.
OTHER_SIZE = """
#include <stddef.h>
#include <string.h>
typedef void (*Leave)(void **);
static void describe(void **object, char *line) { (void)object; strcpy(line, "another size"); }
void **jpeg_std_error(void **errors) { errors[3] = (void *)describe; return errors; }
void jpeg_CreateDecompress(void **object, int abi, size_t size) {
    (void)abi;
    if (size != 640) ((Leave)((void **)object[0])[0])(object);
}
"""
FLAGS = ("-std=c++17", "-Wall", "-Wextra", "-Werror")


@pytest.fixture(scope="module")
def compiler() -> str:
    """A C++ compiler that finds libjpeg's headers."""
    found = needed("c++", "g++", "clang++")
    tried = subprocess.run(
        [found, "-E", "-x", "c++", "-"], input="#include <jpeglib.h>\n", text=True, capture_output=True
    )
    return found if tried.returncode == 0 else missing("jpeglib.h (libjpeg62-turbo-dev)")


def compile_check(compiler: str, header: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Compile the check with this text as the header; the program lies in the folder."""
    for name in ("abi.h", "kernel.h", "libjpeg_api.h", "libjpeg_api.cpp"):
        (folder / name).write_text((NATIVE / name).read_text())
    (folder / HEADER).write_text(header)
    command = [compiler, *FLAGS, f"-I{folder}", str(CHECK), str(folder / "libjpeg_api.cpp"), "-ldl"]
    return subprocess.run([*command, "-o", str(folder / "check")], text=True, capture_output=True)


def test_every_place_is_the_one_in_the_headers(compiler: str, tmp_path: Path) -> None:
    """It compiles, and the library that serves takes our sizes and no others."""
    compiled = compile_check(compiler, (NATIVE / HEADER).read_text(), tmp_path)
    assert compiled.returncode == 0, compiled.stderr
    path = libjpeg.libjpeg_path() or missing("libjpeg.so.62")
    ran = subprocess.run([str(tmp_path / "check"), path], text=True, capture_output=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "laid out as we know it" in ran.stdout and ran.stdout.count("refused") == 6


@pytest.mark.parametrize(
    ("ours", "wrong", "complaint"),
    [
        ("unsigned scale_up, scale_down;", "unsigned scale_down, scale_up;", "the place of scale_up"),
        ("uint8_t marker;", "int8_t marker;", "the kind of marker"),
        ("Gap<48, 264> gap2;\n    int optimize;", "Gap<48, 260> gap2;\n    int optimize;", "the place of optimize"),
        ("BadCode = 118", "BadCode = 119", "JWRN_HUFF_BAD_CODE"),
        ("int (*start_output)(Reader*, int scan);", "int (*start_output)(Reader*);", "the call of jpeg_start_output"),
    ],
)
def test_a_wrong_place_does_not_compile(compiler: str, tmp_path: Path, ours: str, wrong: str, complaint: str) -> None:
    """Each kind of mistake is named."""
    header = (NATIVE / HEADER).read_text()
    assert header.count(ours) == 1
    compiled = compile_check(compiler, header.replace(ours, wrong), tmp_path)
    assert compiled.returncode != 0 and complaint in compiled.stderr


def test_the_check_leaves_nothing_out() -> None:
    """Every object, member, call and number of the header stands in the check."""
    header, check = re.sub(r"//.*", "", (NATIVE / HEADER).read_text()), CHECK.read_text()
    found = 0
    for name, body in re.findall(r"^struct (\w+) \{\n(.*?)^\};", header, re.DOTALL | re.MULTILINE):
        for member in members(body):
            pattern = rf"SAME_CALL\({member}," if name == "Calls" else rf"SAME\({name}, {member}(\.\w+)?,"
            assert re.search(pattern, check), f"{name}.{member} is not checked"
            found += 1
        assert name in ("Calls", "Object") or f"SAME_SIZE({name}," in check, f"the size of {name} is not checked"
    numbers = re.findall(r"(\w+) = (?:0x)?[0-9A-F]+", header)
    for number in numbers:
        assert re.search(rf"SAME_NUMBER\((ColorSpace::)?{number},", check), f"{number} is not checked"
    assert found >= 61 and len(numbers) >= 15


def members(body: str) -> list[str]:
    """The names that a struct declares, without gaps."""
    names: list[str] = []
    for line in body.splitlines():
        declaration = line.strip().rstrip(";")
        if not declaration or declaration.startswith("Gap<"):
            continue
        pointer = re.search(r"\(\*(\w+)\)", declaration)
        names += [pointer[1]] if pointer else re.findall(r"(\w+)(?:\[\w+\])?(?=,|$)", declaration)
    return names


def test_the_library_is_built_without_libjpegs_headers() -> None:
    """Preprocessing every source reads no header of libjpeg, though it may be installed."""
    compiler = needed("c++", "g++", "clang++")
    sources = [str(path) for path in NATIVE.glob("*.cpp") if path.name != "kernel.cpp"]
    listed = subprocess.run([compiler, *FLAGS, "-M", *sources], text=True, capture_output=True, check=True)
    read = {Path(word).name for word in listed.stdout.split()}
    assert HEADER in read and not read & {"jpeglib.h", "jconfig.h", "jmorecfg.h", "jerror.h"}


@pytest.mark.parametrize("complete", [True, False])
def test_a_library_of_another_layout_is_passed_over(tmp_path: Path, complete: bool) -> None:
    """So is one that lacks a function; the next candidate serves."""
    real = libjpeg.libjpeg_path() or missing("libjpeg.so.62")
    names = re.findall(r'"(jpeg_\w+)"', (NATIVE / "libjpeg_api.cpp").read_text())
    assert len(names) == 17
    rest = [f"void {name}(void) {{}}" for name in names if name not in OTHER_SIZE]
    source, other = tmp_path / "other.c", tmp_path / "libother.so"
    source.write_text("\n".join([OTHER_SIZE, *rest[: None if complete else -1]]))
    subprocess.run([needed("cc", "gcc", "clang"), "-shared", "-fPIC", str(source), "-o", str(other)], check=True)
    # A process of its own: a library that was found stays.
    code = "import sys; from edgeguard.dct.native_kernel import load_library as load"
    code += "; print([load().eg_jpeg_open(path.encode()) for path in sys.argv[1:]])"
    said = subprocess.run([sys.executable, "-c", code, str(other), real], text=True, capture_output=True, check=True)
    assert said.stdout.strip() == "[0, 1]"
