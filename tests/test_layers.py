"""The arrows between packages point down only, and the command line starts light."""

import ast
import functools
import graphlib
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLAN = tomllib.loads((ROOT / "docs" / "architecture.toml").read_text(encoding="utf-8"))
#: The rooms of the house from the ground up: each imports only rooms before it.
ROOMS = tuple(room for floor in PLAN["floor"] for room in floor["rooms"])


def _part(module: str) -> str | None:
    names = module.split(".")
    if names[0] == "edgeguard_converters":
        return "converters"
    return names[1] if names[0] == "edgeguard" and len(names) > 1 else None


@functools.cache
def _import_statements(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """All in a file, wherever they stand; the rest of its tree would fill the memory."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def _imports(path: Path) -> set[str]:
    found = set()
    for node in _import_statements(path):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "edgeguard" else [node.module]
            )
            found |= {part for name in names if (part := _part(name))}
        elif isinstance(node, ast.Import):
            found |= {part for alias in node.names if (part := _part(alias.name))}
    return found


def _sources(root: str) -> list[Path]:
    return sorted((ROOT / root).rglob("*.py"))


def _name(path: Path) -> str:
    relative = path.relative_to(ROOT)
    parts = list(relative.with_suffix("").parts)[1 if relative.parts[0] == "converters" else 0 :]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _modules_of(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of ours that a file imports, anywhere in it."""
    found = set()
    for node in _import_statements(path):
        if isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names} & set(known)
            found |= whole or ({node.module} & set(known))
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & set(known)
    return found


def _modules() -> list[tuple[str, Path]]:
    modules = []
    for path in sorted((ROOT / "edgeguard").rglob("*.py")):
        relative = path.relative_to(ROOT / "edgeguard")
        part = relative.parts[0].removesuffix(".py")
        if part != "__init__":
            modules.append((part, path))
    return modules + [("converters", path) for path in sorted((ROOT / "converters").rglob("*.py"))]


def test_arrows_point_down() -> None:
    upward = {
        str(path.relative_to(ROOT)): sorted(higher)
        for part, path in _modules()
        if (higher := _imports(path) - {part} - set(ROOMS[: ROOMS.index(part)]))
    }
    assert not upward


def test_every_room_is_in_the_plan() -> None:
    found = {path.relative_to(ROOT / "edgeguard").parts[0].removesuffix(".py") for path in _sources("edgeguard")}
    assert found - {"__init__"} == set(ROOMS) - {"converters"}


def test_no_circle_of_imports() -> None:
    """Imports inside functions count: a circle that only they open is one."""
    modules = {_name(path): path for root in ("edgeguard", "converters") for path in _sources(root)}
    arrows = {name: _modules_of(path, modules) - {name} for name, path in modules.items()}
    order = tuple(graphlib.TopologicalSorter(arrows).static_order())  # raises CycleError and names the circle
    assert len(order) == len(modules)


def test_the_picture_is_that_of_the_plan() -> None:
    picture = ROOT / "docs" / "images" / "architecture.svg"
    drawn = runpy.run_path(str(ROOT / "docs" / "draw_architecture.py"))["drawing"]()
    assert picture.read_text(encoding="utf-8") == drawn, "draw it again: python docs/draw_architecture.py"


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
        "sheets.pdf", "virtual.operator", "session.importing", "session.mark_page", "analysis.why", "analysis.films",
    )  # fmt: skip
    imports = "; ".join(f"import edgeguard.fieldtest.{name}" for name in names)
    code = f"import sys; {imports}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
