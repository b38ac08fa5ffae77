"""Make the index by which `edgeguard convert` knows a state_dict's architecture (`load/zoo/families.json`).

Every classifier of torchvision and timm with at most 100 million parameters is built without memory for its weights. Of
each is kept: a hash of its tensors' names, one of their shapes with the number of classes left open, and the tensors
whose first side that number is. Architectures of equal names and shapes are compared further: equal modules with equal
settings, or equal answers on random weights, compute the same; others are told apart by the user. The classes of their
modules become the list of what a pickled module may be made of.

    python benchmarks/zoo_index.py                # about 15 minutes on one core
"""

import argparse
import contextlib
import hashlib
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from edgeguard_converters.load.torchvision_operators import make_torchvision_importable

_KEEP = make_torchvision_importable()

import timm  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402

from edgeguard_converters.load.zoo.index import INDEX, names_hash, shapes_hash  # noqa: E402

_MOST_PARAMETERS = 100_000_000
_HUGE = re.compile(r"giant|gigantic|huge|enormous|so400m|xxlarge|_7b|_22b|eva02_large|_large_patch14|128gf|vit_h_14")
_CLASSES, _OTHER_CLASSES = 1000, 7
#: Attributes that change nothing of what a module answers in evaluation mode.
_SILENT = {"training", "num_classes", "pretrained_cfg", "default_cfg", "drop_rate", "drop_prob", "p",
           "grad_checkpointing", "transform_input", "scale_by_keep", "inplace", "init_values", "momentum"}  # fmt: skip
_SAME = 1e-4


def main() -> int:
    """Write the index."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="a part of the names, for a try")
    wanted = parser.parse_args().only
    torch.set_num_threads(1)
    names = [f"torchvision:{n}" for n in torchvision.models.list_models(module=torchvision.models)]
    names += [f"timm:{n}" for n in timm.list_models()]
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    classes: dict[str, set[str]] = defaultdict(set)
    left_out: dict[str, str] = {}
    began = time.monotonic()
    with _no_initialization():
        for number, name in enumerate(n for n in names if wanted in n):
            if number % 100 == 0:
                print(f"{number} of {len(names)}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            try:
                entry = _entry(name, classes)
            except Exception as error:
                left_out[name] = f"{type(error).__name__}: {str(error)[:80]}"
                continue
            if entry is not None:
                found[entry["names"], entry["shapes"]].append(entry)
    _number_functions(found)
    families: dict[str, list[list[Any]]] = defaultdict(list)
    for entries in found.values():
        for entry in entries:
            families[entry["names"]].append([entry["name"], entry["shapes"], entry["function"], entry["head"]])
    document = {
        "torchvision": torchvision.__version__.partition("+")[0],
        "timm": timm.__version__,
        "families": dict(sorted(families.items())),
        "classes": {module: sorted(kinds) for module, kinds in sorted(classes.items())},
    }
    if not wanted:
        lines = json.dumps(document, separators=(",", ":")).replace("]],", "]],\n").replace('],"', '],\n"')
        INDEX.write_text(lines + "\n", encoding="utf-8")
    same = sum(len(entries) > 1 for entries in found.values())
    print(f"{sum(map(len, found.values()))} architectures, {len(families)} lists of names, {same} shared, "
          f"{sum(map(len, classes.values()))} classes; left out: {left_out}")  # fmt: skip
    return 0


def build(name: str, classes: int = _CLASSES) -> torch.nn.Module:
    """An architecture in evaluation mode."""
    library, _, model = name.partition(":")
    if library == "torchvision":
        return torchvision.models.get_model(model, weights=None, num_classes=classes).eval()
    made: torch.nn.Module = timm.create_model(model, num_classes=classes)
    return made.eval()


def _entry(name: str, classes: dict[str, set[str]]) -> dict[str, Any] | None:
    if _HUGE.search(name):
        return None
    real = "torchvision:regnet" in name  # its constructor reads tensors
    with torch.device("cpu" if real else "meta"):
        model = build(name)
        for module in model.modules():
            classes[type(module).__module__].add(type(module).__qualname__)
        if sum(p.numel() for p in model.parameters()) > _MOST_PARAMETERS:
            return None
        shapes = _shapes(model)
        head = _head(name, model, shapes)
    if not head or any((_CLASSES, *shapes[key][1:]) != shapes[key] for key in head):
        raise ValueError("the number of classes is not the first side of its head")
    return {
        "name": name,
        "names": names_hash(shapes),
        "shapes": shapes_hash(shapes, head),
        "head": head,
        "structure": _structure(model),
    }


def _head(name: str, model: Any, shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """Tensors that grow with the number of classes: timm names them, torchvision's are found by a second model."""
    if name.startswith("timm:"):
        modules = model.default_cfg["classifier"]
        modules = (modules,) if isinstance(modules, str) else modules
        return sorted(key for key in shapes if key.rpartition(".")[0] in modules)
    other = _shapes(build(name, _OTHER_CLASSES))
    return sorted(key for key in shapes if other.get(key) != shapes[key])


