"""What torchvision and timm say of the pictures that their networks were trained with."""

from dataclasses import replace
from typing import Any

from edgeguard_converters.load.source import FileFacts, facts_from_json


def facts_of_architecture(arch: str, module: Any) -> FileFacts:
    """Mean, std, size and crop of a network, from its library's own metadata; empty where it says nothing.

    A network is published with several sets of weights. Mean and std are taken where all of them agree; size and crop
    are those of the library's default.

    Args:
        arch: `torchvision:mobilenet_v2`, `timm:mobilenetv3_small_100`.
        module: the network.
    """
    library, _, name = arch.partition(":")
    facts, agreed = (_of_timm if library == "timm" else _of_torchvision)(name, module)
    if facts is None:
        return FileFacts()
    mean, std = (facts.mean, facts.std) if agreed else (None, None)
    family = f"{library} {name}"
    return replace(facts, mean=mean, std=std, labels=None, stated_by=family, crop_by=family)


def _of_timm(name: str, module: Any) -> tuple[FileFacts | None, bool]:
    from timm.models import get_pretrained_cfg, list_pretrained

    config = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    if not isinstance(config, dict):
        return None, False
    others = [get_pretrained_cfg(tag) for tag in list_pretrained(f"{name}.*")]
    kinds = {(tuple(other.mean), tuple(other.std)) for other in others if other is not None}
    return facts_from_json({"pretrained_cfg": config}, "pretrained_cfg"), len(kinds) <= 1


def _of_torchvision(name: str, _: Any) -> tuple[FileFacts | None, bool]:
    import torchvision

    try:
        published = torchvision.models.get_model_weights(name)
    except ValueError:
        return None, False
    facts = {}
    for weights in published:
        transform = weights.transforms()
        (side,), (resized,) = transform.crop_size, transform.resize_size
        facts[weights] = FileFacts(
            mean=_scaled(transform.mean),
            std=_scaled(transform.std),
            size=(side, side),
            crop_fraction=round(side / resized, 4),
        )
    if not facts:
        return None, False
    return facts[published.DEFAULT], len({(found.mean, found.std) for found in facts.values()}) == 1


def _scaled(values: Any) -> tuple[float, float, float]:
    first, second, third = (float(value) * 255 for value in values)
    return first, second, third
