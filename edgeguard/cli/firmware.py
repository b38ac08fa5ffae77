"""`edgeguard firmware`: what the camera's own JPEG encoder can be told, and what it then did."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeguard.cli.ignored import refuse_ignored
from edgeguard.cli.messages import on_stdout
from edgeguard.errors import CheckFailed, InputError
from edgeguard.system.outputs import output_folder

if TYPE_CHECKING:
    from edgeguard.dct.profile import GuardProfile
    from edgeguard.firmware.probe import Probed

app = typer.Typer(no_args_is_help=True, help="The camera's own JPEG encoder: boards, tables for them, checks.")


@app.command("list", epilog="Example: edgeguard firmware list")
def list_boards(as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False) -> None:
    """Boards, and what each can be told."""
    from edgeguard.firmware.board import boards

    found = boards()
    if as_json:
        on_stdout(json.dumps({name: vars(board) for name, board in found.items()}))
        return
    for name, board in found.items():
        on_stdout(f"{name:18} {board.control:13} {board.title}")


@app.command(epilog="Example: edgeguard firmware show openmv-n6")
def show(name: Annotated[str, typer.Argument(help="As firmware list names it.", metavar="BOARD")]) -> None:
    """One board: its class, order, range, where that was read, and how it was checked."""
    from edgeguard.firmware.board import board

    for key, value in vars(board(name)).items():
        if value not in (None, "", ()):
            on_stdout(f"{key:16} {value if not isinstance(value, tuple) else ', '.join(map(str, value))}")


@app.command(epilog="Example: edgeguard firmware export openmv-n6 --guard fd-jpeg --output firmware/")
def export(
    name: Annotated[str, typer.Argument(help="As firmware list names it.", metavar="BOARD")],
    guard: Annotated[str, typer.Option(help="A ycbcr preset or .toml profile, e.g. fd-jpeg.")],
    output: Annotated[Path, typer.Option(help="Folder.")] = Path(),
) -> None:
    """Write what this board truly takes: tables in its order and rounding, a snippet, or the nearest setting.

    Exit code 1 where the board does not apply the profile exactly; the files are written all the same.
    """
    from edgeguard.firmware.board import board
    from edgeguard.firmware.export import exact_relatives
    from edgeguard.firmware.export import export as export_for
    from edgeguard.system.files import write_bytes

    found, profile = board(name), _profile(guard)
    done = export_for(found, profile)
    with output_folder(output, done.name, *(name for name, _ in done.others)):
        for file_name, text in ((done.name, done.text), *done.others):
            write_bytes(output / file_name, text.encode())
    on_stdout(f"wrote {output / done.name} ({'exact' if done.exact else 'NOT EXACT'})")
    for file_name, _ in done.others:
        on_stdout(f"wrote {output / file_name} (code for the board)")
    for line in done.said:
        on_stdout(line)
    if not done.exact:
        others = exact_relatives(found, profile)
        instead = f"take {' or '.join(others)}" if others else "put edgeguard sensor beside the camera"
        raise CheckFailed(f"{name} does not apply {guard} exactly. What was written is the nearest; else {instead}")


@app.command(epilog="Example: edgeguard firmware apply vc0706 --to /dev/ttyUSB0 --value 110")
def apply(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="As firmware list names it.", metavar="BOARD")],
    to: Annotated[str, typer.Option(help="Serial port, or video device.")],
    guard: Annotated[str | None, typer.Option(help="A ycbcr preset or .toml profile: the nearest setting.")] = None,
    value: Annotated[int | None, typer.Option(help="The setting itself, in the board's range.")] = None,
    script: Annotated[Path | None, typer.Option(help="For OpenMV: a script of your own.")] = None,
) -> None:
    """Set what can be set from here, and read it back: a register, a script, a V4L2 control."""
    from edgeguard.firmware.apply import apply as apply_to
    from edgeguard.firmware.board import board

    found = board(name)
    if found.host not in (None, "openmv"):
        refuse_ignored(context, ["script"], f"is for OpenMV; {found.title} runs none")
        if value is not None:
            refuse_ignored(context, ["guard"], "looks for the nearest setting, and --value is the setting itself")
    if script is not None:
        refuse_ignored(context, ["guard", "value"], "is for a script of ours; --script is run as it is")
    profile = None if guard is None else _profile(guard)
    for line in apply_to(found, to, profile, value, script):
        on_stdout(line)


@app.command(epilog="Example: edgeguard firmware probe frame.jpg   edgeguard firmware probe 0 --json")
def probe(
    source: Annotated[str, typer.Argument(help="A JPEG, a folder of them, a camera index, or a URL: the first frame.")],
    guard: Annotated[str | None, typer.Option(help="Compare with this profile too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Read what the encoder of a real frame applied: tables, IJG quality, subsampling, signs of double coding."""
    from edgeguard.firmware.probe import probe as probe_jpeg

    found = probe_jpeg(next(_jpegs(source)), None if guard is None else _profile(guard))
    on_stdout(*([json.dumps(_document(found))] if as_json else _lines(found)))


