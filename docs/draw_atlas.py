"""Make docs/atlas.md of docs/atlas.toml.

python docs/draw_atlas.py
"""

import tomllib
from pathlib import Path

DOCS = Path(__file__).parent
TABLE, PAGE = DOCS / "atlas.toml", DOCS / "atlas.md"


def page() -> str:
    """The page as Markdown."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    lines = [
        "# What of MITRE ATLAS touches EdgeGuard",
        "",
        f"Techniques and mitigations by the names of MITRE ATLAS, version {table['version']}. This page is made of",
        "`atlas.toml` by `python docs/draw_atlas.py`. A named test fails where the answer does not hold any more.",
        "",
        "| technique | where it touches EdgeGuard | what answers it | test | what stays open |",
        "|---|---|---|---|---|",
        *(
            f"| {one['id']} {one['name']} | {one['where']} | {one['answer']} | `{one['test']}` | {one['open']} |"
            for one in table["technique"]
        ),
        "",
        "| mitigation | what stands for it |",
        "|---|---|",
        *(f"| {one['id']} {one['name']} | {one['answer']} |" for one in table["mitigation"]),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
