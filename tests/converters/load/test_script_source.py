"""The source of TorchScript: what is none, and what would not end, is refused in one line that says why."""

import pytest

from edgeguard.errors import InputError
from edgeguard_converters.load.refused import PickleRefused
from edgeguard_converters.load.script_source import fresh_sources


@pytest.mark.parametrize("text", ["y = " + "-" * 50_000 + "1", "y = " + "(" * 500 + "x" + ")" * 500, "y = (x"])
def test_source_that_cannot_be_parsed_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(InputError, match=r"is no TorchScript: \S"):
        fresh_sources({"code/__torch__.py": text.encode()}, lambda _: True)


def _loops(*rounds: int) -> dict[str, bytes]:
    lines = ["class M(Module):", "  def forward(self, x: Tensor) -> Tensor:"]
    lines += [f"{'  ' * (i + 2)}for i{i} in range({count}):" for i, count in enumerate(rounds)]
    lines += [f"{'  ' * (len(rounds) + 2)}x = torch.add(x, 1)", "    return x"]
    return {"code/__torch__.py": "\n".join(lines).encode()}


@pytest.mark.parametrize("rounds", [(100_001,), (99_999, 99_999, 99_999), (400, 400)])
def test_loops_within_loops_count_together(rounds: tuple[int, ...]) -> None:
    with pytest.raises(PickleRefused, match="a loop that does not end"):
        fresh_sources(_loops(*rounds), lambda _: True)


@pytest.mark.parametrize("rounds", ["int(1e15)", "int(1e999)", "10 * 1000000"])
def test_rounds_may_be_written_in_other_ways(rounds: str) -> None:
    source = _loops(9)["code/__torch__.py"].replace(b"range(9)", f"range({rounds})".encode())
    with pytest.raises(PickleRefused, match="a loop that does not end"):
        fresh_sources({"code/__torch__.py": source}, lambda _: True)


def test_loops_that_end_are_kept() -> None:
    both = _loops(300, 300)
    assert (
        b"range(300)"
        in fresh_sources({**both, "code/__torch__/a.py": _loops(9)["code/__torch__.py"]}, lambda _: True)[
            "code/__torch__.py"
        ]
    )


def test_the_length_of_a_container_is_no_reason() -> None:
    """torch writes `__len__` for its own containers."""
    source = b"""class List(Module):
  def __len__(self: __torch__.List) -> int:
    return 8
  def forward(self: __torch__.List, x: Tensor) -> Tensor:
    n = len(self)
    sizes = [1, 2]
    return torch.add(x, n + len(sizes) + sizes[0])
"""
    assert b"__len__" in fresh_sources({"code/__torch__.py": source}, lambda _: True)["code/__torch__.py"]
