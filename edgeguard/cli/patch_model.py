"""The .tflite that `patch make` works on: the one that was given, or a trained model that is converted first."""

import sys
from contextlib import suppress
from pathlib import Path

from edgeguard.cli.messages import on_stderr
from edgeguard.errors import DeviceError, InputError


def deployed_model(model: Path, output: Path) -> Path:
    """A .tflite as it is; anything else converted to float32 without a guard, beside the patch."""
    if model.suffix == ".tflite":
        return model
    import subprocess

    from edgeguard.system.files import sha256_file
    from edgeguard.system.names import refuse_special

    # the name says of which file, since the folder may be gone on with; what has none is converted again
    digest = sha256_file(model)[:16] if model.is_file() else None
    converted = output / f"model-float32{'' if digest is None else '-' + digest}.tflite"
    refuse_special(output, converted.name)
    if digest is None or not _is_ours(converted, digest):
        on_stderr(f"{model} is converted to float32 first; the patch is made on that")
        command = [sys.executable, "-c", "from edgeguard.cli.main import main; main()", "convert", str(model)]
        done = subprocess.run(
            [*command, "--precision", "float32", "--guard", "none", "--output", str(converted)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise InputError(f"{model} cannot be converted: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        if digest is not None:
            _note_ours(converted, digest)
    return converted


def _note_of(digest: str) -> Path:
    """Where a conversion that ran here is noted. The output folder may be a stranger's, this one is the user's own."""
    from edgeguard_converters.support.cache import cache_file

    return cache_file(f"float32-{digest}.sha256")


def _is_ours(converted: Path, digest: str) -> bool:
    from edgeguard.system.files import sha256_file
    from edgeguard.system.foreign import read_bounded

    try:
        noted = read_bounded(_note_of(digest), 1 << 10, "the note of a conversion")
        return converted.is_file() and noted.decode() == sha256_file(converted)
    except (InputError, OSError, ValueError):
        return False  # it was never converted here, or the note cannot be read: converted again


def _note_ours(converted: Path, digest: str) -> None:
    from edgeguard.system.files import sha256_file, write_bytes

    with suppress(DeviceError):  # without a note it is converted again the next time
        write_bytes(_note_of(digest), sha256_file(converted).encode())
