"""`edgeguard convert`."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeguard.cli.ignored import refuse_ignored
from edgeguard.cli.messages import on_stderr, on_stdout
from edgeguard.cli.parse import color_triple, side_or_size
from edgeguard.errors import InputError
from edgeguard.system.extras import missing_part
from edgeguard.system.files import check_writable
from edgeguard_converters import defaults

if TYPE_CHECKING:
    from edgeguard.datasets.images import LabeledImage
    from edgeguard_converters.pipeline import Conversion, Options

EXAMPLE = "Example: edgeguard convert model.pt2 --calibrate photos/ --eval testset/"


def convert_command(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="A .pt, .pth, .pt2, .safetensors, TorchScript, .onnx, .keras, .h5, SavedModel or float .tflite."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="Default: the model's name with .tflite; -int8.tflite for a .tflite.")
    ] = None,
    calibrate: Annotated[Path | None, typer.Option(help="Folder of images like those the camera sees.")] = None,
    eval_: Annotated[Path | None, typer.Option("--eval", help="Class folders, or a folder with labels.csv.")] = None,
    guard: Annotated[
        str, typer.Option(help="fd, fd-paper, proof-1 to proof-3, fd-jpeg, jpeg:Q, a .toml profile, or none.")
    ] = (defaults.GUARD),
    place: Annotated[str, typer.Option(help="Where pass 2 runs: frame (before the resize) or input.")] = "frame",
    patch_guard: Annotated[
        str | None, typer.Option(help="Filter the model's input too: lgs, entropy, chunks or recompression.")
    ] = None,
    bake_guard: Annotated[
        bool, typer.Option("--bake-guard", help="Put an rgb profile inside the graph (one pass, after the resize).")
    ] = False,
    preprocess: Annotated[
        str, typer.Option(help="auto; imagenet (ImageNet's mean and std), tf (-1..1), unit (0..1), none (0..255).")
    ] = "auto",
    mean: Annotated[str | None, typer.Option(help="R,G,B in 0..255 units.")] = None,
    std: Annotated[str | None, typer.Option(help="R,G,B in 0..255 units.")] = None,
    size: Annotated[str | None, typer.Option(help="N or WxH; from the export where it holds one.")] = None,
    crop: Annotated[
        str | None,
        typer.Option(help="center:FRACTION, letterbox or none (whole). Else file, family, or --eval decides."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Labels, one a line.")] = None,
    arch: Annotated[
        str, typer.Option(help="Of a state_dict: auto, torchvision:NAME, timm:NAME, or module:factory (your code).")
    ] = "auto",
    weights: Annotated[
        str | None, typer.Option(help="Of a checkpoint that holds several: which (model, ema, ...).")
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Load a pickled module too. THE FILE RUNS ITS CODE.")
    ] = False,
    onnx2tf: Annotated[
        bool, typer.Option("--onnx2tf", help="Read ONNX with onnx2tf, installed into a private environment.")
    ] = False,
    boxes: Annotated[str | None, typer.Option(help="A detector's four numbers: yxyx, xyxy or cxcywh.")] = None,
    objectness: Annotated[
        bool | None,
        typer.Option("--objectness/--no-objectness", help="The fifth number of a YOLO box multiplies its scores."),
    ] = None,
    precision: Annotated[str, typer.Option(help="int8, weight-only, float16 or float32.")] = "int8",
    io: Annotated[str | None, typer.Option(help="uint8, int8 or float32 input and output.")] = None,
    keep_float: Annotated[
        list[str] | None, typer.Option(help="Layer that stays float: name, operator or #number. Repeatable.")
    ] = None,
    auto_mixed: Annotated[
        bool, typer.Option("--auto-mixed", help="Keep the fewest layers float with which the gates pass.")
    ] = False,
    ranges: Annotated[str, typer.Option("--range", help="auto, minmax, percentile or mse activations.")] = "auto",
    rounding: Annotated[
        str,
        typer.Option(
            "--round",
            help="nearest; adaptive: int8 filters fitted to --calibrate; auto: if the gates refuse nearest.",
        ),
    ] = "auto",
    finetune: Annotated[Path | None, typer.Option(help="Labeled images to fine-tune with if the gates fail.")] = None,
    epochs: Annotated[int, typer.Option(help="Of fine-tuning.")] = 1,
    target: Annotated[str, typer.Option(help="cpu, or edgetpu: run edgetpu_compiler too.")] = "cpu",
    runtime: Annotated[
        list[str] | None, typer.Option(help="Python of another environment to check the file in. Repeatable.")
    ] = None,
    min_agreement: Annotated[float, typer.Option(min=0, max=1, help="Float and int8 must agree on this share.")] = (
        defaults.MIN_AGREEMENT
    ),
    min_snr: Annotated[float, typer.Option(help="dB over all outputs of all gate images.")] = defaults.MIN_SNR_DB,
    report: Annotated[
        Path | None, typer.Option(help="Write a report (.html or .json): gates, layers, images, speed.")
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="Write hashes, gates and tool versions to this .json.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Turn a trained model into an int8 .tflite that carries its own defense."""
    if target not in ("cpu", "edgetpu"):
        raise InputError(f"--target must be cpu or edgetpu, got {target!r}")
    _refuse_ignored(context)
    check_writable(manifest)
    geometry = _geometry(context.params)
    if not model.exists():
        raise InputError(f"{model} is not there")
    try:
        from edgeguard.datasets.images import read_folder
        from edgeguard_converters.pipeline import convert
    except ImportError as error:
        raise missing_part(error, "the converter", "convert") from error
    if find_spec("torch") is None:
        raise missing_part(ImportError(name="torch"), "the converter", "convert")
    from edgeguard_converters.sound.convert import hears_sound

    if hears_sound(model):
        _convert_sound(context, model, output or default_output(model))
        return
    options = _options(context.params, geometry)
    from edgeguard.cli.progress import StepDisplay

    for folder in (eval_, finetune):
        if folder is not None and not folder.is_dir():
            raise InputError(f"{folder} is not a folder")
    calibration = _stand_in if calibrate is None else read_folder(calibrate)
    written = output or default_output(model)
    if written.exists() and written.samefile(model):
        raise InputError(f"--output {written} would overwrite the model")
    with StepDisplay(8 + (report is not None)) as display:
        done = convert(
            model,
            written,
            calibration,
            eval_,
            options,
            step=display.step,
            report_path=report,
            training=finetune,
        )
    if manifest is not None:
        from edgeguard_converters.verify.manifest import make_manifest, write_manifest

        write_manifest(manifest, make_manifest(done.path, done.contract))
    _print_json(done) if as_json else _print_table(done)
    if target == "edgetpu":
        _compile(done.path)


