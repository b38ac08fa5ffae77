"""`edgeguard sensor`: pass 1 at the camera, on a machine of its own."""

from pathlib import Path
from typing import Annotated

import typer

from edgeguard.cli import parse
from edgeguard.cli.messages import on_stderr
from edgeguard.errors import InputError

EXAMPLE = "Example: edgeguard sensor --camera 0 --guard fd-jpeg --listen 127.0.0.1:8090 --key-file key"


def sensor_command(
    guard: Annotated[
        str, typer.Option(help="A preset or .toml profile: proof-1 or fd (sent without loss), fd-jpeg (as JPEG).")
    ],
    camera: Annotated[int | None, typer.Option(help="The N-th usable camera, from 0 (see edgeguard doctor).")] = None,
    source: Annotated[
        str | None, typer.Option(help="v4l2:PATH, picamera2:N, http://, rtsp:// or synthetic:cards?fps=15.")
    ] = None,
    listen: Annotated[str, typer.Option(help="HOST:PORT to serve /stream at.")] = "127.0.0.1:8090",
    key_file: Annotated[Path | None, typer.Option(help="Key of the MAC, shared with run --key-file.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="Token of the receivers; wanted beyond loopback.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT to ask of a local camera.")] = None,
    camera_fps: Annotated[float | None, typer.Option(help="Frames a second to ask of a local camera.")] = None,
) -> None:
    """Capture, do pass 1 on each frame, and send it sealed over HTTP: as JPEG, or without loss as PNG."""
    from edgeguard.camera import source_opener
    from edgeguard.cli.messages import messages_to
    from edgeguard.dct.profile import resolve_profile
    from edgeguard.jpeg.seal import read_key
    from edgeguard.run.settings import resolve
    from edgeguard.sensor.node import SensorNode
    from edgeguard.system.addresses import is_loopback, read_token
    from edgeguard.system.heap import keep_freed_memory
    from edgeguard.system.termination import clean_end_on_sigterm

    if (camera is None) == (source is None):
        raise InputError("say where frames come from: --camera N or --source X (one of them)")
    checked, _ = resolve({"web": listen, "size": size, "camera_fps": camera_fps}, None)
    host, _, port = str(checked.web).rpartition(":")
    profile = resolve_profile(guard)
    if profile is None:
        raise InputError("a sensor without a guard is just a camera: give the model's, e.g. --guard fd")
    token = None if token_file is None else read_token(token_file)
    if token is None and not is_loopback(host):
        raise InputError(f"--listen {listen} can be reached from outside: give --token-file")
    try:
        key = None if key_file is None else read_key(key_file)
    except ValueError as error:
        raise InputError(str(error)) from error
    wanted = None if size is None else parse.size(size)
    spec = str(camera) if camera is not None else str(source)

    opening = source_opener(spec, size=wanted, fps=camera_fps)

    opened = opening()
    if not opened.live:
        raise InputError(f"{spec} is not a camera: a sensor sends live frames")
    keep_freed_memory()
    node = SensorNode(opened, opening, profile, host=host, port=int(port), key=key, token=token)
    with clean_end_on_sigterm(), messages_to(on_stderr), node:
        proof = "with a MAC" if key else "without a proof (--key-file)"
        coding = "PNG without loss" if profile.is_pixel_domain else "JPEG"
        on_stderr(f"{node.url}, pass 1 {profile.name} {profile.sha256[:12]}, {coding}, {proof}")
        node.wait()
