"""Which of the bundles that are rolled out a device takes."""

import hashlib
from collections.abc import Iterable

from edgeguard.errors import InputError
from edgeguard.fleet.identity import Device
from edgeguard.fleet.state import State
from edgeguard.fleet.trust import Offer, Rollout

_PARTS = 10_000


def is_in_share(device: str, version: int, percent: float) -> bool:
    """Whether a device belongs to the first `percent` of the devices that get a version.

    The hash of both decides: each version has its own order of devices, and whoever is in a share stays in it when
    the share grows.

    Example:
        >>> is_in_share("cam-hall", 7, 100), is_in_share("cam-hall", 7, 0)
        (True, False)
    """
    place = int.from_bytes(hashlib.sha256(f"{device}\n{version}".encode()).digest()[:8]) % _PARTS
    return place < percent * _PARTS / 100


def choose(rollout: Rollout, device: Device, state: State) -> Offer | None:
    """The newest bundle that a device should have and has not; None where it has all that it should.

    Raises:
        InputError: bundles of several names fit a device that was not told which one is its own.
    """
    fitting = [offer for offer in rollout.bundles if _fits(offer, device)]
    names = {offer.name for offer in fitting}
    if len(names) > 1:
        several = ", ".join(sorted(names))
        raise InputError(f"bundles of several names fit this device ({several}): set bundle in device.json")
    wanted = [offer for offer in fitting if _is_due(offer, device, state)]
    return max(wanted, key=lambda offer: offer.version, default=None)


def _fits(offer: Offer, device: Device) -> bool:
    return (
        (device.bundle is None or device.bundle == offer.name)
        and _overlap(offer.hardware, device.hardware)
        and _overlap(offer.groups, device.groups)
    )


def _is_due(offer: Offer, device: Device, state: State) -> bool:
    tried = {(failure.name, failure.version) for failure in state.failures}
    return (
        not offer.halted
        and offer.version > state.highest.get(offer.name, 0)
        and (offer.name, offer.version) not in tried
        and is_in_share(device.device, offer.version, offer.share)
    )


def _overlap(wanted: Iterable[str], mine: Iterable[str]) -> bool:
    wanted = set(wanted)
    return not wanted or bool(wanted & set(mine))
