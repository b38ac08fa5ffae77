"""What Home Assistant is told of a run by MQTT discovery."""

from importlib.metadata import version
from typing import Any

from edgeguard.pipeline.status import RunStatus

#: Component, object, configuration.
Entity = tuple[str, str, dict[str, Any]]
#: Component, object, topics that say whether it is there, and what is its own.
_Own = tuple[str, str, list[dict[str, str]], dict[str, Any]]


def entities(name: str, status: RunStatus, *, pictures: bool = False) -> list[Entity]:
    """Home Assistant's entities.

    Args:
        name: first level of the topics, and of the device.
        status: of the camera, with its rules.
        pictures: they are published.
    """
    run = [{"topic": f"{name}/status"}]
    picture = [*run, {"topic": f"{name}/camera"}]  # no label, score or age without a picture of now
    device = {"identifiers": [name], "name": name, "manufacturer": "EdgeGuard", "sw_version": version("edgeguard")}
    own: list[_Own] = [
        *_values(name, run, picture), *_counts(name, status, picture), *_events(name, status, run),
    ]  # fmt: skip
    if pictures:
        own.append(("camera", "picture", picture, {"name": "Picture", "topic": f"{name}/picture"}))
    return [
        (kind, key, {
            **config, "availability_mode": "all", "device": device, "availability": available,
            "unique_id": f"{name}_{key}",
        })
        for kind, key, available, config in own
    ]  # fmt: skip


def _values(name: str, run: list[dict[str, str]], picture: list[dict[str, str]]) -> list[_Own]:
    shown: list[_Own] = [
        ("sensor", "label", picture, {"name": "Label", "icon": "mdi:eye"}),
        ("sensor", "score", picture, {"name": "Score", "state_class": "measurement"}),
        ("sensor", "age_ms", picture, {"name": "Frame age", "unit_of_measurement": "ms", "device_class": "duration"}),
        ("sensor", "camera", run, {"name": "Camera", "entity_category": "diagnostic"}),
        ("sensor", "refused", run, {"name": "Refused frames", "state_class": "total_increasing",
                                    "entity_category": "diagnostic"}),
        ("binary_sensor", "alarm", run, {"name": "Alarm", "device_class": "problem"}),
    ]  # fmt: skip
    return [
        (kind, key, there, {
            "state_topic": f"{name}/state", **config, "value_template": f"{{{{ value_json.{key} }}}}",
        })
        for kind, key, there, config in shown
    ]  # fmt: skip


def _counts(name: str, status: RunStatus, picture: list[dict[str, str]]) -> list[_Own]:
    """All objects, the classes that a rule or a limit names, and each zone."""
    if status.contract.task != "detect":
        return []
    labels, rules = status.contract.labels, status.rules
    named = {one["label"] for group in ("classes", "events") for one in rules.get(group, ())}
    places = [("objects", "Objects", "value_json.count | default(0)")]  # a lost camera's state has no counts
    places += [
        (f"class_{index}", label, f"(value_json.counts | default({{}})).get('{index}', 0)")
        for index, label in enumerate(labels)
        if label in named
    ]
    places += [
        (
            f"zone_{zone['name']}",
            f"In {zone['name']}",
            f"(value_json.zones | default({{}})).get('{zone['name']}', {{}}).get('count', 0)",
        )
        for zone in rules.get("zones", ())
    ]
    return [
        ("sensor", key, picture, {
            "name": title, "state_topic": f"{name}/state", "state_class": "measurement", "icon": "mdi:counter",
            "value_template": f"{{{{ {value} }}}}",
        })
        for key, title, value in places
    ]  # fmt: skip


def _events(name: str, status: RunStatus, run: list[dict[str, str]]) -> list[_Own]:
    found: list[_Own] = []
    for rule in status.rules.get("events", ()):
        topic, kind = f"{name}/event/{rule['name']}", "occupancy" if rule["alarm"] is None else "problem"
        state = {"name": rule["name"], "state_topic": topic, "payload_on": "ON", "payload_off": "OFF"}
        found.append(("binary_sensor", f"event_{rule['name']}", run, {**state, "device_class": kind}))
        if rule["record"]:
            image = {"name": f"{rule['name']} picture", "image_topic": f"{topic}/picture", "content_type": "image/jpeg"}
            found.append(("image", f"event_{rule['name']}_picture", run, image))
    return found
