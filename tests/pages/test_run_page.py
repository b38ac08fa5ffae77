"""The tables of docs/run.md name every metric, every MQTT topic and every key of a result."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "run.md").read_text(encoding="utf-8")


def _table(heading: str) -> str:
    """The rows of the first table behind these words."""
    behind = PAGE.partition(heading)[2]
    assert behind, f"docs/run.md has no {heading!r}"
    rows = re.search(r"(?:^\|.*\n)+", behind, re.M)
    assert rows is not None
    return rows[0]


def test_every_metric_is_in_the_table() -> None:
    source = (ROOT / "edgeguard" / "sinks" / "metrics.py").read_text(encoding="utf-8")
    counters = re.findall(r'CounterMetricFamily\(\s*"edgeguard_(\w+)"', source)
    counters += re.findall(r'^ +\("(\w+)", "[^"]+", counters\.', source, re.M)
    gauges = re.findall(r'GaugeMetricFamily\(\s*"edgeguard_(\w+)"', source)
    assert len(counters) > 10 and len(gauges) > 3
    served = {f"edgeguard_{name}_total" for name in counters} | {f"edgeguard_{name}" for name in gauges}
    assert set(re.findall(r"`(edgeguard_\w+)`", _table("**Names of the metrics.**"))) == served


def test_every_topic_is_in_the_table() -> None:
    source = (ROOT / "edgeguard" / "sinks" / "mqtt.py").read_text(encoding="utf-8")
    sent = set(re.findall(r'_send\(f"\{self\._name\}/([^"]+)"', source))
    named = {re.sub(r"\{[^}]*\}", "RULE", topic) for topic in sent}
    table = _table("**MQTT topics.**")
    assert len(named) > 5 and [topic for topic in named if f"`NAME/{topic}`" not in table] == []


def test_every_key_of_a_result_is_in_the_table() -> None:
    schema = json.loads((ROOT / "docs" / "reference" / "published.schema.json").read_text(encoding="utf-8"))
    table, keys = _table("## A result"), schema["$defs"]["result"]["properties"]
    assert len(keys) > 20 and [key for key in keys if f"`{key}`" not in table] == []
