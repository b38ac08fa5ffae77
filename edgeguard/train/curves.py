"""The curves of a training: one self-contained HTML page."""

import math
from collections.abc import Sequence
from dataclasses import asdict, fields

from edgeguard.reporting.charts import Point, Series, chart
from edgeguard.reporting.html import Table, page
from edgeguard.train.config import TrainConfig
from edgeguard.train.log import Epoch


def curves_page(config: TrainConfig, epochs: Sequence[Epoch], source: str, weights: int) -> str:
    """Accuracy and loss over epochs, the configuration, and what the images are."""
    attacked = "" if config.method == "none" else f" Training batches are attacked ({config.method})."
    through = "as they are" if config.codec == "none" else f"through {config.codec}"
    last, values_of = epochs[-1], asdict(config)
    return accuracy_page(
        title=f"Training of {config.network}",
        epochs=epochs,
        how=f"{source}; seen {through}, in training and in this test.{attacked} "
        f"{weights:,} weights, {last.epoch} epochs, {last.seconds / 60:.0f} minutes.",
        configuration=[(one.name, str(values_of[one.name])) for one in fields(TrainConfig)],
    )


def accuracy_page(*, title: str, epochs: Sequence[Epoch], how: str, configuration: Sequence[tuple[str, str]]) -> str:
    """Accuracy and loss over epochs, how they came about, and the configuration's keys and values."""
    last = epochs[-1]
    ticks = sorted({0, *(round(last.epoch * share / 4) for share in range(1, 5))})
    test = Series(
        "test (95 % interval)",
        tuple(Point(e.epoch, 100 * e.test_accuracy, 100 * e.test_low, 100 * e.test_high) for e in epochs),
    )
    values = [100 * e.train_accuracy for e in epochs]
    train = Series("training batches", tuple(Point(e.epoch, v, v, v) for e, v in zip(epochs, values, strict=True)))
    losses = Series("loss", tuple(Point(e.epoch, e.loss, e.loss, e.loss) for e in epochs))
    highest = max(e.loss for e in epochs)
    return page(
        "training.html",
        title=title,
        result=f"test accuracy {100 * last.test_accuracy:.1f} % "
        f"[{100 * last.test_low:.1f}, {100 * last.test_high:.1f}], n = {last.test_n}",
        how=how,
        accuracy_chart=chart([test, train], "epoch", "accuracy, %", ticks),
        loss_chart=chart([losses], "epoch", "loss", ticks, (0, _rounded_up(highest)), ""),
        configuration=Table(list(configuration)),
    )


def _rounded_up(loss: float) -> float:
    """The end of an axis whose quarters are short numbers.

    Example:
        >>> _rounded_up(1.749)
        2.0
    """
    loss = max(loss, 1e-6)
    unit = 10.0 ** math.floor(math.log10(loss))
    return round(math.ceil(loss / (0.4 * unit)) * 0.4 * unit, 9)
