"""The arrows between packages point down only, and the command line starts light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: The rooms of the house from the ground up: each imports only rooms before it.
ROOMS = (
    "errors", "statistics", "settings", "system", "scene", "jpeg", "reporting",
    "dct",
    "preprocess", "camera",
    "guard", "patchguard", "firmware", "sensor",
    "model",
    "differentiable", "datasets", "pipeline", "diagnostics",
    "sinks", "train", "CONVERTERS",
    "run", "evaluate",
    "fieldtest",
    "demo",
    "cli",
)  # fmt: skip


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
    assert _imports(path) - {part} <= set(ROOMS[: ROOMS.index(part)])


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
    names = (
        "session.record", "analysis.score", "analysis.findings", "analysis.report", "session.web", "sheets.build",
        "sheets.pdf", "virtual.operator",
    )  # fmt: skip
    imports = "; ".join(f"import edgeguard.fieldtest.{name}" for name in names)
    code = f"import sys; {imports}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