#: Flags that say something of pictures, or of files that do not come from our training.
_NOT_OF_SOUND = (
    "guard", "place", "patch_guard", "bake_guard", "preprocess", "mean", "std", "size", "crop", "arch", "weights",
    "trust_pickle", "onnx2tf", "boxes", "objectness", "finetune", "epochs",
)  # fmt: skip


def _convert_sound(context: typer.Context, model: Path, output: Path) -> None:
    from edgeguard_converters.sound.convert import convert_sound

    values = context.params  # paths are texts there
    places = {name: None if values[name] is None else Path(values[name]) for name in ("eval_", "report", "manifest")}
    refuse_ignored(context, _NOT_OF_SOUND, "is for models of pictures; this one hears sound and says how")
    if values["calibrate"] is None:
        raise InputError("a model of sound needs --calibrate CLIPS: a folder or .zip of clips like those it will hear")
    from edgeguard.cli.progress import StepDisplay

    with StepDisplay(7 + (values["report"] is not None)) as display:
        done = convert_sound(
            model,
            output,
            Path(values["calibrate"]),
            places["eval_"],
            _options({**values, "guard": "none", "place": "frame"}, _geometry(values)),
            step=display.step,
            report_path=places["report"],
        )
    if places["manifest"] is not None:
        from edgeguard_converters.verify.manifest import make_manifest, write_manifest

        write_manifest(places["manifest"], make_manifest(done.path, done.contract))
    _print_json(done) if values["as_json"] else _print_table(done)
    if values["target"] == "edgetpu":
        _compile(done.path)


