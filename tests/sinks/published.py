"""The schema of what is published, for the tests of those who publish it."""

import json
from pathlib import Path
from typing import Any

import pytest

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "published.schema.json").read_text())


def fits(kind: str, data: Any) -> None:
    """Fail where data that came over a wire do not fit their part of the schema."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    checker = jsonschema.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]})
    assert [error.message for error in checker.iter_errors(data)] == []
