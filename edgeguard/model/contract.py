"""The contract: what a model expects of its input, the guard included. It travels inside the .tflite."""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from edgeguard.audio.spec import AudioInput, audio_input
from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError, ProfileError
from edgeguard.model.contract_types import check_types
from edgeguard.model.flatbuffer import ModelFile
from edgeguard.model.task_specs import (
    POSTPROCESS_ROLES,
    BoxForm,
    Detection,
    Head,
    Keypoints,
    Layout,
    Role,
    Segmentation,
    Units,
    spec_to_dict,
)
from edgeguard.preprocess.dct_input import LEAST_DC_STEP, MCU, tensor_shape
from edgeguard.system.foreign import parsing

__all__ = [
    "ENTRY", "SCHEMA", "AudioInput", "BoxForm", "Contract", "ContractGuard", "Crop", "Detection", "InputSpec",
    "Keypoints", "Kind", "PatchCertificate", "Place", "Preprocess", "Segmentation", "Task",
    "check_coefficient_input", "read_contract", "require_classifier", "require_kind", "require_pixels",
]  # fmt: skip

SCHEMA = 1
ENTRY = "edgeguard.json"
_MOST_BYTES = 4 << 20  # a thousand labels are 20 kB

Task = Literal["classify", "detect", "segment", "keypoints"]
#: What the input tensor holds; absent in a file means an image.
Kind = Literal["image", "audio"]
Place = Literal["frame", "input", "in-graph", "none"]
Crop = Literal["center", "letterbox", "none"]


@dataclass(frozen=True)
class InputSpec:
    """The model's input tensor; of sound its features: rows are `height`, columns `width`, and there are `planes`."""

    width: int
    height: int
    dtype: Literal["uint8", "int8", "float32"] = "uint8"
    layout: Literal["NHWC"] = "NHWC"
    color: Literal["RGB", "GRAY", "DCT"] = "RGB"
    kind: Kind = "image"
    planes: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the tensor: the picture's, or its coefficients' (`preprocess.dct_input`)."""
        if self.kind == "audio":
            return self.height, self.width, self.planes
        if self.color == "DCT":
            return tensor_shape(self.width, self.height)
        return self.height, self.width, 3 if self.color == "RGB" else 1


@dataclass(frozen=True)
class Preprocess:
    """From a frame to the input: mean and std in 0..255 units, `(pixel - mean) / std`."""

    crop: Crop = "center"
    crop_fraction: float = 0.875
    resize: Literal["area"] = "area"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    guessed: bool = False


@dataclass(frozen=True)
class ContractGuard:
    """Which profile runs where, how many passes count (2 on the frame: sensor and model; 1 after the resize), and the
    name of the patch guard that filters the model's input after them, or None."""

    profile: GuardProfile | None = None
    place: Place = "none"
    patch: str | None = None

    @property
    def passes(self) -> int:
        """0 without a guard, 2 for place = frame, else 1."""
        return {"none": 0, "frame": 2}.get(self.place, 1)


@dataclass(frozen=True)
class PatchCertificate:
    """A classifier whose graph gives a map of votes, from which its label is proven against a square patch.

    Attributes:
        output: the map's position among the graph's outputs. The label is the class with the largest sum over it.
        patch_px: the square that it was trained against, pixels of the input; 0 where nobody says.
    """

    output: int = 1
    patch_px: int = 0