def default_output(model: Path) -> Path:
    """Beside the model, with .tflite; `-int8` before it where that is the model itself.

    Example:
        >>> default_output(Path("m.pt2")).name, default_output(Path("m.tflite")).name
        ('m.tflite', 'm-int8.tflite')
    """
    from edgeguard.system.names import with_a_name

    model = with_a_name(model)
    written = model.with_suffix(".tflite")
    return model.with_name(f"{model.stem}-int8.tflite") if written == model else written


def _geometry(values: dict[str, Any]) -> dict[str, Any]:
    """What the flags of the input's size, crop and numbers say, as keywords of `Options`."""
    crop, crop_fraction = _parse_crop(values["crop"])
    size = None if values["size"] is None else side_or_size("--size", values["size"])
    mean, std = (None if values[name] is None else color_triple(f"--{name}", values[name]) for name in ("mean", "std"))
    return {"mean": mean, "std": std, "size": size, "crop": crop, "crop_fraction": crop_fraction}


def _options(values: dict[str, Any], geometry: dict[str, Any]) -> "Options":
    """Everything else that the flags say; `convert` checks the values."""
    from edgeguard.dct.profile import resolve_profile
    from edgeguard_converters.pipeline import Options
    from edgeguard_converters.verify.gates import Thresholds

    profile, place = resolve_profile(values["guard"]), values["place"]
    labels = None if values["labels"] is None else _labels(Path(values["labels"]))
    if values["bake_guard"]:
        if profile is None:
            raise InputError("--bake-guard needs a guard: --guard none leaves nothing to bake")
        place = "in-graph"
    elif place == "in-graph":
        raise InputError("a guard inside the graph is asked for with --bake-guard")
    as_they_are = ("patch_guard", "preprocess", "arch", "weights", "trust_pickle", "onnx2tf", "boxes", "objectness",
                   "precision", "io", "auto_mixed", "epochs", "ranges", "rounding")  # fmt: skip
    return Options(
        guard=profile,
        place="none" if profile is None else place,
        labels=labels,
        keep_float=tuple(values["keep_float"] or ()),
        runtimes=tuple(values["runtime"] or ()),
        thresholds=Thresholds(values["min_agreement"], values["min_snr"]),
        **geometry,
        **{name: values[name] for name in as_they_are},
    )


