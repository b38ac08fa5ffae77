"""`edgeguard evaluate certify --patch ... --method ...`: labels that are proven against a square patch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from edgeguard.cli.messages import on_stdout
from edgeguard.errors import InputError
from edgeguard.system.extras import missing_part

METHODS = ("one-pass", "masking", "hybrid")


def certify_patch(
    model: Path,
    images: Path,
    *,
    method: str,
    shares: Sequence[float],
    masks: int,
    limit: int,
    workers: int | None,
    output: Path | None,
    attacked: int,
    as_json: bool,
) -> None:
    """Print the table of a method; `output` keeps a line for each image.

    Raises:
        InputError: no such method, or see `evaluate.certify.table.certify_patches`.
    """
    if method not in METHODS:
        raise InputError(f"--method {method} is none of {', '.join(METHODS)}")
    try:
        from edgeguard.evaluate.certify.table import certify_patches
    except ImportError as error:
        raise missing_part(error, "evaluate", "attack") from error
    from edgeguard.cli.progress import UnitCounter

    with UnitCounter() as counter:
        table = certify_patches(
            model, images, method=cast(Any, method), shares=shares, per_axis=masks, limit=limit, workers=workers,
            output=output, attacked=attacked, progress=counter.show,
        )  # fmt: skip
    for row in table.rows:
        on_stdout(json.dumps(row.to_dict()) if as_json else row.line())
    if not as_json:
        on_stdout(*table.said)
        on_stdout("certified: right, and proven for one square patch of that size anywhere, whatever is on it")