@dataclass(frozen=True)
class Contract:
    """See docs/contract.md for each field."""

    input: InputSpec
    preprocess: Preprocess = Preprocess()
    guard: ContractGuard = ContractGuard()
    task: Task = "classify"
    labels: tuple[str, ...] = ()
    background: bool = False
    outputs: Literal["logits", "probabilities"] = "logits"
    detection: Detection | None = None
    segmentation: Segmentation | None = None
    keypoints: Keypoints | None = None
    audio: AudioInput | None = None
    patch_certificate: PatchCertificate | None = None
    trained_on_profile: str | None = None
    source_sha256: str | None = None
    calibration_sha256: str | None = None
    training_data_sha256: str | None = None
    training_config_sha256: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    gates: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it stands in the file."""
        data = {"schema": SCHEMA, **asdict(self)}
        for name, spec in self._task_specs().items():
            if spec is None:
                del data[name]  # a contract has the key of its own task only
            else:
                data[name] = spec_to_dict(spec)
        for name in ("training_data_sha256", "training_config_sha256", "patch_certificate"):
            if data[name] is None:
                del data[name]  # contracts of models that were trained elsewhere stay the bytes that they were
        if self.audio is None:
            del data["audio"], data["input"]["kind"], data["input"]["planes"]
        else:
            data["audio"] = self.audio.to_dict()
        profile = self.guard.profile
        data["guard"] = {
            "profile": None if profile is None else profile.to_dict(),
            "place": self.guard.place,
            "passes": self.guard.passes,
        }
        if self.guard.patch is not None:
            data["guard"]["patch"] = self.guard.patch
        return data

    def with_patch_certificate(self, certificate: PatchCertificate | None) -> "Contract":
        """The same with this claim, or without one."""
        return replace(self, patch_certificate=certificate)

    def _task_specs(self) -> dict[str, Detection | Segmentation | Keypoints | None]:
        return {"detection": self.detection, "segmentation": self.segmentation, "keypoints": self.keypoints}

    def to_json(self) -> bytes:
        """Canonical JSON: keys sorted, no spaces, so that equal contracts are equal bytes."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Contract":
        """The inverse of `to_json`.

        Raises:
            InputError: not JSON, another schema, a task or kind of input that this version does not know, or a field
                that is missing or out of range.
        """
        with parsing("the model's contract"):
            fields = _read_json(data)
            if not isinstance(fields, dict) or fields.get("schema") != SCHEMA:
                schema = _shown(fields.get("schema") if isinstance(fields, dict) else None)
                raise InputError(f"the model's contract has schema {schema}; this version reads schema {SCHEMA}")
            _require_known("task", fields.get("task", "classify"), get_args(Task))
            kind = fields["input"].get("kind", "image") if isinstance(fields.get("input"), dict) else "image"
            _require_known("input.kind", kind, get_args(Kind))
            check_types(fields)
            return _parse(fields)


def check_coefficient_input(contract: Contract) -> None:
    """Refuse what a model whose `input.color` is "DCT" cannot read; anything goes for the others.

    Raises:
        InputError: sides that are no multiples of 16, no `ycbcr420` profile on the frame, a DC step below 8, a patch
            guard, or a detector.
    """
    spec, guard = contract.input, contract.guard
    if spec.color != "DCT":
        return
    if spec.width % MCU or spec.height % MCU:
        raise InputError(f"a coefficient model's sides are multiples of {MCU}, not {spec.width}x{spec.height}")
    if guard.profile is None or guard.place != "frame" or guard.profile.color != "ycbcr420":
        raise InputError(
            "a coefficient model reads its guard's quantization indices: it needs a ycbcr420 profile such as jpeg:75 "
            "at the frame"
        )
    if (step := min(table[0] for table in guard.profile.component_tables)) < LEAST_DC_STEP:
        raise InputError(
            f"the profile's DC step {step} does not fit a coefficient model's 8 bits: at least {LEAST_DC_STEP}"
        )
    if guard.patch is not None or contract.task != "classify":
        raise InputError("patch guards and detectors work on pixels, not on a coefficient model")


def require_kind(contract: Contract | None, kinds: tuple[Kind, ...]) -> None:
    """Refuse a model of another kind of input; one without a contract reads images.

    Raises:
        InputError: what it reads, and which commands take it.
    """
    kind = "image" if contract is None else contract.input.kind
    if kind in kinds:
        return
    if kind == "audio":
        raise InputError("the model hears sound, and images are wanted: edgeguard run takes it (see docs/audio.md)")
    raise InputError("the model sees images, and one that hears sound is wanted (see docs/audio.md)")


