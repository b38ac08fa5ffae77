"""From a .tflite back to its training: whether the hashes that its contract names are those of what is shown."""

from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.model.contract import read_contract
from edgeguard.model.flatbuffer import LARGEST_FILE, ModelFile
from edgeguard.system.files import sha256_file
from edgeguard.system.foreign import read_bounded
from edgeguard_converters.training_data.keys import read_public
from edgeguard_converters.training_data.manifest import read_manifest


def chain_faults(
    file: Path,
    *,
    data: Path | None = None,
    public_key: Path | None = None,
    config_sha256: str | None = None,
    program: Path | None = None,
) -> list[str]:
    """One line for each link that does not hold; empty where all do.

    Args:
        file: a .tflite.
        data: the manifest of its training images.
        public_key: of who must have signed that manifest; None for anybody.
        config_sha256: names the configuration of its training.
        program: what `train` wrote and `convert` read.

    Raises:
        InputError: a file cannot be read, a signature does not hold, or the model names no training.
    """
    contract = read_contract(ModelFile(read_bounded(file, LARGEST_FILE, "the model")))
    if contract is None or contract.training_data_sha256 is None:
        raise InputError(f"{file} does not say what it was trained on: `train` and `convert` write it from now on")
    found: list[tuple[str, str | None, str]] = []
    if data is not None:
        root = read_manifest(data, None if public_key is None else read_public(public_key)).root
        found.append(("training data", contract.training_data_sha256, root))
    if config_sha256 is not None:
        found.append(("configuration", contract.training_config_sha256, config_sha256))
    if program is not None:
        if not program.is_file():
            raise InputError(f"{program} is not there: wanted the folder that `train` wrote")
        found.append(("checkpoint", contract.source_sha256, sha256_file(program)))
    return [f"{what}: the model names {own}, here is {shown}" for what, own, shown in found if own != shown]
