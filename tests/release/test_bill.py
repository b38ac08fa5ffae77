"""The bill of materials of a wheel names its parts, the packages that it wants, and nothing that changes by itself."""

import base64
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cyclonedx", reason="the bill is made with CycloneDX's library (the extra release)")

from release.bill import bill_of_wheel, write_bill

_METADATA = """Metadata-Version: 2.4
Name: edgeguard
Version: 9.8.7
Summary: a summary
License-Expression: Apache-2.0
Requires-Dist: numpy>=1.24
Requires-Dist: Pillow>=10
Requires-Dist: torch>=2.9; extra == 'convert'
Requires-Dist: numpy>=2; extra == 'convert'
Requires-Dist: edgeguard[convert]; extra == 'all'
"""
_KERNEL = b"\x7fELF kernel"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "edgeguard-9.8.7-py3-none-any.whl"
    digest = base64.urlsafe_b64encode(hashlib.sha256(_KERNEL).digest()).decode().rstrip("=")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("edgeguard/dct/_kernel.so", _KERNEL)
        archive.writestr("edgeguard/__init__.py", "")
        archive.writestr("edgeguard-9.8.7.dist-info/METADATA", _METADATA)
        record = f"edgeguard/dct/_kernel.so,sha256={digest},11\nedgeguard/__init__.py,sha256=x,0\n"
        archive.writestr("edgeguard-9.8.7.dist-info/RECORD", record)
    return path


@pytest.fixture
def constraints(tmp_path: Path) -> Path:
    path = tmp_path / "constraints.txt"
    path.write_text("# tested\nnumpy==2.4.6\npillow==12.0.0\n", encoding="utf-8")
    return path


def _components(bill: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in bill["components"]}


def test_the_bill_names_parts_and_packages(wheel: Path, constraints: Path) -> None:
    bill = json.loads(bill_of_wheel(wheel, constraints))
    product = bill["metadata"]["component"]
    assert (product["name"], product["version"]) == ("edgeguard", "9.8.7")
    assert product["licenses"] == [{"expression": "Apache-2.0"}]
    assert product["hashes"][0]["content"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    parts = _components(bill)
    assert set(parts) == {"edgeguard/dct/_kernel.so", "numpy", "pillow", "torch"}
    assert parts["edgeguard/dct/_kernel.so"]["hashes"][0]["content"] == hashlib.sha256(_KERNEL).hexdigest()
    assert {name: parts[name]["scope"] for name in ("numpy", "pillow", "torch")} == {
        "numpy": "required",
        "pillow": "required",
        "torch": "optional",
    }
    assert parts["numpy"]["purl"] == "pkg:pypi/numpy@2.4.6" and "version" not in parts["torch"]
    needs = next(one for one in bill["dependencies"] if one["ref"] == "edgeguard")
    assert "pkg:pypi/numpy@2.4.6" in needs["dependsOn"]


def test_the_same_wheel_has_the_same_bill(wheel: Path, constraints: Path) -> None:
    written = write_bill(wheel, constraints)
    assert written.name == "edgeguard-9.8.7-py3-none-any.cdx.json"
    assert written.read_bytes() == bill_of_wheel(wheel, constraints)
    assert "timestamp" not in written.read_text() and "serialNumber" not in written.read_text()


def test_the_bill_is_valid_cyclonedx(wheel: Path, constraints: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill_of_wheel(wheel, constraints).decode())
    assert problem is None, problem
