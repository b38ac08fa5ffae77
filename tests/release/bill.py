"""What a wheel consists of, as a software bill of materials beside it: CycloneDX 1.6, by its own library."""

import base64
import csv
import json
import re
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from hashlib import sha256
from pathlib import Path
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from release.steps import ROOT

#: Built parts and models; the rest of a wheel is source that anybody can read.
_PARTS = (".so", ".tflite", ".pt2")


def write_bill(wheel: Path, constraints: Path = ROOT / "constraints.txt") -> Path:
    """Write the bill of a wheel beside it, as NAME.cdx.json; the same wheel gives the same bytes.

    Args:
        wheel: as it is handed out.
        constraints: has the version of each package that was tested.
    """
    bill = wheel.with_suffix(".cdx.json")
    bill.write_bytes(bill_of_wheel(wheel, constraints))
    return bill


def bill_of_wheel(wheel: Path, constraints: Path) -> bytes:
    """The bill as JSON: EdgeGuard with the wheel's hash, what is built into it, and the packages that it wants.

    A package that only an extra wants has the scope `optional`. There is no time and no serial number in it.
    """
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(_text(archive, "METADATA"))
        parts = [_part(row[0], row[1]) for row in csv.reader(_text(archive, "RECORD").splitlines()) if _is_part(row[0])]
    product = Component(
        name=metadata["Name"],
        version=metadata["Version"],
        type=ComponentType.APPLICATION,
        bom_ref="edgeguard",
        description=metadata["Summary"],
        licenses=[LicenseExpression(metadata["License-Expression"])],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256(wheel.read_bytes()).hexdigest())],
    )
    packages = list(_packages(metadata, _versions(constraints)))
    bom = Bom(components=[*parts, *packages])
    bom.metadata.component = product
    bom.register_dependency(product, [*parts, *packages])
    return _settled(json.loads(JsonV1Dot6(bom).output_as_string()))


def _text(archive: zipfile.ZipFile, name: str) -> str:
    found = next(one for one in archive.namelist() if one.endswith(f".dist-info/{name}"))
    return archive.read(found).decode()


def _is_part(name: str) -> bool:
    return name.endswith(_PARTS)


def _part(name: str, digest: str) -> Component:
    """A file of the wheel; RECORD has its hash in base64 without padding."""
    raw = base64.urlsafe_b64decode(digest.removeprefix("sha256=") + "=")
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=raw.hex())]
    return Component(name=name, type=ComponentType.FILE, bom_ref=f"file:{name}", hashes=hashes)


def _packages(metadata: Message, versions: dict[str, str]) -> Iterator[Component]:
    """Each package once: required where the wheel wants it without an extra, else optional."""
    wanted: dict[str, bool] = {}
    for line in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        name = str(canonicalize_name(requirement.name))
        if name != "edgeguard":  # an extra that holds another one
            wanted[name] = wanted.get(name, False) or "extra" not in str(requirement.marker or "")
    for name, required in sorted(wanted.items()):
        version = versions.get(name)
        purl = PackageURL(type="pypi", name=name, version=version)
        yield Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=purl.to_string(),
            purl=purl,
            scope=ComponentScope.REQUIRED if required else ComponentScope.OPTIONAL,
        )


def _versions(constraints: Path) -> dict[str, str]:
    pinned = re.findall(r"^([\w.-]+)==(\S+)$", constraints.read_text(encoding="utf-8"), re.M)
    return {canonicalize_name(name): version for name, version in pinned}


def _settled(bill: dict[str, Any]) -> bytes:
    bill.pop("serialNumber", None)
    bill.get("metadata", {}).pop("timestamp", None)
    return (json.dumps(bill, indent=2, sort_keys=True) + "\n").encode()