def require_pixels(contract: Contract, what: str) -> None:
    """Refuse a coefficient model, and one of sound.

    Raises:
        InputError: "`what` is for models of pixels".
    """
    if contract.audio is not None:
        raise InputError(f"{what} is for models of pixels; this one hears sound")
    if contract.input.color == "DCT":
        raise InputError(f"{what} is for models of pixels; this one reads DCT coefficients")


def require_classifier(contract: Contract, what: str) -> None:
    """Refuse every other task.

    Raises:
        InputError: "`what` is for classifiers" and the model's task.
    """
    if contract.task != "classify":
        raise InputError(f"{what} is for classifiers; this model's task is {contract.task}")


def read_contract(model: ModelFile) -> Contract | None:
    """The contract inside a .tflite, or None for a model that carries none."""
    data = model.metadata(ENTRY)
    return None if data is None else Contract.from_json(data)


def _read_json(data: bytes) -> Any:
    """Plain data of a contract, which can be written as JSON again: no NaN, no half of a surrogate pair."""
    if len(data) > _MOST_BYTES:
        raise InputError(f"the model's contract is larger than {_MOST_BYTES >> 20} MiB")
    try:
        fields = json.loads(data)
    except ValueError as error:
        raise InputError(f"the model's contract is not JSON: {error}") from error
    json.dumps(fields, allow_nan=False, ensure_ascii=False).encode()
    return fields


def _shown(value: object) -> str:
    return repr(value)[:80]


def _require_known(field_name: str, value: object, known: tuple[str, ...]) -> None:
    """A later version's task or input is refused by its name, before anything else is said of the contract."""
    if value not in known:
        raise InputError(
            f"the model's contract has {field_name} {_shown(value)}, which this version does not know (it knows "
            f"{', '.join(known)}): update EdgeGuard on this device"
        )


def _parse(fields: dict[str, Any]) -> Contract:
    known = {"schema", *Contract.__dataclass_fields__}
    if unknown := sorted(set(fields) - known):
        raise ValueError(f"unknown key {unknown[0]!r}")
    raw_input, raw_preprocess = fields["input"], fields.get("preprocess", {})
    preprocess = Preprocess(**{**raw_preprocess, **_triples(raw_preprocess)})
    contract = Contract(
        **{
            **{key: value for key, value in fields.items() if key != "schema"},
            "input": InputSpec(**raw_input),
            "preprocess": preprocess,
            "guard": _parse_guard(fields.get("guard", {})),
            "labels": tuple(fields.get("labels", ())),
            **({"audio": audio_input(fields["audio"])} if "audio" in fields else {}),
            **_parse_task_specs(fields),
        }
    )
    _check(contract)
    try:
        check_coefficient_input(contract)
    except InputError as error:
        raise ValueError(str(error)) from error
    return contract


def _parse_task_specs(fields: dict[str, Any]) -> dict[str, Any]:
    kinds = {
        "detection": Detection, "segmentation": Segmentation, "keypoints": Keypoints,
        "patch_certificate": PatchCertificate,
    }  # fmt: skip
    found: dict[str, Any] = {
        name: None if fields.get(name) is None else kind(**fields[name]) for name, kind in kinds.items()
    }
    detection = found["detection"]
    if isinstance(detection, Detection):
        found["detection"] = replace(detection, roles=tuple(detection.roles))
    return found


def _triples(raw: dict[str, Any]) -> dict[str, tuple[float, ...]]:
    return {key: tuple(float(value) for value in raw[key]) for key in ("mean", "std") if key in raw}


