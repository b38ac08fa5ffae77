"""As a systemd service: the unit's text, and its installation."""

import shutil
import subprocess
import sys
from pathlib import Path

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.files import write_bytes

UNIT = Path("/etc/systemd/system/edgeguard.service")
_WATCHDOG_S = 60

_TEXT = """\
# Written by edgeguard service install; what edgeguard run does stands in {config}
[Unit]
Description=EdgeGuard: a defended vision model on a camera
Documentation=man:systemd.exec(5)
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} run --config {config}
Restart=on-failure
RestartSec=5
WatchdogSec={watchdog}
TimeoutStopSec=20
DynamicUser=yes
SupplementaryGroups={groups}
StateDirectory=edgeguard
WorkingDirectory=%S/edgeguard
Environment=PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={protect_home}
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
CapabilityBoundingSet=
UMask=0077
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-ttyUSB rw
DeviceAllow=char-ttyACM rw
DeviceAllow=char-usb_device rw
DeviceAllow=/dev/dma_heap rw

[Install]
WantedBy=multi-user.target
"""


def unit_text(config: Path, command: Path, known_groups: tuple[str, ...]) -> str:
    """The unit: hardened, restarted on failure, watched.

    Args:
        config: absolute path of the run's configuration file.
        command: absolute path of the edgeguard program.
        known_groups: of video, dialout and plugdev those that this machine has.
    """
    for path in (config, command):
        if not path.is_absolute() or any(c.isspace() or c in "%\"'\\" for c in str(path)):
            raise InputError(f"systemd wants an absolute path without spaces, quotes and %, got {path}")
    home = any(str(path).startswith(("/home/", "/root/")) for path in (config, command))
    return _TEXT.format(
        config=config, command=command, groups=" ".join(known_groups), watchdog=_WATCHDOG_S,
        protect_home="read-only" if home else "yes",
    )  # fmt: skip


def install(config: Path, unit: Path = UNIT, *, start: bool = True) -> str:
    """Write the unit, and enable and start it where systemd runs; returns what was done.

    Raises:
        InputError: the configuration cannot be read.
        DeviceError: the unit cannot be written, or systemctl fails.
    """
    from edgeguard.run.settings import read_file

    config = config.resolve()
    read_file(config)
    command = shutil.which("edgeguard") or str(Path(sys.executable).parent / "edgeguard")
    write_bytes(unit, unit_text(config, Path(command).absolute(), groups()).encode())
    if not start or not Path("/run/systemd/system").is_dir():
        return f"wrote {unit}; start it with: systemctl enable --now {unit.stem}"
    for arguments in (["daemon-reload"], ["enable", "--now", unit.stem]):
        done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DeviceError(f"systemctl {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
    return f"wrote {unit} and started it; see: journalctl -u {unit.stem} -f"


def groups() -> tuple[str, ...]:
    """Groups of this machine that cameras, serial ports and a Coral belong to."""
    import grp

    names = {entry.gr_name for entry in grp.getgrall()}
    return tuple(name for name in ("video", "dialout", "plugdev", "render") if name in names)
