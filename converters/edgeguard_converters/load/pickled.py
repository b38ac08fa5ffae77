"""A pickled module: loading it runs whatever the file says, so only on the user's word (`--trust-pickle`)."""

import sys
from pathlib import Path

import torch

from edgeguard.errors import InputError
from edgeguard_converters.load.source import FileFacts, facts_from_json
from edgeguard_converters.load.torch_source import TorchSource


def load_pickled(path: Path, size: tuple[int, int] | None) -> TorchSource:
    """Unpickle a whole module (`torch.save(model)`), or a checkpoint that holds one under `model`.

    The classes it names are imported from the environment and the current folder.

    Raises:
        InputError: it does not unpickle, or what comes out is no torch module.
    """
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path.name} does not unpickle: {first[:200]}") from error
    finally:
        sys.path.pop(0)
    module = found.get("model", found) if isinstance(found, dict) else found
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"{path.name} holds a {type(module).__name__}, not a torch module")
    config = getattr(module, "pretrained_cfg", None)
    facts = facts_from_json({"pretrained_cfg": config}, "pretrained_cfg") if isinstance(config, dict) else FileFacts()
    return TorchSource("pickled", size or facts.size, facts, module.float().eval())
