"""Docstrings as the site wants them: an `Example:` of one call is a section of examples there, not a quotation."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Gives `Example:` the name that Griffe knows."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for each module, class, function and attribute that is read."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.M)
