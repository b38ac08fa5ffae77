"""`edgeguard guard design|show|apply|certify`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeguard.cli.ignored import refuse_ignored
from edgeguard.cli.messages import on_stdout
from edgeguard.errors import InputError
from edgeguard.system.extras import missing_part
from edgeguard.system.outputs import refuse_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeguard.datasets.decoded import DecodedFiles
    from edgeguard.dct.profile import GuardProfile, Pass
    from edgeguard.guard.proof_design import CertifiedDesign

app = typer.Typer(help="Design and inspect the defense.", no_args_is_help=True, rich_markup_mode=None)

_STRIP = 256  # rows
_PROFILE_HELP = "fd, fd-paper, proof-1 to proof-3, fd-jpeg, jpeg:Q, or a .toml profile."


@app.command(
    epilog="Example: edgeguard guard design photos/ --output my.toml --by sigma --as-step 24 --md-step 32\n\n"
    "edgeguard guard design photos/ --output proof.toml --certify 1"
)
def design(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of benign images, like those the camera sees.")],
    output: Annotated[Path, typer.Option(help="The .toml profile to write.")],
    as_bands: Annotated[int, typer.Option(help="Number of accuracy-sensitive bands.")] = 16,
    as_step: Annotated[
        int, typer.Option(min=1, max=255, help="Step of those bands; a multiple of 8 keeps flats.")
    ] = 24,
    md_step: Annotated[int, typer.Option(min=1, max=255, help="Step of all other bands.")] = 32,
    color: Annotated[str, typer.Option(help="rgb, gray, ycbcr444, ycbcr422 or ycbcr420.")] = "rgb",
    by: Annotated[
        str, typer.Option(help="corner (the low square of bands) or sigma (ranked on the images).")
    ] = "corner",
    certify: Annotated[
        int | None,
        typer.Option(min=1, max=4, help="The smallest steps that prove pictures against so many levels in transit."),
    ] = None,
    room: Annotated[
        int | None,
        typer.Option(min=0, max=64, help="Levels 0..255 travel as N..255-N. [with --certify 16 to 48, else 0]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the profile and its hash as JSON.")] = False,
) -> None:
    """Design a table (of Feature Distillation, or from the proof) and report what it does to the images."""
    from dataclasses import replace

    from edgeguard.datasets.decoded import DecodedFiles
    from edgeguard.dct.profile import GuardProfile

    if by not in ("corner", "sigma"):
        raise InputError(f"--by must be corner or sigma, got {by!r}")
    if output.suffix != ".toml":
        raise InputError(f"--output wants a .toml file, got {output}")
    if certify is not None:
        refuse_ignored(
            context, ["as_bands", "as_step", "md_step", "by"], "has no use with --certify: the proof sets it"
        )
    images = DecodedFiles(_images(folder))
    kinds: dict[str, Any] = {"color": color, "by": by}  # `design` checks the color
    proof = None
    if certify is None:
        profile = GuardProfile.design(images, as_bands, as_step, md_step, **kinds)
        profile = replace(profile, room=room or 0)
    else:
        proof = _certified(images, certify, room, color)
        profile = proof.profile
    psnr = _mean_psnr(images, profile)
    from edgeguard.system.files import write_bytes

    write_bytes(output, profile.to_toml().encode())
    dc_step = profile.tables[0][0]
    if as_json:
        shown = {"profile": profile.to_dict(), "sha256": profile.sha256, "mean_psnr_db": psnr}
        if proof is not None:
            shown |= {
                "slack": proof.slack, "certified_share": proof.certified_share, "proven_share": proof.proven_share,
                "lowered_share": proof.lowered_share,
            }  # fmt: skip
        on_stdout(json.dumps(shown))
        return
    on_stdout(f"wrote {output}  sha256 {profile.sha256}")
    on_stdout(f"{len(images)} images, mean PSNR after one pass {psnr:.1f} dB")
    if proof is not None:
        on_stdout(
            f"at +-{certify}: {proof.proven_share:.1%} of images proven, {proof.certified_share:.3%} of their blocks "
            f"certified, {proof.lowered_share:.2%} lost contrast for it (room {profile.room}, slack {proof.slack:g})"
        )
    if dc_step % 8 and not profile.room:
        on_stdout(
            f"note: the DC step {dc_step} is no multiple of 8, so flat blocks lose half of their certified margin"
        )


@app.command(epilog="Example: edgeguard guard show fd-jpeg --output tables.png")
def show(
    profile: Annotated[str, typer.Argument(help=_PROFILE_HELP)],
    output: Annotated[Path | None, typer.Option(help="Draw the tables to this .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the profile and its hash as JSON.")] = False,
) -> None:
    """Print a profile's tables and hash; draw them with --output."""
    loaded = _profile(profile)
    if output is not None:
        from edgeguard.cli.guard_plots import draw_tables

        _write_png(output, draw_tables(loaded))
    if as_json:
        on_stdout(json.dumps({**loaded.to_dict(), "sha256": loaded.sha256}))
        return
    on_stdout(f"{loaded.name}  color {loaded.color}  sha256 {loaded.sha256}")
    for number, table in enumerate(loaded.tables, start=1):
        on_stdout(f"table {number} of {len(loaded.tables)} (natural order, rows are vertical frequencies)")
        for row in range(0, 64, 8):
            on_stdout(" ".join(f"{step:4d}" for step in table[row : row + 8]))


