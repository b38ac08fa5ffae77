"""`edgeguard data`: what training data are, who says so, and what is wrong with them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from edgeguard.cli.messages import on_stderr, on_stdout
from edgeguard.errors import CheckFailed, InputError
from edgeguard.system.extras import missing_part
from edgeguard.system.outputs import refuse_file

app = typer.Typer(help="Training data: manifest and signature, and an audit for faults and poison.",
                  no_args_is_help=True)  # fmt: skip
_SHOWN = 20
_Data = Annotated[Path, typer.Argument(help="Class folders, or a .zip of them.")]
_Exclude = Annotated[Path | None, typer.Option(help="Names of files to leave out, a line each.")]


def not_installed(error: ImportError) -> InputError:
    """One line for a part that is not here: an extra, or the workstation's half on a board."""
    return missing_part(error, "the data desk", "data")


@app.command(epilog="Example: edgeguard data keygen keys/me   (writes keys/me.key and keys/me.pub)")
def keygen(
    name: Annotated[Path, typer.Argument(help="Of the pair, without a suffix.")],
) -> None:
    """Make an ed25519 key pair; the private one is readable for you alone."""
    try:
        from edgeguard_converters.training_data.keys import make_keys

        private, public, fingerprint = make_keys(name)
    except ImportError as error:
        raise not_installed(error) from error
    on_stdout(f"wrote {private} (keep it) and {public} (give it away), fingerprint {fingerprint}")


