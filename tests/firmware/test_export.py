"""Exports, through a compiled encoder and back: order, scaling and rounding proven."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from programs import needed

from edgeguard.errors import InputError
from edgeguard.firmware.board import Board, board, boards, read_board
from edgeguard.firmware.export import Export, export, nearest_quality, rounded
from edgeguard.guard import GuardProfile, read_jpeg_info
from edgeguard.jpeg.tables import ANNEX_K_CHROMA, ANNEX_K_LUMA, Table, ijg_scaled

FD_JPEG = GuardProfile.preset("fd-jpeg")
#: Every step another, and luma unlike chroma: a wrong order cannot hide.
DISTINCT = GuardProfile("distinct", "ycbcr420", (tuple(range(20, 84)), tuple(range(140, 204)), tuple(range(140, 204))))
TABLE_BOARDS = [name for name, one in boards().items() if one.format == "c"]


def _through_a_compiled_encoder(made: Export, one: Board, folder: Path) -> tuple[Table, ...]:
    compiler = needed("cc", "gcc", "clang")
    header, program = folder / made.name, folder / "encoder"
    header.write_text(made.text)
    defines = {
        "TABLES_H": f'"{header}"', "LUMA": one.luma_symbol, "CHROMA": one.chroma_symbol,
        "ZIGZAG": int(one.order == "zigzag"), "QUALITY": one.neutral_quality, "SAMPLING": "0x22",
    }  # fmt: skip
    source = Path(__file__).with_name("ijg_encoder.c")
    command = [
        compiler,
        "-Wall",
        "-Werror",
        *(f"-D{key}={value}" for key, value in defines.items()),
        str(source),
        "-o",
        str(program),
    ]
    subprocess.run(command, check=True)
    data = subprocess.run([program], check=True, capture_output=True).stdout
    assert Image.open(io.BytesIO(data)).convert("RGB").getpixel((3, 3)) == (128, 128, 128)
    return read_jpeg_info(data).tables


@pytest.mark.parametrize("profile", [FD_JPEG, DISTINCT], ids=["fd-jpeg", "distinct"])
@pytest.mark.parametrize("name", TABLE_BOARDS)
def test_every_table_comes_back(name: str, profile: GuardProfile, tmp_path: Path) -> None:
    one = board(name)
    made = export(one, profile)
    found = _through_a_compiled_encoder(made, one, tmp_path)
    wanted = tuple(rounded(table, one.rounding) for table in profile.component_tables)
    assert found == wanted
    assert made.exact == (wanted == profile.component_tables and one.subsampling in ("420", "unknown"))


def test_rounding_hardware_says_what_it_rounds() -> None:
    made = export(board("openmv-n6"), DISTINCT)
    assert not made.exact and any("luma:" in line and "instead of" in line for line in made.said)
    assert rounded((31, 33, 65, 127, 129, 255), "vc8000") == (31, 32, 64, 124, 128, 248)


@pytest.mark.parametrize(
    ("name", "told"),
    [("openmv-stm32", True), ("openmv-n6", True), ("openmv-software", False), ("esp32-software", False)],
)
def test_a_board_whose_firmware_has_to_be_built_says_so(name: str, told: bool) -> None:
    assert any("firmware that you build yourself" in line for line in export(board(name), FD_JPEG).said) == told


@pytest.mark.parametrize("name", ["pi4-jpeg", "pi-legacy-camera", "linux-opencv"])
def test_quality_boards_get_the_nearest_and_are_told_what_it_misses(name: str) -> None:
    made = export(board(name), FD_JPEG)
    quality = nearest_quality(FD_JPEG.component_tables[0], FD_JPEG.component_tables[1])
    assert not made.exact and str(quality) in made.text and "only approximates fd-jpeg" in made.said[0]
    exact = export(board(name), GuardProfile.preset("jpeg:73"))
    assert exact.exact and "73" in exact.text
    for q in (1, 10, 50, 73, 95):
        assert nearest_quality(ijg_scaled(ANNEX_K_LUMA, q), ijg_scaled(ANNEX_K_CHROMA, q)) == q


def test_what_cannot_be_set_is_said() -> None:
    made = export(board("esp32-cam-ov2640"), FD_JPEG)
    assert not made.exact and "cannot be set" in made.said[0] and "0x44 = 63" in made.text
    assert "0x2A = 2" in export(board("arducam-mega"), FD_JPEG).text
    for name in ("uvc-webcam", "sony-imx500", "pi4-mjpeg"):
        with pytest.raises(InputError, match="edgeguard sensor"):
            export(board(name), FD_JPEG)
    with pytest.raises(InputError, match="fd is a rgb profile, which no JPEG encoder has: use fd-jpeg"):
        export(board("linux-pillow"), GuardProfile.preset("fd"))


def test_the_pillow_snippet_codes_with_the_profile(tmp_path: Path) -> None:
    made = export(board("linux-pillow"), FD_JPEG)
    (tmp_path / "snippet.py").write_text(made.text)
    code = "from PIL import Image; import snippet; snippet.save(Image.new('RGB', (32, 32), 'red'), 'a.jpg')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    info = read_jpeg_info((tmp_path / "a.jpg").read_bytes())
    assert info.tables == FD_JPEG.component_tables and info.sampling == "420" and made.exact


def test_boards_of_the_user_come_first_and_bad_ones_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "edgeguard" / "firmware_configs"
    folder.mkdir(parents=True)
    own = 'schema = 1\nboard = "uvc-webcam"\ntitle = "mine"\ncontrol = "none"\norder = "fixed"\nsubsampling = "422"\n'
    own += 'source_file = "x"\nsource_commit = "y"\nchecked = "device"\n'
    (folder / "mine.toml").write_text(own)
    assert board("uvc-webcam").title == "mine" and len(boards()) >= 19
    for change, said in (
        (('control = "none"', 'control = "magic"'), "control is 'magic'"),
        (("schema = 1", "schema = 9"), "reads schema 1"),
        (('title = "mine"', 'tilte = "mine"'), "unknown key 'tilte'"),
        (('title = "mine"\n', ""), "missing 1 required"),
        (("schema = 1", "schema ="), "is not TOML"),
    ):
        (folder / "mine.toml").write_text(own.replace(*change))
        with pytest.raises(InputError, match=said):
            read_board(folder / "mine.toml")
    (folder / "mine.toml").unlink()
    with pytest.raises(InputError, match="do you mean openmv-n6 or openmv-"):
        board("openmv-n66")
    with pytest.raises(InputError, match="do you mean (pi5 or pi4|pi4-jpeg or|pi5)"):
        board("pi6")
