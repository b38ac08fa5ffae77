"""JSON of strangers that is nested without end: one line, wherever it is read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeguard.errors import InputError

NESTED = b"[" * 100_000


def _patch(folder: Path) -> None:
    from edgeguard.fieldtest.sheets.patch_file import read_patch

    (folder / "patch.json").write_bytes(NESTED)
    read_patch(folder)


def _sheet(folder: Path) -> None:
    from edgeguard.fieldtest.sheets.sheet import read_sheet

    (folder / "sheet.json").write_bytes(NESTED)
    read_sheet(folder / "sheet.json")


def _plan(folder: Path) -> None:
    from edgeguard.fieldtest.session.plan import read_plan

    (folder / "plan.json").write_bytes(NESTED)
    read_plan(folder)


def _results(folder: Path) -> None:
    from edgeguard.evaluate.reports.results import read_results

    (folder / "results.jsonl").write_bytes(NESTED)
    read_results(folder / "results.jsonl")


def _manifest(folder: Path) -> None:
    from edgeguard_converters.verify.manifest import read_manifest

    (folder / "manifest.json").write_bytes(NESTED)
    read_manifest(folder / "manifest.json")


def _sidecar(folder: Path) -> None:
    from edgeguard_converters.load.source import facts_from_sidecar

    (folder / "model.json").write_bytes(NESTED)
    facts_from_sidecar(folder / "model.json")


@pytest.mark.parametrize("read", [_patch, _sheet, _plan, _results, _manifest, _sidecar])
def test_it_is_one_line(tmp_path: Path, read: Callable[[Path], None]) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400
