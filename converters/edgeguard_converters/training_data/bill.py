"""A bill of materials of a model: CycloneDX, with the model, its training data and its configuration as components."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard.model.contract import read_contract
from edgeguard.model.flatbuffer import LARGEST_FILE, ModelFile
from edgeguard.system.foreign import read_bounded
from edgeguard_converters.training_data.manifest import Manifest


def bill_of(file: Path, manifest: Manifest | None) -> bytes:
    """CycloneDX 1.6 as JSON, by its own library; the same inputs give the same bytes: no time, no serial number.

    Args:
        file: a .tflite with a contract.
        manifest: of its training images, which gives their origin; None for none at hand.

    Raises:
        InputError: the file carries no contract, or was trained on other data than the manifest's.
    """
    import hashlib

    from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense
    from cyclonedx.output.json import JsonV1Dot6

    data = read_bounded(file, LARGEST_FILE, "the model")
    contract = read_contract(ModelFile(data))
    if contract is None:
        raise InputError(f"{file} carries no contract: there is nothing to say of its materials")
    if manifest is not None and manifest.root != contract.training_data_sha256:
        raise InputError(f"{file} was trained on data of root {contract.training_data_sha256}, not {manifest.root}")
    sha256 = hashlib.sha256(data).hexdigest()
    model = Component(
        name=file.name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
        properties=[
            Property(name=f"edgeguard:{name}", value=value)
            for name, value in (
                ("task", contract.task),
                ("source_sha256", contract.source_sha256),
                ("training_config_sha256", contract.training_config_sha256),
            )
            if value is not None
        ],
    )
    bom = Bom(components=[model])

    if contract.training_data_sha256 is not None:
        origin = None if manifest is None else manifest.origin
        trained_on = Component(
            name="training data",
            type=ComponentType.DATA,
            bom_ref="training-data",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=contract.training_data_sha256)],
            licenses=[] if origin is None or origin.licence is None else [DisjunctiveLicense(name=origin.licence)],
            external_references=[]
            if origin is None or origin.source is None
            else [ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(origin.source))],
            properties=[]
            if manifest is None
            else [
                Property(name="edgeguard:images", value=str(len(manifest.images))),
                Property(name="edgeguard:signed_by", value=manifest.signed_by),
            ],
        )
        bom.components.add(trained_on)
        bom.register_dependency(model, [trained_on])
    return _without_time(json.loads(JsonV1Dot6(bom).output_as_string()))


def _without_time(bill: dict[str, Any]) -> bytes:
    metadata = bill.get("metadata", {})
    metadata.pop("timestamp", None)
    bill.pop("serialNumber", None)
    metadata["tools"] = {"components": [{"type": "application", "name": "edgeguard", "version": version("edgeguard")}]}
    bill["metadata"] = metadata
    return (json.dumps(bill, indent=1, sort_keys=True) + "\n").encode()
