"""Setting a camera from here, and reading back what it holds then."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeguard.camera.openmv.link import DEFAULT_BAUD, LinkError, OpenMvLink
from edgeguard.camera.serial_port import open_port
from edgeguard.camera.vc0706.protocol import DEFAULT_BAUD as VC0706_BAUD
from edgeguard.camera.vc0706.protocol import ProtocolError, Vc0706Line
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import CheckFailed, DeviceError, InputError, JpegError
from edgeguard.firmware.board import Board
from edgeguard.firmware.export import setting_for
from edgeguard.firmware.probe import probe
from edgeguard.firmware.snippets import snippets
from edgeguard.firmware.v4l2_control import JPEG_COMPRESSION_QUALITY, set_control
from edgeguard.system.foreign import read_bounded

_FRAME_S = 10.0  # a script takes its first picture seconds after it begins


def apply(
    board: Board, where: str, profile: GuardProfile | None, value: int | None = None, script: Path | None = None
) -> list[str]:
    """Set a board.

    Args:
        board: what is there.
        where: its serial port or video device.
        profile: what pass 1 should apply: the nearest setting is made.
        value: the setting itself, instead.
        script: for OpenMV, a script of the user's, instead.

    Returns:
        Lines that say what the board holds now.

    Raises:
        InputError: a board that cannot be set from a host, no setting, or one out of its range.
        DeviceError: it is not there, or something else answers.
        CheckFailed: it holds something else afterwards.
    """
    if board.host is None:
        how = f": {'; '.join(board.registers)}" if board.registers else " (see edgeguard firmware export)"
        raise InputError(f"{board.title} cannot be set from here{how}")
    if board.host == "openmv":
        return _openmv(board, where, _script(board, profile, value, script))
    setting = _setting(board, profile, value)
    if board.host == "v4l2":
        held = set_control(where, JPEG_COMPRESSION_QUALITY, setting)
        return [f"{where} holds a JPEG quality of {held}", "check a frame: edgeguard firmware verify"]
    return _vc0706(where, setting)


def _setting(board: Board, profile: GuardProfile | None, value: int | None) -> int:
    if value is None:
        if profile is None:
            raise InputError(f"{board.title} wants --value, or --guard for the nearest setting")
        value = setting_for(board, profile)
    if value is None or (board.range is not None and not board.range[0] <= value <= board.range[1]):
        low, high = board.range or (0, 0)
        raise InputError(f"{board.title} takes {low} to {high}, got {value}")
    return value


def _vc0706(port: str, setting: int) -> list[str]:
    line = Vc0706Line(open_port(port, VC0706_BAUD))
    with _closed_at_the_end(line, port, ProtocolError):
        version = line.find()
        line.compress(setting)
    return [
        f"{version} on {port} holds a compression of {setting}, until it loses power",
        "its tables are its own: read them with edgeguard firmware probe",
    ]


def _script(board: Board, profile: GuardProfile | None, value: int | None, script: Path | None) -> bytes:
    if script is not None:
        return read_bounded(script, 1 << 20, "the script")
    if profile is None:
        raise InputError(f"{board.title} wants --guard, or a --script of yours")
    setting = _setting(board, profile, value)
    return dict(snippets(board, profile, setting))["edgeguard_stream.py"].encode()


def _openmv(board: Board, port: str, script: bytes) -> list[str]:
    """Upload, start, and look at the first picture."""
    link = OpenMvLink(open_port(port, DEFAULT_BAUD))
    with _closed_at_the_end(link, port, LinkError):
        link.open()
        link.run_script(script)
        link.stream(True)
        try:
            found = probe(link.picture(_FRAME_S).data)
        except (LinkError, JpegError) as error:
            last = link.printed().strip().splitlines()[-1:]
            said = f"; the board says: {last[0][:200]}" if last else ""
            raise CheckFailed(f"the script runs, but no JPEG came ({error}){said}") from error
    quality = found.quality[0]
    coded = f"IJG quality {quality}" if quality is not None else f"tables {found.info.tables_sha256}"
    return [
        f"{board.title} on {port} runs the script ({len(script)} bytes), until it is reset",
        f"its first picture: {found.info.width}x{found.info.height}, {found.info.sampling}, {coded}",
    ]


@contextmanager
def _closed_at_the_end(line: Vc0706Line | OpenMvLink, port: str, failure: type[Exception]) -> Iterator[None]:
    try:
        yield
    except failure as error:
        raise DeviceError(f"{port} does not answer as wanted: {error}") from error
    except OSError as error:
        raise DeviceError(f"{port} was lost: {error}") from error
    finally:
        line.close()