@app.command(epilog="Example: edgeguard guard apply photo.jpg --guard fd --output sanitized.png")
def apply(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    output: Annotated[Path, typer.Option(help="The sanitized picture, .png (ycbcr profiles: also .jpg).")],
    guard: Annotated[str, typer.Option(help=_PROFILE_HELP)] = "fd",
    which: Annotated[
        str,
        typer.Option(
            "--pass", help="only, or of two passes first (what travels, in a .png) or second (what it becomes)."
        ),
    ] = "only",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Sanitise one image and report PSNR and changed samples."""
    import numpy as np

    from edgeguard.guard import encode_jpeg, sanitize_jpeg
    from edgeguard.guard.sanitizer import Sanitizer
    from edgeguard.preprocess.requantize import requantize_jpeg

    profile = _profile(guard)
    kind = _pass(which, profile)
    data = _read_bytes(image)
    before = _decode(image, data)
    is_jpeg = data[:2] == b"\xff\xd8"
    if output.suffix.lower() in (".jpg", ".jpeg"):
        if profile.is_pixel_domain:
            raise InputError(f"a JPEG cannot hold an {profile.color} profile's picture exactly: write a .png")
        from edgeguard.system.files import write_bytes

        write_bytes(output, requantize_jpeg(data, profile) if is_jpeg else encode_jpeg(before, profile))
        after = _read(output)
    else:
        after = (
            np.asarray(sanitize_jpeg(data, profile), np.uint8)
            if is_jpeg and kind == "only"
            else Sanitizer(profile)(before, kind)
        )
        _write_png(output, after)
    changed = float((before != after).mean())
    figures = {"psnr_db": _psnr(before, after), "changed_samples": changed, "largest_change": _largest(before, after)}
    if as_json:
        on_stdout(json.dumps({**figures, "output": str(output)}))
        return
    on_stdout(f"wrote {output}")
    on_stdout(
        f"PSNR {figures['psnr_db']:.2f} dB, {changed:.1%} of samples changed, by at most {_largest(before, after)}"
    )


@app.command(epilog="Example: edgeguard guard bake --guard fd --size 224 --output sanitizer.tflite")
def bake(
    output: Annotated[Path, typer.Option(help="The .tflite to write.")],
    size: Annotated[str, typer.Option(help="N or WxH: the input of the model that comes after it.")],
    guard: Annotated[str, typer.Option(help="fd, fd-paper, or an rgb .toml profile.")] = "fd",
) -> None:
    """Write the guard as a .tflite of its own, uint8 to uint8, to chain before another uint8 model."""
    from edgeguard.cli.parse import side_or_size
    from edgeguard.system.files import write_bytes

    try:
        from edgeguard_converters.graph.baked_guard import bake as bake_guard
    except ImportError as error:
        raise missing_part(error, "guard bake", "convert") from error
    width, height = side_or_size("--size", size)
    profile = _profile(guard)
    data = bake_guard(profile, width, height)
    write_bytes(output, data)
    on_stdout(f"wrote {output} ({len(data) / 1e3:.0f} kB): {profile.name or guard} on {width}x{height}, for one pass")


@app.command(epilog="Example: edgeguard guard search model.tflite --images photos/ --output search/")
def search(
    model: Annotated[Path, typer.Argument(help="The deployed .tflite.")],
    images: Annotated[Path, typer.Option(help="Labeled images: class folders, or labels.csv.")],
    output: Annotated[Path, typer.Option(help="Folder of profiles, search.json and search.html; run again to go on.")],
    eps: Annotated[int, typer.Option(min=1, max=64, help="Budget of the attacks, levels of 255.")] = 2,
    limit: Annotated[int, typer.Option(min=1, help="Images that are attacked.")] = 50,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [one for each core]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the candidates as JSON lines.")] = False,
) -> None:
    """Find tables on the frontier of clean accuracy, adaptive robustness and certificate for this model and data."""
    refuse_file(output)
    from dataclasses import asdict

    try:
        from edgeguard.evaluate.experiments.search import search as search_tables
    except ImportError as error:
        raise missing_part(error, "guard search", "attack") from error
    from edgeguard.cli.progress import UnitCounter

    with UnitCounter() as counter:
        found = search_tables(model, images, output, eps_8bit=eps, limit=limit, workers=workers, progress=counter.show)
    for candidate in found:
        if as_json:
            on_stdout(json.dumps(asdict(candidate)))
        elif candidate.robust is not None:
            share = "-" if candidate.certified_share is None else f"{candidate.certified_share:.3f}"
            on_stdout(
                f"{'*' if candidate.on_frontier else ' '} {candidate.name:14} clean {100 * candidate.clean:5.1f}  "
                f"{candidate.summary} {100 * candidate.robust:3.0f} (n {candidate.n_robust})  certified {share}"
            )
    if not as_json:
        on_stdout(f"* on the frontier; profiles, search.json and search.html are in {output}")


@app.command(epilog="Example: edgeguard guard certify received.png --guard fd --output map.png")
def certify(
    context: typer.Context,
    image: Annotated[Path, typer.Argument(help="The frame that pass 2 receives (a lossless file).")],
    guard: Annotated[
        str, typer.Option(help="fd, fd-paper, proof-1 to proof-3, or an rgb or gray .toml profile.")
    ] = "fd",
    first_pass: Annotated[
        bool, typer.Option("--first-pass", help="Do pass 1 on the image first (a raw frame).")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Draw the map of blocks to this .png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Say what share of blocks no change of a few levels in transit can alter, and draw the map."""
    from edgeguard.guard import certificate
    from edgeguard.guard.sanitizer import Sanitizer

    profile = _profile(guard)
    if not profile.is_pixel_domain:
        refuse_ignored(context, ["first_pass", "output"], f"has no use: a {profile.color} profile has no certificate")
    frame = _read(image)
    if first_pass:
        frame = Sanitizer(profile)(frame, "first")
    proof = certificate(frame, profile)
    if proof is None:
        if as_json:
            on_stdout("null")
            return
        raise InputError(f"a {profile.color} profile has no certificate: an attacker in transit owns its coefficients")
    if output is not None:
        from edgeguard.cli.guard_plots import draw_certificate

        _write_png(output, draw_certificate(frame, proof))
    if as_json:
        shares = {f"share_{levels}": share for levels, share in proof.share_at.items()}
        proven = {f"proven_at_{levels}": proof.frame_min > levels for levels in proof.share_at}
        on_stdout(json.dumps({**shares, "frame_min": proof.frame_min, **proven}))
        return
    first, *others = proof.share_at.items()
    rest = ", ".join(f"{share:.1%} at +-{levels}" for levels, share in others)
    on_stdout(f"{first[1]:.1%} of blocks safe at +-1 level, {rest}")
    on_stdout(f"smallest margin of the frame: {proof.frame_min:.2f} levels")
    most = max((levels for levels in proof.share_at if proof.frame_min > levels), default=0)
    on_stdout(f"the whole frame is proven at +-{most}" if most else "the whole frame is proven at no level")
    on_stdout("This holds in transit, for exactly this array, if pass 1 used the same table on the same grid.")


def _profile(text: str) -> "GuardProfile":
    from edgeguard.dct.profile import resolve_profile

    profile = resolve_profile(text)
    if profile is None:
        raise InputError("none is the absence of a guard: name a profile")
    return profile


def _pass(which: str, profile: "GuardProfile") -> "Pass":
    if which == "only":
        return "only"
    if which not in ("first", "second"):
        raise InputError(f"--pass must be only, first or second, got {which!r}")
    if not profile.is_pixel_domain:
        raise InputError(f"--pass {which} is for rgb and gray profiles: both passes of a {profile.color} one are equal")
    return "first" if which == "first" else "second"


def _certified(images: "DecodedFiles", levels: int, room: int | None, color: str) -> "CertifiedDesign":
    from edgeguard.guard.proof_design import design_certified

    if color not in ("rgb", "gray"):
        raise InputError(f"--certify is for --color rgb or gray: a {color} profile has no certificate")
    return design_certified(images, levels, room, "gray" if color == "gray" else "rgb")


def _images(folder: Path) -> list[Path]:
    from edgeguard.datasets.images import list_images

    return list_images(folder)


def _read_bytes(path: Path) -> bytes:
    from edgeguard.system.foreign import LARGEST_PICTURE, read_bounded

    return read_bounded(path, LARGEST_PICTURE, "the image")


def _decode(path: Path, data: bytes) -> "NDArray[np.uint8]":
    from edgeguard.dct.jpeg_decode import decode_whole
    from edgeguard.errors import JpegError

    try:
        return decode_whole(data)
    except JpegError as error:
        raise InputError(f"{path}: {error}") from error


def _read(path: Path) -> "NDArray[np.uint8]":
    return _decode(path, _read_bytes(path))


def _write_png(path: Path, rgb: Any) -> None:
    import cv2

    from edgeguard.system.files import write_bytes

    if path.suffix.lower() != ".png":
        raise InputError(f"--output wants a .png file, got {path}")
    good, data = cv2.imencode(".png", rgb[:, :, ::-1])
    assert good
    write_bytes(path, data.tobytes())


def _mean_psnr(images: "DecodedFiles", profile: "GuardProfile") -> float:
    from edgeguard.guard.sanitizer import Sanitizer

    sanitizer = Sanitizer(profile)
    return sum(_psnr(image, sanitizer(image)) for image in images) / len(images)


def _psnr(before: "NDArray[np.uint8]", after: "NDArray[np.uint8]") -> float:
    import numpy as np

    total = 0  # strip by strip: as floats, 64 megapixels are gigabytes
    for top in range(0, len(before), _STRIP):
        rows = slice(top, top + _STRIP)
        total += int(np.square(before[rows].astype(np.int32) - after[rows]).sum(dtype=np.int64))
    return 10 * float(np.log10(255**2 / (total / before.size))) if total else float("inf")


def _largest(before: "NDArray[np.uint8]", after: "NDArray[np.uint8]") -> int:
    return int(abs(before.astype("int16") - after).max())
