"""The curves' axes."""

import pytest

pytest.importorskip("torch", reason="needs the convert extra")

from edgeguard.train.curves import _rounded_up


@pytest.mark.parametrize("loss", [0.0, 1e-9, 0.0123, 0.31, 1.749, 2.0, 2.31, 12.2, 998.0])
def test_the_loss_axis_holds_the_loss_and_its_quarters_are_short(loss: float) -> None:
    end = _rounded_up(loss)
    assert loss <= end <= max(1.6 * loss, 2e-6)
    assert all(len(f"{end * quarter / 4:g}".replace("e-0", "")) <= 5 for quarter in range(5))
