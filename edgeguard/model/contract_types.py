"""The JSON types of a contract's fields: a text for a number would be believed until a frame needs the number."""

from typing import Any

_NUMBER = (int, float)
_NONE = type(None)
_TYPES: dict[str, dict[str, tuple[type, ...]]] = {
    "": {
        "input": (dict,), "preprocess": (dict,), "guard": (dict,), "task": (str,), "labels": (list,),
        "background": (bool,), "outputs": (str,), "detection": (dict, _NONE),
        "segmentation": (dict, _NONE), "keypoints": (dict, _NONE), "audio": (dict,),
        "patch_certificate": (dict, _NONE), "trained_on_profile": (str, _NONE),
        "source_sha256": (str, _NONE), "calibration_sha256": (str, _NONE),
        "training_data_sha256": (str, _NONE), "training_config_sha256": (str, _NONE),
        "versions": (dict,), "gates": (dict,),
    },
    "input": {"width": (int,), "height": (int,), "dtype": (str,), "layout": (str,), "color": (str,),
              "kind": (str,), "planes": (int,)},
    "preprocess": {
        "crop": (str,), "crop_fraction": _NUMBER, "resize": (str,), "mean": (list,), "std": (list,), "guessed": (bool,),
    },
    "guard": {"profile": (dict, _NONE), "place": (str,), "passes": (int,), "patch": (str, _NONE)},
    "detection": {
        "boxes": (str,), "units": (str,), "head": (str,), "score_threshold": _NUMBER, "iou_threshold": _NUMBER,
        "objectness": (bool,), "roles": (list,),
    },
    "segmentation": {"layout": (str,)},
    "patch_certificate": {"output": (int,), "patch_px": (int,)},
    "keypoints": {"head": (str,), "order": (str,), "units": (str,), "logits": (bool,), "score_threshold": _NUMBER},
}  # fmt: skip
_NAMES = {dict: "a table", list: "a list", str: "a text", bool: "true or false", int: "a whole number",
          float: "a number", _NONE: "null"}  # fmt: skip
_ITEMS: dict[str, tuple[type, ...]] = {
    "labels": (str,),
    "preprocess.mean": _NUMBER,
    "preprocess.std": _NUMBER,
    "detection.roles": (str,),
}


def check_types(fields: dict[str, Any]) -> None:
    """Refuse a field of another JSON type. Fields that are missing or not known are others' to judge.

    Raises:
        ValueError: the text names the field, and the type that it has to have.
    """
    for part, types in _TYPES.items():
        raw = fields if not part else fields.get(part)
        if not isinstance(raw, dict):
            continue  # the part's own type was checked with the whole
        for name, wanted in types.items():
            if name in raw:
                where = f"{part}.{name}" if part else name
                _check(raw[name], wanted, where)
                for item in raw[name] if where in _ITEMS else ():
                    _check(item, _ITEMS[where], f"an item of {where}")


def _check(value: Any, wanted: tuple[type, ...], where: str) -> None:
    fits = isinstance(value, wanted) and (not isinstance(value, bool) or bool in wanted)  # true is no number here
    if not fits:
        names = [_NAMES[kind] for kind in wanted if not (kind is int and float in wanted)]
        raise ValueError(f"{where} is not {' or '.join(names)}")
