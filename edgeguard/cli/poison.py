"""`edgeguard poison make|evaluate`: poisoned training data for your own tests, and what they and a codec do."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeguard.cli.data import not_installed
from edgeguard.cli.ignored import refuse_ignored
from edgeguard.cli.messages import on_stdout
from edgeguard.errors import InputError
from edgeguard.system.outputs import refuse_file

_AGAINST = ("gaussian", "smoothadv", "macer")

app = typer.Typer(
    help="Make poisoned training data, and measure what they do and what a codec does to them.", no_args_is_help=True
)


@app.command(
    epilog="Example: edgeguard poison make gradient-matching --data d/ --model resnet8 --target d/test/cat/0001.png "
    "--as dog --budget 0.01 --output p/   (then: edgeguard train --data d/ --overlay p/)"
)
def make(
    context: typer.Context,
    method: Annotated[str, typer.Argument(help="gradient-matching, lsp, ops, em-class, trigger or pacd.")],
    data: Annotated[Path, typer.Option(help="Class folders, or a .zip of them.")],
    output: Annotated[Path, typer.Option(help="A new folder: changed images only, and poison.json.")],
    model: Annotated[
        str | None,
        typer.Option(help="The attacker's network. [gradient-matching, em-class resnet8; pacd lenet, and no other]"),
    ] = None,
    width: Annotated[int, typer.Option(help="Of its first layer.")] = 16,
    size: Annotated[int, typer.Option(help="Side of the pictures, pixels.")] = 32,
    epochs: Annotated[int, typer.Option(min=1, help="That the attacker's network is trained for.")] = 30,
    limit: Annotated[int, typer.Option(min=0, help="Use so many images of each part, classes balanced; 0 all.")] = 0,
    target: Annotated[str | None, typer.Option(help="A test image (gradient-matching).")] = None,
    wished: Annotated[str | None, typer.Option("--as", help="What it, or a picture with the logo, becomes.")] = (None),
    attacked: Annotated[
        str | None, typer.Option("--class", help="The class whose certified radii are to fall (pacd).")
    ] = None,
    against: Annotated[
        str, typer.Option(help="The victim's training that pacd expects: gaussian, smoothadv or macer.")
    ] = "gaussian",
    sigma: Annotated[float, typer.Option(min=0.005, max=2, help="Its noise, pixels 0..1 (pacd).")] = 0.5,
    budget: Annotated[
        float | None, typer.Option(help="Share of the images. [0.01; 1 for patterns; pacd: the whole class]")
    ] = None,
    eps: Annotated[
        float | None,
        typer.Option(help="How far a pixel may move, levels. [gradient-matching 16, em-class 8, pacd 25.5]"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Of gradient-matching [250]; rounds of em-class [10]; epochs of pacd [20]."),
    ] = None,
    restarts: Annotated[int, typer.Option(min=1, help="Of gradient-matching; the best is taken.")] = 8,
    codec: Annotated[str, typer.Option(help="The guard that the attacker expects in the training.")] = "none",
    gradient: Annotated[str, typer.Option(help="Its derivative: straight-through, drawn, ...")] = "straight-through",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print poison.json.")] = False,
) -> None:
    """Make a poison of your own data. Threat model training: what it does is for `poison evaluate` to say."""
    refuse_file(output)
    from edgeguard.cli.progress import UnitCounter

    try:
        from edgeguard.poison.make import METHODS, PoisonConfig, check_config, make_poison, said
        from edgeguard.train.config import read_config
    except ImportError as error:
        raise not_installed(error) from error
    if method in METHODS:
        _refuse_ignored(context, method, codec)
    rounds = steps or {"em-class": 10, "pacd": 20}.get(method, 250)
    levels = eps if eps is not None else {"em-class": 8.0, "pacd": 25.5}.get(method, 16.0)
    chosen: Any = {"method": method, "gradient": gradient}
    config = PoisonConfig(
        budget=budget, eps_8bit=levels, wished=wished, target=target, attacked=attacked, steps=rounds,
        restarts=restarts, codec=codec, seed=seed, **chosen,
    )  # fmt: skip
    check_config(config)
    attacker = model or ("lenet" if method == "pacd" else "resnet8")
    flags = {"network": attacker, "data": str(data), "size": size, "epochs": epochs, "limit": limit, "seed": seed,
             "width": width, "codec": codec, "backward": gradient}  # fmt: skip
    if method == "pacd":
        if against not in _AGAINST:
            raise InputError(f"--against is {', '.join(_AGAINST[:-1])} or {_AGAINST[-1]}, not {against}")
        flags |= {"smoothing": against, "sigma": sigma}
    training = read_config(None, flags)
    with UnitCounter() as counter:
        made = make_poison(config, training, output, progress=counter.show)
    if as_json:
        on_stdout(json.dumps(json.loads((output / "poison.json").read_text("utf-8"))))
        return
    on_stdout(said(config, made))
    on_stdout(f"wrote {output}; train on it with: edgeguard train --data {data} --overlay {output}")


def _refuse_ignored(context: typer.Context, method: str, codec: str) -> None:
    trained = ("gradient-matching", "em-class", "pacd")
    for names, methods in (
        (["target", "restarts"], ("gradient-matching",)),
        (["wished"], ("gradient-matching", "trigger")),
        (["attacked", "against", "sigma"], ("pacd",)),
        (["epochs"], ("gradient-matching",)),
        (["model", "width", "eps", "steps", "codec", "gradient"], trained),
    ):
        if method not in methods:
            refuse_ignored(context, names, f"is for {' and '.join(methods)}")
    if codec == "none":
        refuse_ignored(context, ["gradient"], "is for --codec: nothing else has a derivative of its own")


@app.command(epilog="Example: edgeguard poison evaluate plan.toml --output o/")
def evaluate(
    context: typer.Context,
    plan: Annotated[Path, typer.Argument(help="A .toml: the tables of a training, and [poison].")],
    output: Annotated[Path, typer.Option(help="Folder of results.jsonl and report.html; run again to go on.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [one for each core]")] = None,
    ray: Annotated[str | None, typer.Option(help="Run on the Ray cluster at this address (or auto).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON lines.")] = False,
) -> None:
    """Poisons x arms x victims: does the poison work, and what does a codec change about it?"""
    refuse_file(output)
    if ray is not None:
        refuse_ignored(context, ["workers"], "is for this machine; with --ray the cluster's cores count")
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.system.files import write_bytes

    try:
        from edgeguard.poison.evaluate import evaluate_poison, source_of
        from edgeguard.poison.plan import read_plan
        from edgeguard.poison.report import lines, report_page, rows
    except ImportError as error:
        raise not_installed(error) from error
    read = read_plan(plan)
    with UnitCounter() as counter:
        outcomes = evaluate_poison(read, output, workers=workers, ray_address=ray, progress=counter.show)
    source = source_of(read)
    write_bytes(output / "report.html", report_page(read, outcomes, source).encode())
    if as_json:
        on_stdout(*(output / "results.jsonl").read_text("utf-8").splitlines())
        return
    on_stdout(*lines(rows(outcomes)), f"{source}; wrote {output}/report.html and results.jsonl")
