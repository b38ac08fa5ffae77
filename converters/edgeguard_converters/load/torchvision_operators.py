"""Making torchvision importable beside a CPU build of torch.

The wheel on PyPI is built against the CUDA build of torch. Beside the CPU build its compiled operators do not load,
and `import torchvision` (timm, onnx2torch) fails with "operator torchvision::nms does not exist". Declared without
an implementation the operators do no harm: image models do not call them.
"""

import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def make_torchvision_importable() -> object | None:
    """Import torchvision, declaring its operators first where its compiled ones do not fit; what it returns keeps them.

    Raises:
        ImportError: torchvision is not installed.
    """
    import torch

    try:
        import torchvision

        return None
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    spec = find_spec("torchvision")
    assert spec is not None and spec.origin is not None
    source = (Path(spec.origin).parent / "_meta_registrations.py").read_text(encoding="utf-8")
    library = torch.library.Library("torchvision", "DEF")
    for name in {*re.findall(r'"torchvision::(\w+)"', source), "nms"}:
        library.define(f"{name}(Tensor a) -> Tensor")
    import torchvision  # noqa: F401

    return library
