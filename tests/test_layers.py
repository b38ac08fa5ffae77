"""The arrows between packages point down only, and the command line starts light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: What each part of edgeguard may import of ours.
ALLOWED = {
    "errors": set(),
    "quiet": set(),
    "files": {"errors"},
    "guard": set(),
    "workers": set(),
    "model": {"guard", "patchguard", "errors", "quiet"},
    "camera": {"guard", "scene", "errors", "quiet"},
    "result": {"guard", "model"},
    "counters": {"result"},
    "power": set(),
    "config": {"settings_file"},
    "addresses": {"errors"},
    "background_server": {"errors"},
    "sensor": {"background_server", "camera", "guard", "errors"},
    "firmware": {"camera", "guard", "errors"},
    "alarms": {"result"},
    "governor": {"power"},
    "status": {"camera", "counters", "model", "power", "result"},
    "sinks": {
        "addresses", "background_server", "camera", "guard", "model", "status", "errors", "files", "quiet", "result",
    },
    "pipeline": {"camera", "counters", "guard", "model", "patchguard", "result", "errors"},
    "service": {"config", "errors", "files"},
    "runner": {
        "addresses",
        "alarms", "camera", "config", "governor", "guard", "model", "pipeline", "power", "service", "sinks", "status",
        "result", "errors",
    },
    "doctor": {"guard", "model", "power", "errors", "quiet"},
    "bench": {"scene", "demo", "guard", "model"},
    "statistics": set(),
    "charts": set(),
    "patchguard": set(),
    "scene": set(),
    "fieldtest": {
        "background_server", "charts", "workers", "pipeline",
        "scene", "camera", "guard", "model", "patchguard", "evaluate", "images", "statistics", "files", "errors",
        "train",
    },
    "train": {"charts", "statistics", "guard", "model", "workers", "settings_file", "files", "errors"},
    "settings_file": {"errors"},
    "images": {"camera", "guard", "model", "patchguard", "errors"},
    "evaluate": {
        "train", "charts", "workers", "patchguard", "guard", "model", "images", "statistics", "files", "errors",
    },
    "demo": {
        "fieldtest", "train", "workers",
        "scene", "camera", "guard", "model", "sinks", "pipeline", "result", "files", "errors", "images", "CONVERTERS",
    },
    "cli": {
        "addresses", "config", "firmware", "runner", "sensor", "service", "result",
        "camera", "guard", "model", "sinks", "pipeline", "doctor", "bench", "demo", "files", "errors", "images",
        "evaluate", "fieldtest", "patchguard", "scene", "train", "statistics", "CONVERTERS",
    },
    "CONVERTERS": {"camera", "guard", "model", "patchguard", "images", "statistics", "files", "errors", "quiet"},
}  # fmt: skip


def _part(module: str) -> str | None:
    names = module.split(".")
    if names[0] == "edgeguard_converters":
        return "CONVERTERS"
    return names[1] if names[0] == "edgeguard" and len(names) > 1 else None


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "edgeguard" else [node.module]
            )
            found |= {part for name in names if (part := _part(name))}
        elif isinstance(node, ast.Import):
            found |= {part for alias in node.names if (part := _part(alias.name))}
    return found


def _modules() -> list[tuple[str, Path]]:
    modules = []
    for path in sorted((ROOT / "edgeguard").rglob("*.py")):
        relative = path.relative_to(ROOT / "edgeguard")
        part = relative.parts[0].removesuffix(".py")
        if part != "__init__":
            modules.append((part, path))
    return modules + [("CONVERTERS", path) for path in sorted((ROOT / "converters").rglob("*.py"))]


@pytest.mark.parametrize(("part", "path"), _modules(), ids=lambda value: str(value).replace(str(ROOT), ""))
def test_arrows_point_down(part: str, path: Path) -> None:
    assert _imports(path) - {part} <= ALLOWED[part]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['edgeguard', '--help']\n"
        "from edgeguard.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('HEAVY', sorted({'numpy', 'cv2', 'torch', 'PIL', 'ai_edge_litert', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_field_tests_are_recorded_and_scored_without_torch() -> None:
    names = ("record", "score", "findings", "report", "guide_page", "make_sheet", "sheet_pdf", "virtual_operator")
    imports = "; ".join(f"import edgeguard.fieldtest.{name}" for name in names)
    code = f"import sys; {imports}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