def _shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _structure(model: torch.nn.Module) -> str:
    """A hash of all modules with their settings."""
    lines = []
    for name, module in model.named_modules():
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        if "Drop" in kind or kind.endswith("Identity"):
            continue
        settings = {k: v for k, v in vars(module).items() if not k.startswith("_") and k not in _SILENT}
        lines.append(f"{name} {kind} {sorted((k, repr(v)) for k, v in settings.items())}")
    text = re.sub(r" at 0x[0-9a-f]+", "", "\n".join(lines))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _number_functions(found: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    """Architectures of one list of names and shapes get equal numbers where they compute the same."""
    for entries in found.values():
        numbers: dict[str, int] = {}
        answers: list[torch.Tensor | None] = []
        for entry in entries:
            if entry["structure"] not in numbers:
                answer = _answer(entry["name"]) if len({e["structure"] for e in entries}) > 1 else None
                same = next((i for i, other in enumerate(answers) if _equal(answer, other)), None)
                numbers[entry["structure"]] = len(answers) if same is None else same
                if same is None:
                    answers.append(answer)
            entry["function"] = numbers[entry["structure"]]


def _equal(first: torch.Tensor | None, second: torch.Tensor | None) -> bool:
    if first is None or second is None or first.shape != second.shape:
        return False
    return bool((first - second).abs().max() <= _SAME * first.abs().max())


def _answer(name: str) -> torch.Tensor | None:
    """What an architecture says of noise, with weights that depend on nothing but their names."""
    try:
        model = build(name)
        size = 224 if name.startswith("torchvision") else getattr(model, "default_cfg", {})["input_size"][-1]
        size = 299 if "inception" in name else size
        with torch.no_grad():
            for key, tensor in model.state_dict().items():
                seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little")
                if tensor.is_floating_point():
                    noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed))
                    flat = tensor.ndim < 2
                    tensor.copy_(1 + 0.2 * noise.clamp(-3, 3) if flat else noise / max(tensor[0].numel(), 1) ** 0.5)
            given = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
            out: torch.Tensor = model(given)
        return out if torch.isfinite(out).all() else None
    except Exception as error:
        print(f"{name} gives no answer: {error}", file=sys.stderr)
        return None


@contextlib.contextmanager
def _no_initialization() -> Iterator[None]:
    """Weights that nobody looks at need no numbers."""
    saved = {n: f for n, f in vars(torch.nn.init).items() if n.endswith("_") and not n.startswith("_") and callable(f)}
    for name in saved:
        setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)
    weight_init, truncated = timm.layers.weight_init, timm.layers.weight_init._trunc_normal_
    weight_init._trunc_normal_ = lambda tensor, *_, **__: tensor
    try:
        yield
    finally:
        weight_init._trunc_normal_ = truncated
        for name, function in saved.items():
            setattr(torch.nn.init, name, function)


if __name__ == "__main__":
    sys.exit(main())
