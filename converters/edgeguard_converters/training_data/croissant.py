"""A data set's description as Croissant 1.0 (JSON-LD of MLCommons): its files, and what a record of it holds."""

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from edgeguard.errors import InputError
from edgeguard.system.files import sha256_file
from edgeguard.system.names import utf8_path, utf8_text
from edgeguard_converters.training_data.manifest import Manifest, canonical_json

_CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_CROISSANT_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet", "format"),
    *("includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
_FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".bmp": "bmp", ".webp": "webp"}
_URL = re.compile(r"https?://[^\s\x00-\x1f\x7f<>\"{}|\\^`]+")
_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
_CLASS_FOLDER = "^(?:.*/)?([^/]+)/[^/]+$"


@dataclass(frozen=True)
class Description:
    """What nobody can read off the images. Croissant requires all of it but the version.

    Attributes:
        name: of the data set.
        description: of it, in words.
        licence: the address of its terms, or their name; None takes the manifest's.
        url: of its page; None takes the manifest's source.
        people, organizations: who made it: one at least.
        published: the day, ISO 8601.
        version: MAJOR.MINOR.PATCH.
    """

    name: str | None
    description: str | None
    licence: str | None
    url: str | None
    people: Sequence[str]
    organizations: Sequence[str]
    published: str | None
    version: str | None


def croissant_of(path: Path, manifest: Manifest, description: Description) -> bytes:
    """Canonical JSON: the same manifest and description give the same bytes.

    Args:
        path: of the manifest, whose name and SHA-256 stand in it.
        manifest: what was read from there.
        description: what to say of the data.

    Raises:
        InputError: something that Croissant requires is not given or has another form; the manifest names no images,
            or only some of them lie in a class folder.
    """
    name = utf8_path(path.name)
    said = _checked(replace(
        description,
        licence=description.licence or manifest.origin.licence,
        url=description.url or manifest.origin.source,
    ))  # fmt: skip
    with_label = _has_classes(path, manifest)
    return canonical_json({
        **said,
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS_TO,
        "identifier": {"@type": "sc:PropertyValue", "name": "Merkle root (RFC 6962, SHA-256)", "value": manifest.root},
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "manifest",
                "name": name,
                "description": "The SHA-256 of every image, and one root over all.",
                "contentUrl": quote(name),
                "encodingFormat": "application/json",
                "sha256": sha256_file(path),
            },
            {"@type": "cr:FileSet", "@id": "image-files", **_files(path, manifest)},
        ],
        "recordSet": [_images(with_label)],
    }) + b"\n"  # fmt: skip


def _checked(given: Description) -> dict[str, Any]:
    """The properties that were given, or one line on what is wrong with them."""
    creators = [
        {"@type": kind, "name": utf8_text(flag, name)}
        for flag, kind, names in (
            ("--person", "sc:Person", given.people),
            ("--organization", "sc:Organization", given.organizations),
        )
        for name in names
        if name.strip()
    ]
    wanted = {
        "--name": given.name,
        "--description": given.description,
        "--licence": given.licence,
        "--url": given.url,
        "--published": given.published,
    }
    texts = {flag: utf8_text(flag, text) for flag, text in wanted.items() if text is not None and text.strip()}
    lacking = [flag for flag in wanted if flag not in texts] + ([] if creators else ["--person or --organization"])
    if lacking:
        raise InputError(f"Croissant requires what was not given: {', '.join(lacking)}")
    licence, url = texts["--licence"], texts["--url"]
    if _URL.fullmatch(url) is None:
        raise InputError(f"--url {url[:100]!r} is no address of a page (https://...)")
    if given.version is not None and _VERSION.fullmatch(given.version) is None:
        raise InputError(f"--data-version {given.version[:100]!r} is not MAJOR.MINOR.PATCH, such as 1.0.0")
    try:
        published = datetime.date.fromisoformat(texts["--published"]).isoformat()
    except ValueError as error:
        raise InputError(f"--published {texts['--published'][:100]!r} is no day, such as 2026-11-30") from error
    return {
        "name": texts["--name"],
        "description": texts["--description"],
        "license": licence if _URL.fullmatch(licence) else {"@type": "sc:CreativeWork", "name": licence},
        "url": url,
        "creator": creators,
        "datePublished": published,
        **({} if given.version is None else {"version": given.version}),
    }


def _has_classes(path: Path, manifest: Manifest) -> bool:
    labels = {image.label for image in manifest.images}
    if not labels:
        raise InputError(f"{path} names no images: there is nothing to describe")
    if None in labels and len(labels) > 1:
        raise InputError(f"{path}: some images lie in no class folder and would have no label: move them into one")
    return None not in labels


def _files(path: Path, manifest: Manifest) -> dict[str, Any]:
    """By suffix, whatever the folder: the class names would have to be escaped, and may be thousands."""
    patterns, formats = set(), set()
    for image in manifest.images:
        suffix = PurePosixPath(image.name).suffix
        if suffix.lower() not in _FORMATS:
            raise InputError(f"{path}: {image.name[:100]!r} has no suffix of an image that is read here")
        formats.add(f"image/{_FORMATS[suffix.lower()]}")
        patterns.add(f"*{suffix}" if image.label is None else f"**/*{suffix}")
    return {"encodingFormat": sorted(formats), "includes": sorted(patterns)}


def _images(with_label: bool) -> dict[str, Any]:
    """One record an image."""
    name = _field("images/name", "The file's name below the folder, as the manifest has it.", "sc:Text", "fullpath")
    content = _field("images/content", "The picture.", "sc:ImageObject", "content")
    label = _field("images/label", "The class: the folder that the file is in.", ["sc:Text", "cr:Label"], "fullpath")
    label["source"]["transform"] = {"regex": _CLASS_FOLDER}
    fields = [name, content, label] if with_label else [name, content]
    return {"@type": "cr:RecordSet", "@id": "images", "key": {"@id": "images/name"}, "field": fields}


def _field(identity: str, description: str, kind: str | list[str], file_property: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": identity,
        "name": identity,
        "description": description,
        "dataType": kind,
        "source": {"fileSet": {"@id": "image-files"}, "extract": {"fileProperty": file_property}},
    }


def _context() -> dict[str, Any]:
    """What the short words stand for, with the terms that readers expect whether they are used here or not."""
    return {
        **{term: f"cr:{term}" for term in _CROISSANT_TERMS},
        "@language": "en",
        "@vocab": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "dct": "http://purl.org/dc/terms/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "sc": "https://schema.org/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
    }
