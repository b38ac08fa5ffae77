"""The source of TorchScript that is none: one line says why."""

import pytest

from edgeguard.errors import InputError
from edgeguard_converters.load.script_source import fresh_sources


@pytest.mark.parametrize("text", ["y = " + "-" * 50_000 + "1", "y = " + "(" * 500 + "x" + ")" * 500, "y = (x"])
def test_source_that_cannot_be_parsed_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(InputError, match=r"is no TorchScript: \S"):
        fresh_sources({"code/__torch__.py": text.encode()}, lambda _: True)
