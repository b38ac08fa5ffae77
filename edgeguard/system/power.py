"""Temperature and throttling of a Raspberry Pi, where the system tells."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_THERMAL = Path("/sys/class/thermal/thermal_zone0/temp")
_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
#: Bits of the firmware's word (Raspberry Pi documentation, `vcgencmd get_throttled`); the same 16 higher: since boot.
BITS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}


@dataclass(frozen=True)
class Power:
    """What the system says now; None where it does not.

    Attributes:
        celsius: of the processor.
        now, since_boot: names of the limits that hold, and that held since the start.
    """

    celsius: float | None
    now: tuple[str, ...] | None
    since_boot: tuple[str, ...] | None

    @property
    def slowed(self) -> bool:
        """The processor is slower than it could be."""
        return bool(self.now)


def read_power(thermal: Path = _THERMAL, throttled: Path = _THROTTLED) -> Power:
    """Read the system's files; cheap enough for once a second.

    Example:
        >>> read_power(Path("no-such-file"), Path("no-such-file"))
        Power(celsius=None, now=None, since_boot=None)
    """
    try:
        celsius = int(thermal.read_text()) / 1000
    except (OSError, ValueError):
        celsius = None
    word = _throttled_word(throttled)
    if word is None:
        return Power(celsius, None, None)
    now = tuple(name for bit, name in BITS.items() if word >> bit & 1)
    return Power(celsius, now, tuple(name for bit, name in BITS.items() if word >> (bit + 16) & 1))


def _throttled_word(path: Path) -> int | None:
    """The firmware's word, from the kernel's file or, where an older kernel has none, from vcgencmd."""
    try:
        return int(path.read_text(), 16)
    except (OSError, ValueError):
        pass
    if shutil.which("vcgencmd") is None:
        return None
    try:
        done = subprocess.run(["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=2, check=True)
        return int(done.stdout.strip().partition("=")[2], 16)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
