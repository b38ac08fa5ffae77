"""The page of the examples, made from the files in `examples`."""

import ast
from pathlib import Path

#: In this order; an example that is missing here comes last.
ORDER = ("pipeline_in_a_script", "own_source", "own_sink", "several_cameras", "certificate_map")


def examples_page(folder: Path) -> str:
    """Markdown: each script with the first line of its docstring as the title.

    Args:
        folder: of the scripts.
    """
    scripts = sorted(
        folder.glob("*.py"), key=lambda one: (ORDER.index(one.stem) if one.stem in ORDER else 99, one.stem)
    )
    lines = [
        "# Examples", "",
        "Each of these scripts runs as it stands, and a test runs it. The first five need no extra. They use what the",
        "package brings: a small model of twelve cards, a clip, rendered scenes.", "",
    ]  # fmt: skip
    for script in scripts:
        source = script.read_text(encoding="utf-8")
        said = (ast.get_docstring(ast.parse(source)) or "").partition(". ")[0].partition(":")[0]
        lines += [
            f"## {script.stem.replace('_', ' ').capitalize()}",
            "",
            f"`examples/{script.name}`. {said.rstrip('.')}.",
        ]
        lines += ["", "```python", source.rstrip(), "```", ""]
    return "\n".join(lines)
