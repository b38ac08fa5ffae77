"""What a bundle is: `bundle.json`, the signed list of its files and of what has to hold before and after the update."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, ValidationError, json

from edgeguard.errors import InputError
from edgeguard.system.foreign import parsing

SCHEMA = 1
#: Bytes of a whole bundle; more is refused before anything is read.
LARGEST_BUNDLE = 512 << 20
LARGEST_MANIFEST = 256 << 10
_MOST_FILES = 64
_FIXED = ("model.tflite", "config.toml")  # that every bundle has

Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}){0,2}$")]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Moment = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
Release = Annotated[str, Meta(pattern=r"^[0-9]{1,4}(\.[0-9]{1,4}){1,2}$")]


@dataclass(frozen=True)
class File:
    """A file of a bundle.

    Attributes:
        name: below the bundle's folder.
        bytes: its size.
        sha256: in hexadecimal.
    """

    name: FileName
    bytes: Annotated[int, Meta(ge=0, le=LARGEST_BUNDLE)]
    sha256: Hash


@dataclass(frozen=True)
class Health:
    """What a new bundle has to show before it stays.

    Attributes:
        within_s: seconds for all of it.
        frames: results in that time; a source that was lost before the update need not give any.
        age_ratio, infer_ratio: 95th percentiles, times those before the update.
        age_p95_ms, infer_p95_ms: limits of the bundle's own, in place of the ratios.
        celsius: the processor's temperature stays below it.
    """

    within_s: Annotated[float, Meta(ge=1, le=75)] = 60.0
    frames: Annotated[int, Meta(ge=1, le=100_000)] = 30
    age_ratio: Annotated[float, Meta(ge=1, le=100)] = 1.5
    infer_ratio: Annotated[float, Meta(ge=1, le=100)] = 1.5
    age_p95_ms: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    infer_p95_ms: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    celsius: Annotated[float, Meta(ge=20, le=120)] = 80.0


@dataclass(frozen=True)
class Manifest:
    """`bundle.json`.

    Attributes:
        name, version: of the bundle; its version only grows.
        created, expires: UTC.
        edgeguard: the least release that can run it.
        hardware, groups: devices that it is for; empty is any.
        files: all members beside the manifest and its signature, in their order.
        golden_tolerance: quantization steps that an output of a golden image may differ by.
        training_data_sha256: root of the training data, where there is one.
    """

    schema: Literal[1]
    name: Word
    version: Annotated[int, Meta(ge=1, le=2**53)]
    created: Moment
    expires: Moment
    edgeguard: Release
    files: Annotated[tuple[File, ...], Meta(min_length=1, max_length=_MOST_FILES)]
    hardware: Annotated[tuple[Word, ...], Meta(max_length=32)] = ()
    groups: Annotated[tuple[Word, ...], Meta(max_length=32)] = ()
    health: Health = Health()
    golden_tolerance: Annotated[int, Meta(ge=0, le=8)] = 0
    training_data_sha256: Hash | None = None

    @property
    def title(self) -> str:
        """`NAME-VERSION`."""
        return f"{self.name}-{self.version}"

    @property
    def golden(self) -> tuple[str, ...]:
        """Names of the golden images."""
        return tuple(f.name for f in self.files if f.name.startswith("golden/") and f.name != EXPECTED)

    def to_bytes(self) -> bytes:
        """The very bytes that are signed."""
        return json.format(json.encode(self), indent=1)


#: The golden images' outputs, one after another as the runtime stores them.
EXPECTED = "golden/expected.bin"


def parse_manifest(data: bytes) -> Manifest:
    """A manifest from bytes whose signatures hold.

    Raises:
        InputError: it is no manifest that this release knows, or it names files that no bundle has.
    """
    if len(data) > LARGEST_MANIFEST:
        raise InputError(f"bundle.json has {len(data)} bytes, more than {LARGEST_MANIFEST}; refused")
    with parsing("bundle.json"):
        raw: Any = json.decode(data)
        schema = raw.get("schema") if isinstance(raw, dict) else None
        if schema != SCHEMA:
            raise InputError(f"bundle.json has schema {schema!r}, this edgeguard reads {SCHEMA}: update edgeguard")
        try:
            manifest = json.decode(data, type=Manifest)
        except ValidationError as error:
            raise InputError(f"bundle.json: {_said(error, raw)}; refused") from error
    _check(manifest, raw)
    return manifest


def _said(error: ValidationError, raw: dict[str, Any]) -> str:
    """The mistake in words; of a name that leads elsewhere, that it does."""
    for entry in raw["files"] if isinstance(raw.get("files"), list) else ():
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str) and not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", name):
            return f"{name[:80]!r} leads out of the bundle, or is no plain name"
    return str(error)


def _check(manifest: Manifest, raw: dict[str, Any]) -> None:
    unknown = set(raw) - set(Manifest.__dataclass_fields__)
    if unknown:
        raise InputError(
            f"bundle.json has a key {min(unknown)[:60]!r} that this edgeguard does not know: update edgeguard"
        )
    names = [file.name for file in manifest.files]
    if len(set(names)) < len(names):
        raise InputError("bundle.json names a file twice; refused")
    for name in _FIXED:
        if name not in names:
            raise InputError(f"the bundle has no {name}; refused")
    if not manifest.golden or EXPECTED not in names:
        raise InputError("the bundle has no golden images with outputs; refused")
    total = sum(file.bytes for file in manifest.files)
    if total > LARGEST_BUNDLE:
        raise InputError(f"the bundle has {total} bytes, more than {LARGEST_BUNDLE}; refused")
    moment(manifest.created), moment(manifest.expires)


def moment(text: str) -> datetime:
    """A time as manifests write it.

    Raises:
        InputError: there is no such time.

    Example:
        >>> moment("2026-01-02T03:04:05Z").year
        2026
    """
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise InputError(f"{text[:40]!r} is no time: {error}") from error


def moment_text(when: datetime) -> str:
    """A time as manifests write it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def release_number(text: str) -> tuple[int, ...]:
    """The numbers of a release, to compare: `0.9.1.dev3` counts as `0.9.1`."""
    found = re.match(r"[0-9]+(\.[0-9]+)*", text)
    return () if found is None else tuple(int(part) for part in found[0].split("."))
