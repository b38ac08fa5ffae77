"""The curves of a training: one self-contained HTML page."""

import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from html import escape

from edgeguard.reporting.charts import Point, Series, chart
from edgeguard.train.config import TrainConfig
from edgeguard.train.loop import Epoch

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;color:#1c2330;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem;border-bottom:1px solid #ccd3dd}
table{border-collapse:collapse;font-size:.85rem}td,th{padding:.15rem .8rem .15rem 0;text-align:left}
th{font-weight:600;color:#5a6577}.small{font-size:11px}.dim{color:#5a6577}
svg{width:100%;max-width:44rem;display:block}svg text{font:12px system-ui,sans-serif;fill:#3a4455}
"""


def curves_page(config: TrainConfig, epochs: Sequence[Epoch], source: str, weights: int) -> str:
    """Accuracy and loss over epochs, the configuration, and what the images are."""
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
    attacked = "" if config.method == "none" else f" Training batches are attacked ({config.method})."
    through = "as they are" if config.codec == "none" else f"through {config.codec}"
    parts = [
        f"<h1>Training of {escape(config.network)}: test accuracy {100 * last.test_accuracy:.1f} % "
        f"[{100 * last.test_low:.1f}, {100 * last.test_high:.1f}], n = {last.test_n}</h1>",
        f'<p class="dim">{escape(source)}; seen {escape(through)}, in training and in this test.{attacked} '
        f"{weights:,} weights, {last.epoch} epochs, {last.seconds / 60:.0f} minutes.</p>",
        "<h2>Accuracy</h2>",
        chart([test, train], "epoch", "accuracy, %", ticks),
        "<h2>Loss</h2>",
        chart([losses], "epoch", "loss", ticks, (0, _rounded_up(highest)), ""),
        "<h2>Configuration</h2><table>",
        *(
            f"<tr><th>{escape(one.name)}</th><td>{escape(str(asdict(config)[one.name]))}</td></tr>"
            for one in fields(TrainConfig)
        ),
        "</table>",
    ]
    head = f'<meta charset="utf-8"><title>Training of {escape(config.network)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _rounded_up(loss: float) -> float:
    """The end of an axis whose quarters are short numbers.

    Example:
        >>> _rounded_up(1.749)
        2.0
    """
    loss = max(loss, 1e-6)
    unit = 10.0 ** math.floor(math.log10(loss))
    return round(math.ceil(loss / (0.4 * unit)) * 0.4 * unit, 9)
