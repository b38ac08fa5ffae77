"""`edgeguard doctor`."""

from typing import Annotated

import typer

from edgeguard.cli.messages import on_stdout
from edgeguard.errors import CheckFailed

EXAMPLE = "Example: edgeguard doctor --json"


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check runtime, delegates, cameras, Edge TPU and power, each line with what to do; exit 1 on problems."""
    from edgeguard.diagnostics.doctor import examine

    findings = list(examine())
    if as_json:
        import json
        from dataclasses import asdict

        on_stdout(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            advice = f"  -> {finding.advice}" if finding.advice else ""
            on_stdout(f"{finding.status:8s} {finding.what:18s} {finding.text}{advice}")
    problems = sum(finding.status == "problem" for finding in findings)
    if problems:
        raise CheckFailed(f"{problems} problem{'s' if problems > 1 else ''} found")
