"""What `convert` can be told."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from edgeguard.dct.profile import GuardProfile
from edgeguard.errors import InputError
from edgeguard.model.contract import BoxForm, Crop, Place
from edgeguard.patchguard import PATCH_GUARDS
from edgeguard_converters.graph.normalization import PRESETS, explained_presets
from edgeguard_converters.quantize.ranges import METHODS, Method
from edgeguard_converters.result import Conversion
from edgeguard_converters.verify.gates import Thresholds

__all__ = ["Conversion", "InputType", "Options", "Precision", "Rounding", "check_options"]

Precision = Literal["int8", "weight-only", "float16", "float32"]
InputType = Literal["uint8", "int8", "float32"]
Rounding = Literal["auto", "nearest", "adaptive"]


@dataclass(frozen=True)
class Options:
    """Everything `convert` can be told; None means: take it from the file, else the default; no guard is None too.

    Attributes:
        guard, place: the profile or None, and where it runs.
        patch_guard: what filters the model's input after them (see `edgeguard.patchguard`), or None.
        preprocess: auto or a preset; `mean` and `std` instead of it, in 0..255 units.
        size: (width, height).
        boxes: what a detector's four numbers are.
        objectness: whether the fifth number of a box says if there is an object; None: by labels and shapes.
        arch: of a state_dict: None or auto, torchvision:NAME, timm:NAME, module:factory.
        weights: the container of a checkpoint that holds several.
        onnx2tf: read ONNX with onnx2tf, which is installed into an environment of its own.
        precision: int8 computes in integers; weight-only and float16 store smaller weights and compute in float.
        io: type of input and output; uint8 by default for int8, float32 for the others.
        ranges: how much of each activation's range int8 covers.
        rounding: of int8 filters: each weight to its nearest level, or against calibration pictures; auto: the latter
            where the gates refuse the former.
        keep_float: layers that stay float (see `mixed.named_layers`).
        auto_mixed: keep the fewest layers float with which the gates pass.
        epochs: of fine-tuning, where images for it are given and the gates fail without.
        runtimes: Python interpreters of other environments in which the finished file is checked too.
    """

    guard: GuardProfile | None = None
    place: Place = "frame"
    patch_guard: str | None = None
    preprocess: str = "auto"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    size: tuple[int, int] | None = None
    crop: Crop | None = None
    crop_fraction: float | None = None
    labels: tuple[str, ...] | None = None
    background: bool | None = None
    boxes: BoxForm | None = None
    objectness: bool | None = None
    arch: str | None = None
    weights: str | None = None
    trust_pickle: bool = False
    onnx2tf: bool = False
    precision: Precision = "int8"
    io: InputType | None = None
    ranges: Method | Literal["auto"] = "auto"
    rounding: Rounding = "auto"
    keep_float: tuple[str, ...] = ()
    auto_mixed: bool = False
    epochs: int = 1
    runtimes: tuple[str, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)

    @property
    def input_type(self) -> InputType:
        """The type of the model's input tensor."""
        return self.io or ("uint8" if self.precision == "int8" else "float32")


def check_options(options: Options) -> None:
    """Refuse what does not exist or does not go together.

    Raises:
        InputError: one line with the flag's name.
    """
    if options.preprocess not in ("auto", *PRESETS):
        raise InputError(
            f"--preprocess must be auto, {', '.join(PRESETS)}, got {options.preprocess!r} ({explained_presets()})"
        )
    if options.place not in ("frame", "input", "in-graph", "none"):
        raise InputError(f"--place must be frame or input, got {options.place!r}")
    if options.guard is not None and options.place == "input" and not options.guard.is_pixel_domain:
        raise InputError(f"--place input needs an rgb or gray profile; {options.guard.name} works on JPEG frames")
    if options.patch_guard is not None and options.patch_guard not in PATCH_GUARDS:
        raise InputError(f"--patch-guard must be {', '.join(PATCH_GUARDS)}, got {options.patch_guard!r}")
    if options.ranges not in ("auto", *METHODS):
        raise InputError(f"--range must be auto, {', '.join(METHODS)}, got {options.ranges!r}")
    if options.rounding not in get_args(Rounding):
        raise InputError(f"--round must be auto, nearest or adaptive, got {options.rounding!r}")
    if options.crop is not None and options.crop not in get_args(Crop):
        raise InputError(f"--crop must be center, letterbox or none, got {options.crop!r}")
    if not 1 <= options.epochs <= 1000:
        raise InputError(f"--epochs must be 1 to 1000, got {options.epochs}")
    if options.boxes is not None and options.boxes not in get_args(BoxForm):
        raise InputError(f"--boxes must be {', '.join(get_args(BoxForm))}, got {options.boxes!r}")
    _check_precision(options)


def _check_precision(options: Options) -> None:
    if options.precision not in get_args(Precision):
        raise InputError(f"--precision must be {', '.join(get_args(Precision))}, got {options.precision!r}")
    if options.io is not None and options.io not in get_args(InputType):
        raise InputError(f"--io must be uint8, int8 or float32, got {options.io!r}")
    if options.precision != "int8":
        if options.input_type != "float32":
            raise InputError(f"--precision {options.precision} computes in float: its --io is float32")
        if options.keep_float or options.auto_mixed:
            raise InputError(
                f"--keep-float and --auto-mixed are for int8; --precision {options.precision} is all float"
            )
        if options.rounding == "adaptive":
            raise InputError(f"--round adaptive is for int8; --precision {options.precision} computes in float")
    if options.place == "in-graph" and options.input_type != "uint8":
        raise InputError("a guard inside the graph works on uint8 pixels: leave --io and --precision at their defaults")
    if options.rounding == "adaptive" and options.auto_mixed:
        raise InputError("--auto-mixed looks for layers with the usual rounding: give it or --round adaptive")
    if options.keep_float and options.auto_mixed:
        raise InputError("--keep-float names the layers, --auto-mixed looks for them: give one of the two")
