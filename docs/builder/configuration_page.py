"""The page of the files that the commands read, made from their declarations."""

from edgeguard.cli.config import Kind, declared
from edgeguard.settings.describe import markdown_tables

_TITLES = {
    Kind.RUN: ("The configuration of run", "`edgeguard run --config FILE`, `edgeguard service install --config FILE`"),
    Kind.TRAIN: ("A training", "`edgeguard train FILE`"),
    Kind.SOUND: ("A training on sound", "`edgeguard train FILE --task audio`"),
    Kind.PROTOCOL: ("A protocol of attacks", "`edgeguard evaluate MODEL --protocol FILE`"),
    Kind.BOARD: ("A board", "`edgeguard firmware`, from `~/.config/edgeguard/firmware_configs/`"),
    Kind.PROFILE: ("A profile of the guard", "`--guard FILE` of every command that has it"),
}


def configuration_page() -> str:
    """Markdown: a section for each kind of file with a table of its keys."""
    lines = [
        "# Configuration files", "",
        "Every file is TOML. A key that is not listed is refused, with its file and line.",
        "`edgeguard config schema KIND` prints a JSON Schema of each, which an editor can use.", "",
    ]  # fmt: skip
    for kind, (title, used_by) in _TITLES.items():
        lines += [f"## {title}", "", f"Read by {used_by}. Its schema: `edgeguard config schema {kind.value}`.", ""]
        lines += [markdown_tables(declared(kind)).replace("*", "\\*"), ""]
    return "\n".join(lines)
