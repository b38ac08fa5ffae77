"""The manifest of a data set: every image's facts, one root over all, where it comes from, and a signature."""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard.system.files import write_bytes
from edgeguard.system.foreign import LARGEST_LIST, foreign_json, parsing, read_bounded
from edgeguard.system.names import is_plain_name, utf8_text
from edgeguard_converters.training_data.image_facts import ImageFacts
from edgeguard_converters.training_data.keys import fingerprint, raw_public, read_private, signature_holds
from edgeguard_converters.training_data.merkle import data_root
from edgeguard_converters.training_data.scan import ScannedImage, label_of

SCHEMA, KIND = 1, "edgeguard-data-manifest"
_MOST_BYTES = 400 << 20  # some million files: a line of one has 350 bytes
_ALGORITHM = "ed25519"


@dataclass(frozen=True)
class Origin:
    """Where a data set comes from, as its collector says: nobody checks it.

    Attributes:
        source: an address.
        licence: its terms, or their name.
        collected: when.

    Raises:
        InputError: one of them is no UTF-8.
    """

    source: str | None = None
    licence: str | None = None
    collected: str | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None:
                utf8_text(f"the {name}", value)


@dataclass(frozen=True)
class Manifest:
    """What is known of a data set.

    Attributes:
        images: in byte order of their names.
        origin: where they come from.
        signer: the public key of who signed it, 32 bytes; None for nobody.
    """

    images: tuple[ScannedImage, ...]
    origin: Origin = Origin()
    signer: bytes | None = None

    @property
    def root(self) -> str:
        """The Merkle root over names and contents, in hexadecimal."""
        return data_root({image.name: image.digest for image in self.images})

    @property
    def signed_by(self) -> str:
        """Who signed it, in words."""
        return "nobody" if self.signer is None else fingerprint(self.signer)


def canonical_json(data: Mapping[str, Any]) -> bytes:
    """Keys sorted, no spaces, UTF-8: equal data are equal bytes.

    Example:
        >>> canonical_json({"b": 1, "a": None})
        b'{"a":null,"b":1}'
    """
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def manifest_data(manifest: Manifest) -> dict[str, Any]:
    """Plain data, without the signature."""
    files = [{"name": image.name, "class": image.label, **_without_none(image.facts)} for image in manifest.images]
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "root": manifest.root,
        "origin": {name: value for name, value in asdict(manifest.origin).items() if value is not None},
        "files": files,
    }


def write_manifest(path: Path, manifest: Manifest, key: Path | None = None) -> Manifest:
    """Write it as canonical JSON, signed where a private key is given.

    Returns:
        The manifest with its signer.

    Raises:
        InputError: the key cannot be used, or the images are too many.
        DeviceError: the file cannot be written.
    """
    data = manifest_data(manifest)
    if key is not None:
        private = read_private(key)
        public = raw_public(private.public_key())
        value = private.sign(canonical_json(data)).hex()
        data["signature"] = {"algorithm": _ALGORITHM, "public_key": public.hex(), "value": value}
        manifest = replace(manifest, signer=public)
    written = canonical_json(data) + b"\n"
    if len(written) > _MOST_BYTES:
        raise InputError(f"{len(manifest.images)} images are more than a manifest holds: make one of each part")
    write_bytes(path, written)
    return manifest


def read_manifest(path: Path, public: bytes | None = None) -> Manifest:
    """Read a manifest, and check its signature and its root.

    Args:
        path: of the JSON.
        public: the key that must have signed it; None takes whoever did, or nobody.

    Raises:
        InputError: it cannot be read, has another schema, contradicts itself, its signature does not hold, or somebody
            else signed it.
    """
    raw = read_bounded(path, _MOST_BYTES, "the manifest")
    with parsing(f"the manifest {path}"):
        data = foreign_json(raw, most_bytes=LARGEST_LIST)
        if not isinstance(data, dict) or data.get("kind") != KIND:
            raise InputError(f"{path} is no manifest of a data set (`edgeguard data manifest` writes one)")
        if data.get("schema") != SCHEMA:
            raise InputError(f"{path} has schema {str(data.get('schema'))[:20]}; this version reads schema {SCHEMA}")
        signature = data.pop("signature", None)
        signer = None if signature is None else _signer(path, data, signature)
        images = tuple(_image(entry) for entry in data["files"])
        origin = Origin(**{name: _text(data["origin"].get(name)) for name in Origin.__dataclass_fields__})
        manifest = Manifest(images, origin, signer)
        contradicts = manifest.root != data["root"]  # a name may be no UTF-8, and have no root
    if public is not None and signer != public:
        said = "is not signed" if signer is None else f"is signed by {fingerprint(signer)}"
        raise InputError(f"{path} {said}, not by {fingerprint(public)}")
    if contradicts:
        raise InputError(f"{path} contradicts itself: its root is not that of its files")
    return manifest


def _signer(path: Path, data: dict[str, Any], signature: Any) -> bytes:
    if signature["algorithm"] != _ALGORITHM:
        raise InputError(f"{path} is signed with {str(signature['algorithm'])[:20]}; this version knows {_ALGORITHM}")
    public = bytes.fromhex(signature["public_key"])
    if not signature_holds(public, bytes.fromhex(signature["value"]), canonical_json(data)):
        raise InputError(f"{path}: the signature does not hold: somebody changed the manifest; refused")
    return public


def _image(entry: dict[str, Any]) -> ScannedImage:
    name = entry["name"]
    if not isinstance(name, str) or not is_plain_name(name) or entry["class"] != label_of(name):
        raise ValueError(f"{str(name)[:80]!r} is no name below a data set's folder, or its class is another")
    facts: dict[str, Any] = {field: entry.get(field) for field in ImageFacts.__dataclass_fields__}
    sha256 = facts["sha256"]
    if sha256 is not None and len(bytes.fromhex(sha256)) != 32:
        raise ValueError(f"the SHA-256 of {name[:80]!r} has another length")
    return ScannedImage(name, entry["class"], ImageFacts(**facts))


def _without_none(facts: ImageFacts) -> dict[str, Any]:
    return {name: value for name, value in asdict(facts).items() if value is not None}


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def differences(manifest: Manifest, found: Sequence[ScannedImage]) -> list[str]:
    """One line for every image that is not what a manifest says; empty when all are.

    A file that went to another class, or changed its name, is said as one thing, by its content.
    """
    before = {image.name: image for image in manifest.images}
    after = {image.name: image for image in found}
    lines = [
        _changed(before[name], after[name])
        for name in before
        if name in after and before[name].digest != after[name].digest
    ]
    gone = {name: before[name] for name in before if name not in after}
    new = {name: after[name] for name in after if name not in before}
    by_content: dict[bytes, deque[str]] = {}  # copies of one image may be many
    for name, image in gone.items():
        by_content.setdefault(image.digest, deque()).append(name)
    for name, image in new.items():
        old = by_content.get(image.digest)
        if not old:
            lines.append(f"added: {name}")
            continue
        origin = old.popleft()
        del gone[origin]
        other = before[origin].label
        moved = f"moved from class {other} to {image.label}" if other != image.label else "renamed"
        lines.append(f"{moved}: {origin} is now {name}")
    return lines + [f"removed: {name}" for name in gone]


def _changed(before: ScannedImage, after: ScannedImage) -> str:
    if after.facts.sha256 is None:
        return f"changed: {after.name} cannot be read any more ({after.facts.fault})"
    same = before.facts.pixels_sha256 == after.facts.pixels_sha256 is not None
    return f"changed: {after.name}" + (" (the pixels are the same, the file is not)" if same else "")
