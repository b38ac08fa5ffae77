"""Where `edgeguard fieldtest record` takes its frames from: a camera, or the virtual field."""

from collections.abc import Sequence
from pathlib import Path

from edgeguard.camera import Source, open_source
from edgeguard.errors import InputError
from edgeguard.fieldtest.session.record import Status
from edgeguard.fieldtest.session.session import Session
from edgeguard.system.files import write_bytes

_VIRTUAL_SIZE = (640, 480)


def session_source(
    spec: str, session: Session, status: Status, *, sheets: Sequence[Path], seed: int, size: tuple[int, int] | None
) -> Source:
    """The source that an address names.

    Args:
        spec: see `open_source`; `synthetic:session` plays the whole plan.
        session: that is recorded.
        status: its light is set by the virtual operator.
        sheets: for `synthetic:session`: those that are shown.
        seed: of its placements.
        size: width and height of a local camera's or the virtual operator's pictures; None for their own.

    Raises:
        InputError: a sheet of the plan is not shown.
    """
    if spec == "synthetic:session":
        from edgeguard.fieldtest.sheets.build import sheet_and_picture
        from edgeguard.fieldtest.sheets.subject import sheet_subject
        from edgeguard.fieldtest.virtual.operator import VirtualOperator

        shown = [(*sheet_and_picture(path), path) for path in sheets]
        pictures = {sheet.number: picture for sheet, picture, _ in shown}
        cutouts = {sheet.number: sheet_subject(sheet, path).cutout for sheet, _, path in shown}
        if absent := [sheet.number for sheet in session.plan.sheets if sheet.number not in pictures]:
            raise InputError(f"synthetic:session wants --sheets for each sheet of the plan; missing: {absent}")
        _mark_virtual(session.folder)
        return VirtualOperator(
            session, pictures, lambda light: setattr(status, "light", light), seed=seed, size=size or _VIRTUAL_SIZE,
            cutouts=cutouts,
        )  # fmt: skip
    if spec.startswith("synthetic:field"):
        from edgeguard.fieldtest.virtual.field import open_virtual_field

        _mark_virtual(session.folder)
        return open_virtual_field(spec)
    return open_source(spec, size=size)


def _mark_virtual(folder: Path) -> None:
    """The report says that frames were rendered."""
    write_bytes(folder / "virtual", b"frames of this session were rendered\n")