@app.command(epilog="Example: edgeguard firmware verify 0 --guard fd-jpeg")
def verify(
    source: Annotated[str, typer.Argument(help="A JPEG, a folder of them, a camera index, or a URL.")],
    guard: Annotated[str, typer.Option(help="The profile that the camera should apply.")],
    frames: Annotated[int, typer.Option(min=1, max=1000, help="Frames to look at.")] = 10,
) -> None:
    """Does this camera really apply the profile? Exit code 1 and how it differs, where it does not."""
    from edgeguard.dct.jpeg_encode import coded_with
    from edgeguard.firmware.export import compared
    from edgeguard.firmware.probe import probe as probe_jpeg

    profile, count = _profile(guard), 0
    for count, data in enumerate(islice(_jpegs(source), frames), start=1):
        found = probe_jpeg(data, profile)
        if coded_with(found.info, profile):
            continue
        parts = [
            compared(table, wanted, name)
            for table, wanted, name in zip(found.info.tables, profile.component_tables, ("Y", "Cb", "Cr"), strict=False)
            if table != wanted
        ]
        if profile.color != f"ycbcr{found.info.sampling}":
            parts.append(f"subsampling {found.info.sampling}, wanted {profile.color}")
        raise CheckFailed(f"frame {count} was not coded with {profile.name}: {'; '.join(parts)}")
    on_stdout(f"{count} frames, all coded with {profile.name} ({profile.sha256[:12]}), {profile.color}")


@app.command(epilog="Example: edgeguard firmware ports")
def ports(as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False) -> None:
    """Serial ports, and what answers on each (an OpenMV board, or a VC0706 at any of its rates)."""
    from edgeguard.camera.serial_port import no_pyserial

    try:
        from serial.tools.list_ports import comports
    except ImportError as error:
        raise InputError(no_pyserial()) from error

    from edgeguard.camera.openmv import source as openmv
    from edgeguard.camera.vc0706 import source as vc0706
    from edgeguard.errors import DeviceError

    found = []
    for port in sorted(comports(), key=lambda port: port.device):
        try:
            answer = openmv.identify(port.device) or vc0706.identify(port.device) or "nothing that is known"
        except DeviceError as error:
            answer = str(error)
        found.append({"port": port.device, "description": port.description, "answer": answer})
    if as_json:
        on_stdout(json.dumps(found))
    elif not found:
        on_stdout("there are no serial ports")
    for one in found if not as_json else []:
        on_stdout(f"{one['port']:16} {one['description']:32} {one['answer']}")


def _profile(guard: str) -> "GuardProfile":
    from edgeguard.dct.profile import resolve_profile

    profile = resolve_profile(guard)
    if profile is None or profile.is_pixel_domain:
        raise InputError(f"{guard} is no JPEG profile: use a ycbcr one, e.g. fd-jpeg")
    return profile


def _jpegs(source: str) -> Iterator[bytes]:
    """The source's JPEGs as the camera gave them.

    Raises:
        InputError: it gives none.
    """
    from edgeguard.camera import Captured, Lost, open_source

    opened, reason = open_source(source), "it holds no frames"
    try:
        for item in opened.frames():
            if isinstance(item, Lost):
                reason = item.reason
            elif isinstance(item, Captured) and item.jpeg is not None:
                yield item.jpeg
                reason = ""
            else:
                reason = "its frames are not JPEG: there are no tables to read"
                break
    finally:
        opened.close()
    if reason:
        raise InputError(f"{source}: {reason}")


def _document(found: "Probed") -> dict[str, object]:
    info = found.info
    return {
        "width": info.width, "height": info.height, "coding": info.coding, "sampling": info.sampling,
        "restart_interval": info.restart_interval, "tables": [list(table) for table in info.tables],
        "tables_sha256": info.tables_sha256, "quality": list(found.quality), "profile": found.profile,
        "double_coded": found.double_coded,
    }  # fmt: skip


def _lines(found: "Probed") -> list[str]:
    info, lines = found.info, list[str]()
    quality = {f"{q}" if q else "none (not a scaled Annex K table)" for q in found.quality}
    signs = {None: "too little in the picture to tell", True: "signs of it", False: "no signs of it"}
    lines.append(f"{info.width}x{info.height}, {info.coding}, sampling {info.sampling}, tables {info.tables_sha256}")
    lines.append(f"IJG quality: {', '.join(sorted(quality))}")
    lines.append(f"profile: {found.profile or 'none that is known'}")
    lines.append(f"coded twice: {signs[found.double_coded]}")
    for name, table in dict(zip(("Y", "Cb", "Cr"), info.tables, strict=False)).items():
        lines.append(f"{name}:")
        lines += ["  " + " ".join(f"{step:3d}" for step in table[i : i + 8]) for i in range(0, 64, 8)]
    return lines
