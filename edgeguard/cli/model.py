"""`edgeguard model`: looking into a .tflite, and checking it against its manifest."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeguard.cli.messages import on_stdout
from edgeguard.errors import CheckFailed, InputError
from edgeguard.system.extras import missing_part

_SHOWN_LABELS = 20
app = typer.Typer(help="Look into a model file, or check it against its manifest.", no_args_is_help=True)


@app.command(epilog="Example: edgeguard model show model.tflite --json")
def show(
    file: Annotated[Path, typer.Argument(help="A .tflite file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Contract, operators, borders, hashes, and what the Edge TPU compiler would probably say."""
    fields = _describe(file)
    if as_json:
        on_stdout(json.dumps(fields))
        return
    for name in ("sha256", "size", "input", "output", "operators", "edgetpu"):
        on_stdout(f"{name:14s} {fields[name]}")
    contract = fields["contract"]
    if contract is None:
        on_stdout("contract       none: it runs without a guard")
        for line in fields["looks_like"]:
            on_stdout(f"looks like     {line}")
        return
    on_stdout(f"task           {contract['task']}")
    guard, preprocess = contract["guard"], contract["preprocess"]
    profile = guard["profile"]
    on_stdout(f"guard          {profile['name'] or 'unnamed'} ({profile['color']}), place {guard['place']}, "
               f"{guard['passes']} passes" if profile else "guard          none")  # fmt: skip
    if "patch" in guard:
        on_stdout(f"patch guard    {guard['patch']}")
    crop = f"center:{preprocess['crop_fraction']:g}" if preprocess["crop"] == "center" else preprocess["crop"]
    on_stdout(f"preprocess     crop {crop}, mean {preprocess['mean']}, "
               f"std {preprocess['std']}{' (guessed)' if preprocess['guessed'] else ''}")  # fmt: skip
    on_stdout(
        f"labels         {len(contract['labels'])}, outputs are {contract['outputs']}{labels_shown(contract['labels'])}"
    )
    if detection := contract.get("detection"):
        thresholds = f"score from {detection['score_threshold']:g}, overlap to {detection['iou_threshold']:g}"
        on_stdout(f"boxes          {detection['boxes']}, {detection['units']}, {detection['head']} head, {thresholds}")
    if segmentation := contract.get("segmentation"):
        on_stdout(f"class map      {segmentation['layout']}")
    if keypoints := contract.get("keypoints"):
        on_stdout(f"keypoints      {keypoints['head']}, {keypoints['order']}, {keypoints['units']}")
    for name, value in contract["gates"].items():
        on_stdout(f"gate           {name} {value}")
    on_stdout(f"source         {contract['source_sha256']}")
    on_stdout(*_chain(fields))


@app.command(epilog="Example: edgeguard model verify model.tflite --manifest model.manifest.json")
def verify(
    file: Annotated[Path, typer.Argument(help="A .tflite file.")],
    manifest: Annotated[Path | None, typer.Option(help="What `convert --manifest` wrote.")] = None,
    data: Annotated[Path | None, typer.Option(help="What `data manifest` wrote of its training images.")] = None,
    public_key: Annotated[Path | None, typer.Option(help="The key that must have signed --data.")] = None,
    training: Annotated[Path | None, typer.Option(help="The folder that `train` wrote.")] = None,
) -> None:
    """Check a model file against its manifest, its training data's and its training; exit 1 on any difference."""
    if manifest is None and data is None and training is None:
        raise InputError("verify needs something to check against: --manifest, --data or --training")
    if public_key is not None and data is None:
        raise InputError("--public-key is for --data: nothing else is signed")
    found: list[str] = []
    if manifest is not None:
        from edgeguard_converters.verify.manifest import differences, read_manifest

        found += differences(file, read_manifest(manifest))
    if data is not None or training is not None:
        try:
            from edgeguard.train.config import read_saved
            from edgeguard_converters.training_data.chain import chain_faults

            found += chain_faults(
                file,
                data=data,
                public_key=public_key,
                config_sha256=None if training is None else read_saved(training / "config.json").sha256,
                program=None if training is None else training / "model.pt2",
            )
        except ImportError as error:
            raise missing_part(error, "the data desk", "data") from error
    if found:
        raise CheckFailed("; ".join(found))
    on_stdout(f"{file} is the file that the manifest describes" if manifest is not None else f"{file} fits")


@app.command(epilog="Example: edgeguard model bom model.tflite --data photos.json --output model.cdx.json")
def bom(
    file: Annotated[Path, typer.Argument(help="A .tflite file with a contract.")],
    output: Annotated[Path, typer.Option(help="The bill of materials, CycloneDX 1.6 JSON.")],
    data: Annotated[Path | None, typer.Option(help="What `data manifest` wrote of its training images.")] = None,
) -> None:
    """Write a bill of materials: the model, what it was trained on, and whose that is."""
    from edgeguard.system.files import write_bytes

    try:
        from edgeguard_converters.training_data.bill import bill_of
        from edgeguard_converters.training_data.manifest import read_manifest

        bill = bill_of(file, None if data is None else read_manifest(data))
    except ImportError as error:
        raise missing_part(error, "the data desk", "data") from error
    write_bytes(output, bill)
    on_stdout(f"wrote {output}")


def labels_shown(labels: list[str]) -> str:
    """The end of the line on labels: the first of them, and how many more there are."""
    if not labels:
        return ""
    more = len(labels) - _SHOWN_LABELS
    return f": {', '.join(labels[:_SHOWN_LABELS])}{f' and {more} more (all: --json)' if more > 0 else ''}"


def _chain(fields: dict[str, Any]) -> list[str]:
    """From the training images to this file, a hash each; what is not known is said."""
    contract = fields["contract"]
    links = (
        ("training data", contract.get("training_data_sha256")),
        ("configuration", contract.get("training_config_sha256")),
        ("checkpoint", contract["source_sha256"]),
        ("file", fields["sha256"]),
    )
    return [f"chain          {name}: {value or 'not known'}" for name, value in links]


def _describe(file: Path) -> dict[str, Any]:
    import hashlib  # 14 ms that --help need not wait for

    from edgeguard.model.contract import read_contract
    from edgeguard.model.flatbuffer import LARGEST_FILE, ModelFile
    from edgeguard.system.foreign import parsing, read_bounded

    data = read_bounded(file, LARGEST_FILE, "the model")
    try:
        contract = read_contract(ModelFile(data))
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    from edgeguard_converters.edgetpu.predict import predict
    from edgeguard_converters.graph.tflite_graph import TfliteGraph

    with parsing("the .tflite"):
        graph = TfliteGraph(data)
        inputs, outputs = graph.borders()
        operators = ", ".join(f"{name} {count}" for name, count in graph.operators().items())
        edgetpu = predict(graph).summary()
    return {
        "file": str(file),
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": f"{len(data) / 1e6:.2f} MB",
        "input": ", ".join(inputs),
        "output": ", ".join(outputs),
        "operators": operators,
        "edgetpu": edgetpu,
        "contract": None if contract is None else contract.to_dict(),
        **({"looks_like": _looks_like(file)} if contract is None else {}),
    }


def _looks_like(file: Path) -> list[str]:
    """What a file without a contract would run as, and what of that is guessed; or why it would not run."""
    from edgeguard.errors import EdgeGuardError
    from edgeguard.model import load_model

    try:
        model = load_model(file, "cpu", 1)
    except EdgeGuardError as error:
        return [f"nothing that runs here: {str(error).removeprefix(f'{file}: ')}"]
    return [f"{model.contract.task}, {len(model.contract.labels)} labels", *model.guesses]
