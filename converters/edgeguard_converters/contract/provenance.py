"""What a contract says of where its model comes from: hashes, and the versions of the tools."""

from importlib.metadata import PackageNotFoundError, version

import edgeguard

_TOOLS = ("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert", "numpy", "opencv-python-headless")
_TOOLS_OF = {"ONNX": ("onnx",), "Keras": ("tensorflow",), "SavedModel": ("tensorflow",)}


def versions(kind: str) -> dict[str, str]:
    """Versions of EdgeGuard and of the installed tools that a source of this kind goes through, by package.

    Example:
        >>> sorted(versions("TFLite"))[:2]
        ['ai-edge-litert', 'ai-edge-quantizer']
    """
    found = {"edgeguard": edgeguard.__version__}
    for name in (*_TOOLS, *_TOOLS_OF.get(kind, ())):
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            continue
    return found
