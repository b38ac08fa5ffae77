"""The Croissant description of a data set: what version 1.0 requires is there, and what it says is true."""

import fnmatch
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from cli.launch import refused
from commands import here

pytest.importorskip("cryptography", reason="the data extra is not installed")

GIVEN = {
    "--name": "Photos",
    "--description": 'two lines,\n"quoted", and a \x01',
    "--licence": "CC BY 4.0",
    "--url": "https://example.org/photos",
    "--person": "A. Name",
    "--published": "2026-11-30",
}
REQUIRED = {"@context", "@type", "conformsTo", "name", "description", "license", "url", "creator", "datePublished"}
FILES = ("train/cat [1]/0.png", 'train/dog "é\u2028"/1.jpeg', "test/cat [1]/2.PNG")


def _written(folder: Path, *files: str) -> Path:
    for name in files:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(cv2.imencode(file.suffix.lower(), np.full((16, 16, 3), 90, np.uint8))[1].tobytes())
    return folder


def _manifest(folder: Path, *words: object) -> Path:
    done = here("data", "manifest", folder, "--output", folder / "my photos.json", *words)
    assert done.returncode == 0, done.stderr
    return folder / "my photos.json"


def _croissant(manifest: Path, *more: str, **changed: str | None):
    given = {**GIVEN, **{f"--{flag}": text for flag, text in changed.items()}}
    words = [word for flag, text in given.items() if text is not None for word in (flag, text)]
    return here("data", "croissant", manifest, "--output", manifest.with_name("c.json"), *words, *more)


def _read(manifest: Path) -> dict[str, Any]:
    return json.loads(manifest.with_name("c.json").read_bytes())


def test_what_the_specification_requires_is_there_and_each_word_has_a_meaning(tmp_path: Path) -> None:
    manifest = _manifest(_written(tmp_path, *FILES))
    done = _croissant(manifest, "--organization", "Both of Us", "--data-version", "1.2.0")
    assert done.returncode == 0, done.stderr
    said = _read(manifest)
    assert said.keys() == {*REQUIRED, "distribution", "identifier", "recordSet", "version"}
    assert (said["@type"], said["conformsTo"]) == ("sc:Dataset", "http://mlcommons.org/croissant/1.0")
    assert (said["description"], said["version"]) == (GIVEN["--description"], "1.2.0")
    assert said["license"] == {"@type": "sc:CreativeWork", "name": "CC BY 4.0"}
    assert [one["@type"] for one in said["creator"]] == ["sc:Person", "sc:Organization"]
    context, identities = said["@context"], set[str]()
    of_schema_org = {"name", "description", "license", "url", "creator", "datePublished", "distribution", "identifier"}
    of_schema_org |= {"version", "value", "contentUrl", "encodingFormat", "sha256"}

    def look(node: Any) -> None:
        for part in node if isinstance(node, list) else [node]:
            for key, value in part.items() if isinstance(part, dict) else ():
                assert key in context or key in of_schema_org or key.startswith("@"), key
                if key == "@id" and len(part) > 1:
                    assert value not in identities
                    identities.add(value)
                if key not in ("@context", "data"):
                    look(value)

    look(said)
    assert {"manifest", "image-files", "images", "images/name", "images/content", "images/label"} == identities


