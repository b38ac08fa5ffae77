"""Making a bundle: the model's own answers on the golden images travel with it."""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import edgeguard
from edgeguard.camera.files import IMAGE_SUFFIXES
from edgeguard.errors import InputError
from edgeguard.fleet.archive import MANIFEST, SIGNATURE, directory, header, open_bundle, read_members, read_signature
from edgeguard.fleet.envelope import envelope_bytes, read_envelope, sealed
from edgeguard.fleet.golden import open_model, output_bytes, outputs
from edgeguard.fleet.manifest import EXPECTED, File, Health, Manifest, moment_text, parse_manifest, release_number
from edgeguard.fleet.workstation.keys import load_signer
from edgeguard.run.settings import read_file
from edgeguard.system.files import replaced
from edgeguard.system.foreign import read_bounded

GOLDEN_IMAGES = 8
_LARGEST_CONFIG, _LARGEST_IMAGE, _LARGEST_MODEL = 1 << 20, 16 << 20, 256 << 20
#: Keys of a configuration that would run something else than the golden images prove, or that the device sets.
_CONTRACT_KEYS = (
    "model",
    "guard",
    "patch_guard",
    "labels",
    "crop",
    "region",
    "fallback",
    "decode_scale",
    "status_file",
)
_EXPIRES = timedelta(days=365)


@dataclass(frozen=True)
class Selection:
    """Which devices a bundle is for, and how it is judged there.

    Attributes:
        hardware, groups: empty is any.
        health: limits of the trial.
        tolerance: quantization steps for golden images.
        training_data_sha256: see `Manifest`.
    """

    hardware: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    health: Health = field(default_factory=Health)
    tolerance: int = 0
    training_data_sha256: str | None = None


def build(
    output: Path, model: Path, config: Path, golden: Path, *, now: datetime, selection: Selection | None = None
) -> Manifest:
    """Write an unsigned bundle; its name and version come from the file's name, `NAME-VERSION.egb`.

    Args:
        output: the bundle.
        model: a .tflite file.
        config: of `edgeguard run`; what the contract decides must not stand in it.
        golden: a folder of pictures; eight of them, evenly spaced by name, go in.
        now: the time of making.
        selection: see there.

    Raises:
        InputError: something of it cannot be used.
        DeviceError: the file cannot be written.
    """
    name, version = _title(output)
    files = {"model.tflite": read_bounded(model, _LARGEST_MODEL, "the model"), "config.toml": _config(config)}
    images = _golden_images(golden)
    opened = open_model(model)
    for number, path in enumerate(images):
        files[f"golden/{number}{path.suffix.lower()}"] = read_bounded(path, _LARGEST_IMAGE, "the golden image")
    files[EXPECTED] = b"".join(output_bytes(outputs(opened, path)) for path in images)
    labels = opened.contract.labels
    if labels:
        files["labels.txt"] = "".join(f"{label}\n" for label in labels).encode()
    profile = opened.contract.guard.profile
    if profile is not None:
        files["profile.toml"] = profile.to_toml().encode()
    chosen = Selection() if selection is None else selection
    release = ".".join(map(str, release_number(edgeguard.__version__)[:3]))
    manifest = Manifest(
        1, name, version, moment_text(now), moment_text(now + _EXPIRES), release,
        tuple(File(n, len(data), hashlib.sha256(data).hexdigest()) for n, data in files.items()),
        chosen.hardware, chosen.groups, chosen.health, chosen.tolerance, chosen.training_data_sha256,
    )  # fmt: skip
    payload = manifest.to_bytes()
    parse_manifest(payload)  # what devices would refuse is refused here
    write_bundle(output, envelope_bytes(sealed(payload, None, None)), payload, files)
    return manifest


def sign(bundle: Path, key: Path) -> tuple[Manifest, int]:
    """Add a signature to a bundle; returns its manifest, and how many signatures it has now.

    Raises:
        InputError: no bundle, a changed one, or no key.
        DeviceError: it cannot be written.
    """
    signer = load_signer(key)
    with open_bundle(bundle) as stream:
        signature = read_signature(stream)
        envelope = read_envelope(signature)
        manifest = parse_manifest(envelope.payload)
        files: dict[str, bytes] = {}
        read_members(
            stream, signature, envelope.payload, manifest, lambda name, pieces: files.update({name: b"".join(pieces)})
        )
    signed = sealed(envelope.payload, envelope, signer)
    write_bundle(bundle, envelope_bytes(signed), envelope.payload, files)
    return manifest, len(signed.signatures)


def write_bundle(path: Path, signature: bytes, payload: bytes, files: Mapping[str, bytes]) -> None:
    """Write the members in the one order and spelling that they may have."""
    members, offset = [], 0
    with replaced(path) as partial, open(partial, "wb") as stream:
        for name, data in {SIGNATURE: signature, MANIFEST: payload, **files}.items():
            crc = zlib.crc32(data)
            members.append((name, len(data), crc, offset))
            offset += stream.write(header(name, len(data), crc)) + stream.write(data)
        stream.write(directory(members))


def _title(output: Path) -> tuple[str, int]:
    name, dash, version = output.stem.rpartition("-")
    if output.suffix != ".egb" or not dash or not name or not version.isascii() or not version.isdecimal():
        raise InputError(f"a bundle is called NAME-VERSION.egb, like cam-7.egb, got {output.name}")
    return name, int(version)


def _config(path: Path) -> bytes:
    found = read_file(path)
    for key in _CONTRACT_KEYS:
        if key in found:
            raise InputError(
                f"{path}: {key} cannot stand in a bundle's configuration: the model's contract decides it "
                "(edgeguard convert, edgeguard guard bake), and golden images prove that"
            )
    if "source" not in found and "cameras" not in found:
        raise InputError(f"{path}: source is missing: the device has to know where frames come from")
    return read_bounded(path, _LARGEST_CONFIG, "the configuration")


def _golden_images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of golden images")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if len(found) < GOLDEN_IMAGES:
        raise InputError(f"{folder} holds {len(found)} pictures; {GOLDEN_IMAGES} golden images are wanted")
    return [found[number * len(found) // GOLDEN_IMAGES] for number in range(GOLDEN_IMAGES)]
