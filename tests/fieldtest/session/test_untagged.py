"""Recording an object without tags, and importing what was recorded."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import here

from edgeguard.camera import Applied, Captured, Lost
from edgeguard.errors import InputError
from edgeguard.fieldtest.session.arms import is_recorded_pass, sheets_named
from edgeguard.fieldtest.session.plan import Plan, make_plan
from edgeguard.fieldtest.session.untagged import record_untagged, untagged_folder
from edgeguard.fieldtest.sheets.sheet import Sheet

SHEETS = [Sheet(1, "stop", "stop", "clean"), Sheet(2, "stop", "stop", "patch"), Sheet(3, "yield", "yield", "clean")]


def _plan() -> Plan:
    return make_plan(SHEETS, [500], [0], ["bright", "dim"], 1)


class Numbered:
    """Frames that say which they are; every third is damaged."""

    name, live, applied = "numbered", True, Applied()

    def frames(self) -> Iterator[Captured | Lost]:
        for index in range(30):
            if index % 3 == 2:
                yield Lost(index, self.name, "damaged")
                continue
            yield Captured(index, self.name, b"\xff\xd8" + bytes([index]), None, 0.0, "received")

    def close(self) -> None:
        pass


def test_a_name_means_one_sheet(tmp_path: Path) -> None:
    assert untagged_folder(tmp_path / "s", _plan(), "patch", "dim") == tmp_path / "s-untagged/dim/patch"
    assert untagged_folder(tmp_path / "s", _plan(), "3", "dim") == tmp_path / "s-untagged/dim/3"
    with pytest.raises(InputError, match="several of the plan's sheets; known: 1, patch, 3"):
        untagged_folder(tmp_path, _plan(), "clean", "dim")
    with pytest.raises(InputError, match="none of the plan's sheets"):
        untagged_folder(tmp_path, _plan(), "noise", "dim")


@pytest.mark.parametrize("name", ["s-untagged", "s-untagged/dim", "s-untagged/dim/3"])
def test_a_link_in_the_place_of_its_folders_is_refused(name: str, tmp_path: Path) -> None:
    """Passes were stored where it leads to, and halves of passes there were cleared."""
    place = tmp_path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link"):
        untagged_folder(tmp_path / "s", _plan(), "3", "dim")


def test_passes_are_what_the_operator_says(tmp_path: Path) -> None:
    seen, told = iter([False, False, True, False, True]), list[Path]()
    record_untagged(
        Numbered(), tmp_path, 4, is_wanted=lambda: next(seen), is_over=lambda: len(told) == 2, stored=told.append
    )
    assert [place.name for place in told] == ["pass-0001", "pass-0002"]
    first = [path.read_bytes()[-1] for path in sorted(told[0].iterdir())]
    assert first == [3, 4, 6, 7] and len(list(told[1].iterdir())) == 4, "damaged ones are left out"


def test_half_a_pass_leaves_nothing(tmp_path: Path) -> None:
    killed = tmp_path / ".pass-x"
    killed.mkdir()
    (killed / "000.jpg").write_bytes(b"half")
    record_untagged(Numbered(), tmp_path, 12, is_wanted=lambda: True, is_over=lambda: False, stored=lambda place: None)
    assert [place.name for place in tmp_path.iterdir()] == ["pass-0001"]


def test_a_light_cannot_lead_out_of_the_session(tmp_path: Path) -> None:
    for light in ("../../evil", "/evil", "a/b", "..", "", "a\x1b[31m", "x" * 61):
        with pytest.raises(InputError, match="cannot name a folder"):
            make_plan(SHEETS, [500], [0], [light], 1)
    for light in ("2", "Patch"):
        with pytest.raises(InputError, match="as an arm or a sheet's number is"):
            make_plan(SHEETS, [500], [0], [light], 1)
    for distances, angles in (([0.0], [0.0]), ([-5.0], [0.0]), ([float("nan")], [0.0]), ([500.0], [95.0])):
        with pytest.raises(InputError, match=r"a distance is|an angle is"):
            make_plan(SHEETS, distances, angles, ["bright"], 1)


def test_the_innermost_folder_says_the_arm() -> None:
    plan = _plan()
    assert [one.number for one in sheets_named(plan, ("2026", "2", "3", "patch"))] == [2]
    assert [one.number for one in sheets_named(plan, ("patch", "3"))] == [3]


def test_a_recorded_pass_needs_no_time_of_its_own() -> None:
    assert is_recorded_pass(("plain", "pass-0012")) and not is_recorded_pass(("pass-0012", "plain"))
    assert not is_recorded_pass(()) and not is_recorded_pass(("pass-12",))


@pytest.mark.full
def test_by_command(tmp_path: Path) -> None:
    sheet = tmp_path / "clean.pdf"
    assert here("patch", "sheet", "--output", str(sheet)).returncode == 0
    session = tmp_path / "session"
    planned = here("fieldtest", "plan", str(session), str(sheet), "--passes", "2", "--frames", "2")
    assert planned.returncode == 0, planned.stderr
    source = "synthetic:cards?fps=40&width=160&height=120"
    program = Path(sys.executable).with_name("edgeguard")
    command = [str(program), "fieldtest", "record", str(session), "--untagged", "clean", "--source", source]
    done = subprocess.run(command, input="\n\nq\n\n\n", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "2 passes stored" in done.stdout and f"fieldtest import {session}-untagged" in done.stdout
    kept = sorted((tmp_path / "session-untagged/bright/clean").rglob("*.png"))
    assert len(kept) == 4
    again = here("fieldtest", "import", f"{session}-untagged", "--plan", str(session))
    assert "not used, 4: " in again.stdout + again.stderr and "mark it on the page" in again.stdout + again.stderr
    closed = subprocess.run(["sh", "-c", '"$@" <&-', "sh", *command], capture_output=True, text=True, timeout=60)
    assert closed.returncode == 2 and "standard input is closed" in closed.stderr
    photographs = here("fieldtest", "record", str(session), "--untagged", "clean", "--source", kept[0].parent)
    assert photographs.returncode == 2 and "is not a camera" in photographs.stderr
    refused = here("fieldtest", "record", str(session), "--untagged", "noise", "--source", source)
    assert refused.returncode == 2 and "known: clean" in refused.stderr


def test_pixels_are_kept_as_they_are(tmp_path: Path) -> None:
    from edgeguard.fieldtest.session.session import frame_bytes
    from edgeguard.jpeg.decode import decode_rgb

    rgb = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    data, suffix = frame_bytes(Captured(0, "x", None, rgb, 0.0, "received"))
    assert suffix == ".png" and np.array_equal(decode_rgb(data), rgb)


@pytest.mark.full
def test_by_the_clock_until_it_is_interrupted(tmp_path: Path) -> None:
    sheet, session = tmp_path / "clean.pdf", tmp_path / "session"
    assert here("patch", "sheet", "--output", str(sheet)).returncode == 0
    assert here("fieldtest", "plan", str(session), str(sheet), "--passes", "2", "--frames", "2").returncode == 0
    program = Path(sys.executable).with_name("edgeguard")
    source = "synthetic:cards?fps=40&width=160&height=120"
    command = [str(program), "fieldtest", "record", ".", "--untagged", "clean", "--source", source, "--every", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=session) as process:
        assert process.stderr is not None and process.stdout is not None
        said = [process.stderr.readline() for _ in range(4)]
        process.send_signal(signal.SIGTERM)
        out = process.stdout.read()
    assert "every 0.1 s; Ctrl-C ends" in "".join(said) and process.returncode == 0
    kept = sorted((tmp_path / "session-untagged/bright/clean").iterdir())
    assert len(kept) >= 2 and all(len(list(place.iterdir())) == 2 for place in kept)
    assert f"{len(kept)} passes stored" in out and "next: edgeguard fieldtest import" in out