def test_the_manifest_its_root_the_files_and_their_labels_are_those_of_the_folder(tmp_path: Path) -> None:
    manifest = _manifest(_written(tmp_path, *FILES))
    assert _croissant(manifest).returncode == 0
    said, root = _read(manifest), json.loads(manifest.read_text())["root"]
    file, images = said["distribution"]
    assert said["identifier"]["value"] == root and "version" not in said
    assert file["sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert (file["name"], file["contentUrl"]) == ("my photos.json", "my%20photos.json")
    assert images["encodingFormat"] == ["image/jpeg", "image/png"]
    here_now = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    kept = {name for name in here_now for pattern in images["includes"] if fnmatch.fnmatchcase(name, pattern)}
    assert kept == set(FILES)
    (records,) = said["recordSet"]
    name, content, label = records["field"]
    assert [one["source"]["extract"]["fileProperty"] for one in (name, content)] == ["fullpath", "content"]
    matches = [re.match(label["source"]["transform"]["regex"], file) for file in FILES]
    assert [match and match[1] for match in matches] == ["cat [1]", 'dog "é\u2028"', "cat [1]"]


def test_equal_folders_have_equal_bytes_and_the_manifest_says_what_is_not_given(tmp_path: Path) -> None:
    written = []
    for name in ("one", "two"):
        folder = _written(tmp_path / name, *(FILES if name == "one" else FILES[::-1]))
        manifest = _manifest(folder, "--source", "https://example.org/p", "--licence", "https://example.org/terms")
        assert _croissant(manifest, url=None, licence=None).returncode == 0
        written.append(manifest.with_name("c.json").read_bytes())
    assert written[0] == written[1] and written[0].endswith(b"}\n") and written[0].count(b"\n") == 1
    said = json.loads(written[0])
    assert (said["url"], said["license"]) == ("https://example.org/p", "https://example.org/terms")


def test_images_without_classes_have_no_label_and_some_without_are_refused(tmp_path: Path) -> None:
    manifest = _manifest(_written(tmp_path, "0.png"))
    assert _croissant(manifest).returncode == 0
    said = _read(manifest)
    assert [field["@id"] for field in said["recordSet"][0]["field"]] == ["images/name", "images/content"]
    assert said["distribution"][1]["includes"] == ["*.png"]
    manifest = _manifest(_written(tmp_path, "cat/0.png"))
    refused(_croissant(manifest), 2, "some images lie in no class folder and would have no label")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"name": None, "licence": " ", "person": None}, "not given: --name, --licence, --person or --organization"),
        ({"url": "photos"}, "--url 'photos' is no address of a page"),
        ({"published": "yesterday"}, "--published 'yesterday' is no day"),
        ({"data-version": "1.0"}, "--data-version '1.0' is not MAJOR.MINOR.PATCH"),
        ({"description": "\udcff"}, "--description '\\udcff' is no UTF-8"),
        ({"person": "\udcff"}, "--person '\\udcff' is no UTF-8"),
    ],
)
def test_what_is_lacking_or_wrong_is_refused_in_one_line(
    changed: dict[str, str | None], says: str, tmp_path: Path
) -> None:
    manifest = _manifest(_written(tmp_path, "cat/0.png"))
    refused(_croissant(manifest, **changed), 2, says)
    assert not manifest.with_name("c.json").exists()


@pytest.mark.parametrize(
    ("files", "says"), [([], "names no images"), ([{"name": "a/b.txt", "class": "a"}], "has no suffix of an image")]
)
def test_a_strangers_manifest_of_nothing_or_of_other_files_is_refused(
    files: list[dict[str, Any]], says: str, tmp_path: Path
) -> None:
    from edgeguard_converters.training_data.merkle import data_root

    root = data_root({file["name"]: bytes(32) for file in files})
    said = {"schema": 1, "kind": "edgeguard-data-manifest", "root": root, "origin": {}, "files": files}
    (tmp_path / "m.json").write_text(json.dumps(said))
    refused(_croissant(tmp_path / "m.json"), 2, says)


def test_names_of_classes_that_are_no_text_do_not_reach_it(tmp_path: Path) -> None:
    manifest = _manifest(_written(tmp_path, "cat/0.png"))
    said = json.loads(manifest.read_text())
    for name in ("\ud800/0.png", "a\x01/0.png"):
        said["files"][0] |= {"name": name, "class": name.split("/")[0]}
        manifest.write_text(json.dumps(said))
        refused(_croissant(manifest), 2, "is damaged")