@app.command(epilog="Example: edgeguard data manifest photos/ --output photos.json --key keys/me.key")
def manifest(
    data: _Data,
    output: Annotated[Path, typer.Option(help="The manifest, canonical JSON.")],
    key: Annotated[Path | None, typer.Option(help="A private key of `data keygen` that signs it.")] = None,
    source: Annotated[str | None, typer.Option(help="Where the images come from: an address.")] = None,
    licence: Annotated[str | None, typer.Option(help="Their terms.")] = None,
    collected: Annotated[str | None, typer.Option(help="When they were collected.")] = None,
    exclude: _Exclude = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Hash every image, name its coding, and write one root over all of them."""
    try:
        from edgeguard_converters.training_data.keys import read_private
        from edgeguard_converters.training_data.manifest import Manifest, Origin, write_manifest
        from edgeguard_converters.training_data.scan import scan

        if key is not None:
            read_private(key)  # before the long work
    except ImportError as error:
        raise not_installed(error) from error
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.datasets.exclusions import read_exclusions
    from edgeguard.system.files import check_writable

    origin = Origin(source, licence, collected)
    check_writable(output)
    left_out = [] if exclude is None else read_exclusions(exclude)
    with UnitCounter() as counter:
        images = scan(data, exclude=left_out, progress=counter.show)
    made = write_manifest(output, Manifest(tuple(images), origin), key)
    broken = [image for image in images if image.facts.fault is not None]
    if broken:
        on_stderr(f"{len(broken)} of {len(images)} images cannot be read; the first: {broken[0].name} "
                  f"({broken[0].facts.fault})")  # fmt: skip
    classes = len({image.label for image in images} - {None})
    if as_json:
        on_stdout(json.dumps({"root": made.root, "images": len(images), "classes": classes, "broken": len(broken),
                              "signed_by": None if made.signer is None else made.signed_by}))  # fmt: skip
        return
    on_stdout(f"{len(images)} images of {classes} classes, root {made.root}, signed by {made.signed_by}")
    on_stdout(f"wrote {output}")


@app.command(epilog="Example: edgeguard data croissant photos.json --output croissant.json --name Photos ...")
def croissant(
    manifest: Annotated[Path, typer.Argument(help="What `data manifest` wrote.")],
    output: Annotated[Path, typer.Option(help="The description, Croissant 1.0 (JSON-LD).")],
    name: Annotated[str | None, typer.Option(help="Of the data set.")] = None,
    description: Annotated[str | None, typer.Option(help="Of the data set, in words.")] = None,
    licence: Annotated[str | None, typer.Option(help="Address or name of its terms [the manifest's].")] = None,
    url: Annotated[str | None, typer.Option(help="Address of its page [the manifest's source].")] = None,
    person: Annotated[list[str] | None, typer.Option(help="Who made it. May be repeated.")] = None,
    organization: Annotated[list[str] | None, typer.Option(help="Who made it. May be repeated.")] = None,
    published: Annotated[str | None, typer.Option(help="The day, YYYY-MM-DD.")] = None,
    data_version: Annotated[str | None, typer.Option(help="MAJOR.MINOR.PATCH, of the data.")] = None,
) -> None:
    """Describe a data set for others: who made it, under which terms, its files, images and classes."""
    from edgeguard.system.files import write_bytes

    try:
        from edgeguard_converters.training_data.croissant import Description, croissant_of
        from edgeguard_converters.training_data.manifest import read_manifest

        said = Description(
            name, description, licence, url, person or [], organization or [], published, data_version
        )  # fmt: skip
        written = croissant_of(manifest, read_manifest(manifest), said)
    except ImportError as error:
        raise not_installed(error) from error
    write_bytes(output, written)
    on_stdout(f"wrote {output}")


@app.command(epilog="Example: edgeguard data verify photos/ --manifest photos.json --public-key keys/me.pub")
def verify(
    data: _Data,
    manifest: Annotated[Path, typer.Option(help="What `data manifest` wrote.")],
    public_key: Annotated[Path | None, typer.Option(help="The key that must have signed it.")] = None,
    exclude: _Exclude = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Compare data with their manifest; exit 1 on any difference, 2 where the signature does not hold."""
    try:
        from edgeguard_converters.training_data.keys import read_public
        from edgeguard_converters.training_data.manifest import differences, read_manifest
        from edgeguard_converters.training_data.scan import scan

        wanted = None if public_key is None else read_public(public_key)
        known = read_manifest(manifest, wanted)
    except ImportError as error:
        raise not_installed(error) from error
    from edgeguard.cli.progress import UnitCounter
    from edgeguard.datasets.exclusions import read_exclusions

    with UnitCounter() as counter:
        found = scan(data, exclude=[] if exclude is None else read_exclusions(exclude), progress=counter.show)
    lines = differences(known, found)
    if known.signer is not None and wanted is None:
        on_stderr(f"the manifest is signed by {known.signed_by}; give --public-key to say whom you trust")
    if as_json:
        on_stdout(json.dumps({"root": known.root, "signed_by": known.signed_by, "differences": lines}))
    else:
        on_stdout(*lines[:_SHOWN])
        if len(lines) > _SHOWN:
            on_stdout(f"and {len(lines) - _SHOWN} more (--json has all)")
    if lines:
        raise CheckFailed(f"{data} is not what {manifest} says: {len(lines)} differences")
    if not as_json:
        on_stdout(f"{data} is what {manifest} says: {len(found)} images, root {known.root}, "
                  f"signed by {known.signed_by}")  # fmt: skip


@app.command(epilog="Example: edgeguard data audit photos/ --output audit/ --trusted known-clean/")
def audit(
    data: _Data,
    output: Annotated[Path, typer.Option(help="Folder of report.html, audit.json, exclude.txt; run again to go on.")],
    trusted: Annotated[
        Path | None, typer.Option(help="Images known to be clean, 20 or more a class, for the compression gap.")
    ] = None,
    threshold: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE: the highest figure of a check that passes. May be repeated.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=100, help="Images that the checks see which fit a classifier, classes balanced.")
    ] = 5000,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Look for broken files, duplicates, wrong labels, poison and odd colors; exit 1 where a check fails."""
    refuse_file(output)
    from edgeguard.cli.progress import UnitCounter

    try:
        from edgeguard.audit.run import audit as make_audit
        from edgeguard.audit.thresholds import thresholds

        limits = thresholds(threshold or [])
        with UnitCounter() as counter:
            found = make_audit(data, output, limits, trusted=trusted, most=limit, progress=counter.show)
    except ImportError as error:
        raise not_installed(error) from error
    if as_json:
        on_stdout((output / "audit.json").read_text("utf-8").strip())
    else:
        for finding in found.findings:
            mark = "FAILED" if finding.failed else "-" if finding.threshold is None or finding.value is None else "ok"
            on_stdout(f"{finding.check:20s} {mark:7s} {finding.says}")
        on_stdout(f"wrote {output / 'report.html'}, audit.json and exclude.txt ({len(found.excluded)} files)")
    if found.failed:
        raise CheckFailed(f"above their thresholds: {', '.join(found.failed)}")
