"""The linters of a commit are those of the tests."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_pre_commit_has_the_versions_that_are_tested() -> None:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    asked = re.findall(r"\[([\w-]+)==([^\]]+)\]", (ROOT / ".pre-commit-config.yaml").read_text())
    assert asked and all(pinned[name] == version for name, version in asked)