def _labels(path: Path) -> tuple[str, ...]:
    from edgeguard.model.labels import LARGEST, parse_labels
    from edgeguard.system.foreign import read_bounded

    data = read_bounded(path, LARGEST, "the labels")
    try:
        return parse_labels(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _refuse_ignored(context: typer.Context) -> None:
    """Flags that another one leaves without effect."""
    values = context.params
    if values["mean"] is not None or values["std"] is not None:
        refuse_ignored(context, ["preprocess"], "names --mean and --std: give one or the other")
    if values["finetune"] is None:
        refuse_ignored(context, ["epochs"], "is for --finetune")
    if values["precision"] != "int8":
        refuse_ignored(context, ["ranges"], f"is for int8; --precision {values['precision']} has no ranges")
    if values["bake_guard"]:
        if values["place"] != "in-graph":
            refuse_ignored(context, ["place"], "is not for --bake-guard, which puts the guard into the graph")
    elif values["guard"] == "none" and values["place"] != "frame":  # frame is what a script with both flags says
        refuse_ignored(context, ["place"], "says where the guard runs, and --guard none leaves none")


def _compile(path: Path) -> None:
    from edgeguard_converters.edgetpu.compiler import HOW_TO_GET_IT, compile_beside

    made = compile_beside(path)
    _say(HOW_TO_GET_IT if made is None else f"{made[0]}: {made[1].summary()}")


def _say(line: str) -> None:
    on_stderr(line)


def _stand_in() -> "list[LabeledImage]":
    from edgeguard.datasets.images import LabeledImage
    from edgeguard.demo.assets import stand_in_images

    _say(
        "NO --calibrate FOLDER: bundled pictures stand in for yours; int8 ranges and gates mean little for your camera"
    )
    return [LabeledImage(f"bundled-{i}", image) for i, image in enumerate(stand_in_images())]


def _print_table(done: "Conversion") -> None:
    report, contract, size = done.report, done.contract, done.contract.input
    profile = contract.guard.profile
    where = {"in-graph": "inside the graph"}.get(contract.guard.place, f"at the {contract.guard.place}")
    guard = f"{profile.name} ({profile.color}) {where}" if profile else "none"
    coefficients = " coefficients" if size.color == "DCT" else ""
    rows = [("wrote", f"{done.path} ({done.bytes / 1e6:.2f} MB)")]
    if (audio := contract.audio) is not None:
        rows += [
            ("sound", f"{audio.samples} samples at {audio.rate_hz} Hz, codec {audio.codec}"),
            ("input", f"{size.planes} x {size.height}x{size.width} {size.dtype}: {audio.features}, {audio.reads}"),
        ]
    else:
        rows += [
            ("guard", guard),
            ("input", f"{size.width}x{size.height} {size.dtype}{coefficients}, crop {done.crop}"),
        ]
    rows += [
        ("preprocessing", f"{done.normalization.origin}: mean {_numbers(contract.preprocess.mean)}"
                          f" std {_numbers(contract.preprocess.std)}"),
        ("model vs float", f"max difference {report.float_difference:.1e} of the largest output"),
        ("float vs int8", f"agreement {report.agreement:.3f} [{report.agreement_low:.3f}, {report.agreement_high:.3f}]"
                          f" (95 %), SNR {report.snr_db:.1f} dB, n = {report.n}"),
    ]  # fmt: skip
    if "ranges" in contract.gates:
        how = f", filters rounded with --round {rounding}" if (rounding := contract.gates.get("rounding")) else ""
        rows.append(("ranges", f"{contract.gates['ranges']}{how}"))
    if contract.detection is not None:
        times = ", score = objectness x class" if contract.detection.objectness else ""
        rows.append(("boxes", f"{contract.detection.boxes} in {contract.detection.units} units{times}"))
    if layers := contract.gates.get("float_layers"):
        rows.append(("float layers", f"{len(layers)}: {', '.join(_tail(name) for name in layers)}"))
    if report.float_top1 is not None and report.int8_top1 is not None:
        rows.append(("top-1", f"float {report.float_top1:.4f}, int8 {report.int8_top1:.4f}"))
    if done.guard_cost is not None:
        rows.append(("guard's cost", done.guard_cost.line))
    rows.append(("edge tpu", done.edgetpu.summary()))
    rows.append(("graph", ", ".join(f"{name} {count}" for name, count in done.operators.items())))
    for name, value in rows:
        on_stdout(f"{name:15s} {value}")


def _print_json(done: "Conversion") -> None:
    import json

    fields: dict[str, Any] = {
        "path": str(done.path),
        "bytes": done.bytes,
        "operators": done.operators,
        "notes": list(done.notes),
        "guard_cost": None if done.guard_cost is None else vars(done.guard_cost),
        "contract": done.contract.to_dict(),
    }
    on_stdout(json.dumps(fields))


def _tail(name: str) -> str:
    """The last part of a tensor's long name."""
    return name.rstrip(";").split(";")[-1].split("/")[-1][-40:]


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _parse_crop(text: str | None) -> tuple[Any, float | None]:
    if text is None:
        return None, None
    kind, _, fraction = text.partition(":")
    if kind not in ("center", "letterbox", "none") or (fraction and kind != "center"):
        raise InputError(f"--crop wants center:FRACTION, letterbox or none, got {text!r}")
    try:
        value = float(fraction) if fraction else None
    except ValueError:
        value = 0.0
    if value is not None and not 0 < value <= 1:
        raise InputError(f"--crop wants a fraction above 0 and at most 1, got {text!r}")
    return kind, value
