"""The manifest of a conversion: what went in, what came out, and with which tools; and checking a file against it."""

import json
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard.model.contract import Contract, read_contract
from edgeguard.model.flatbuffer import LARGEST_FILE, ModelFile
from edgeguard.system.files import sha256_file, write_bytes
from edgeguard.system.foreign import foreign_json, parsing, read_bounded

SCHEMA = 1
_LARGEST = 16 << 20  # bytes of a manifest


def make_manifest(file: Path, contract: Contract) -> dict[str, Any]:
    """Plain data; the same conversion gives the same manifest: no time, no path."""
    profile = contract.guard.profile
    training = {
        "training_data_sha256": contract.training_data_sha256,
        "training_config_sha256": contract.training_config_sha256,
    }
    return {
        "schema": SCHEMA,
        "file_sha256": sha256_file(file),
        "source_sha256": contract.source_sha256,
        "calibration_sha256": contract.calibration_sha256,
        "profile_sha256": None if profile is None else profile.sha256,
        "place": contract.guard.place,
        "preprocess": {"mean": list(contract.preprocess.mean), "std": list(contract.preprocess.std)},
        "gates": contract.gates,
        "versions": contract.versions,
        **{name: value for name, value in training.items() if value is not None},
    }


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write it, whole or not at all."""
    write_bytes(path, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises:
        InputError: it cannot be read, or is no manifest of this schema.
    """
    raw = read_bounded(path, _LARGEST, "the manifest")
    with parsing(f"the manifest {path}"):
        manifest = foreign_json(raw)
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA or "file_sha256" not in manifest:
        raise InputError(f"{path} is not a manifest of schema {SCHEMA}")
    return manifest


def differences(file: Path, manifest: dict[str, Any]) -> list[str]:
    """One line for everything in which a model file is not what the manifest says; empty when it is.

    Raises:
        InputError: the file is no .tflite, or its contract is damaged.
    """
    found = []
    data = read_bounded(file, LARGEST_FILE, "the model")
    contract = read_contract(ModelFile(data))
    actual = sha256_file(file)
    if actual != manifest["file_sha256"]:
        found.append(f"the file's SHA-256 is {actual}, the manifest says {manifest['file_sha256']}")
    if contract is None:
        return [*found, "the file carries no contract"]
    for key, value in make_manifest(file, contract).items():
        if key not in ("schema", "file_sha256") and value != manifest.get(key):
            found.append(f"{key} is {json.dumps(value)}, the manifest says {json.dumps(manifest.get(key))}")
    return found