def _parse_guard(raw: dict[str, Any]) -> ContractGuard:
    place = raw.get("place", "none")
    if place not in get_args(Place):
        raise ValueError(f"guard.place {place!r}")
    try:
        profile = None if raw.get("profile") is None else GuardProfile.from_dict(raw["profile"])
    except ProfileError as error:
        raise ValueError(f"guard.profile: {error}") from error
    if (profile is None) != (place == "none"):
        raise ValueError(f"guard.place is {place!r} but the profile is {'missing' if profile is None else 'given'}")
    patch = raw.get("patch")
    if patch is not None and not isinstance(patch, str):
        raise ValueError(f"guard.patch {patch!r} is not a name")
    return ContractGuard(profile, place, patch)


def _check(contract: Contract) -> None:
    spec, preprocess = contract.input, contract.preprocess
    checks = {
        "input.width": isinstance(spec.width, int) and 1 <= spec.width <= 8192,
        "input.height": isinstance(spec.height, int) and 1 <= spec.height <= 8192,
        "input.dtype": spec.dtype in ("uint8", "int8", "float32"),
        "input.layout": spec.layout == "NHWC",
        "input.color": spec.color in ("RGB", "GRAY", "DCT"),
        "preprocess.crop": preprocess.crop in get_args(Crop),
        "preprocess.crop_fraction": 0 < float(preprocess.crop_fraction) <= 1,
        "preprocess.resize": preprocess.resize == "area",
        "preprocess.mean": len(preprocess.mean) == 3 and all(map(math.isfinite, preprocess.mean)),
        "preprocess.std": len(preprocess.std) == 3 and all(math.isfinite(s) and s > 0 for s in preprocess.std),
        "detection": (contract.detection is not None) == (contract.task == "detect"),
        "segmentation": (contract.segmentation is not None) == (contract.task == "segment"),
        "keypoints": (contract.keypoints is not None) == (contract.task == "keypoints"),
        "outputs": contract.outputs in ("logits", "probabilities"),
    }
    for name, good in (checks | _task_checks(contract) | _audio_checks(contract)).items():
        if not good:
            raise ValueError(f"{name} is out of range")


def _audio_checks(contract: Contract) -> dict[str, bool]:
    """An image's contract has nothing of sound; one of sound is a classifier's, its tensor what `audio` makes of it."""
    spec, audio = contract.input, contract.audio
    if audio is None:
        return {"input.kind (without audio)": spec.kind == "image" and spec.planes == 0}
    return {
        "input.kind (with audio)": spec.kind == "audio",
        "audio (and the input's size)": spec.shape == audio.shape and spec.color == "GRAY",
        "audio (and the task or the guard)": contract.task == "classify" and contract.guard == ContractGuard(),
    }


def _task_checks(contract: Contract) -> dict[str, bool]:
    checks: dict[str, bool] = {}
    if (certificate := contract.patch_certificate) is not None:
        checks["patch_certificate"] = contract.task == "classify" and contract.input.color != "DCT"
        checks["patch_certificate.output"] = certificate.output == 1
        checks["patch_certificate.patch_px"] = 0 <= certificate.patch_px <= 8192
    if (detection := contract.detection) is not None:
        roles = detection.roles
        checks |= {
            "detection.boxes": detection.boxes in get_args(BoxForm),
            "detection.units": detection.units in get_args(Units),
            "detection.head": detection.head in get_args(Head),
            "detection.score_threshold": 0 <= float(detection.score_threshold) <= 1,
            "detection.iou_threshold": 0 <= float(detection.iou_threshold) <= 1,
            "detection.roles": set(roles) <= set(get_args(Role)) and len(set(roles)) == len(roles)
            and set(roles) >= set(POSTPROCESS_ROLES[:3]),
        }  # fmt: skip
    if (segmentation := contract.segmentation) is not None:
        checks["segmentation.layout"] = segmentation.layout in get_args(Layout)
    if (keypoints := contract.keypoints) is not None:
        checks |= {
            "keypoints.head": keypoints.head in ("points", "heatmaps"),
            "keypoints.order": keypoints.order in ("yx", "xy"),
            "keypoints.units": keypoints.units in ("relative", "pixels"),
            "keypoints.score_threshold": 0 <= float(keypoints.score_threshold) <= 1,
        }
    return checks
