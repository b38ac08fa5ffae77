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
SystemCallFilter=@system-service landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallErrorNumber=EPERM
CapabilityBoundingSet=
UMask=0077
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-alsa rw
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
        if not path.is_absolute() or any(not c.isprintable() or c in " %\"'\\$" for c in str(path)):
            raise InputError(f"systemd wants an absolute path without spaces, quotes, $ and %, got {path}")
    home = any(str(path).startswith(("/home/", "/root/")) for path in (config, command))
    return _TEXT.format(
        config=config, command=command, groups=" ".join(known_groups), watchdog=_WATCHDOG_S,
        protect_home="read-only" if home else "yes",
    )  # fmt: skip


def install(config: Path, unit: Path = UNIT, *, start: bool = True) -> str:
    """Write the unit, and enable and start it where systemd runs; returns what was done.

    Raises:
        InputError: the configuration cannot be read, or the service's own user could not reach a file.
        DeviceError: the unit cannot be written, or systemctl fails.
    """
    from edgeguard.run.settings import read_file

    config = config.resolve()
    model = read_file(config).get("model")
    command = own_command()
    needed = [command, config, *([Path(model)] if isinstance(model, str) and Path(model).is_absolute() else [])]
    problem = next(filter(None, map(_out_of_reach, needed)), None)
    start = start and _systemd_runs()
    if problem and start:
        raise InputError(problem)
    write_bytes(unit, unit_text(config, command, groups()).encode())
    if not start:
        then = f"wrote {unit}; start it with: systemctl enable --now {unit.stem}"
        return f"{then}. It will not start yet: {problem}" if problem else then
    for arguments in (["daemon-reload"], ["enable", "--now", unit.stem]):
        done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise DeviceError(f"systemctl {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
    return f"wrote {unit} and started it; see: journalctl -u {unit.stem} -f"


def own_command() -> Path:
    """The program that runs now: beside its Python, before any other of that name."""
    here = Path(sys.executable).parent / "edgeguard"
    return here.absolute() if here.exists() else Path(shutil.which("edgeguard") or here).absolute()


def _systemd_runs() -> bool:
    return Path("/run/systemd/system").is_dir()


def _out_of_reach(path: Path) -> str | None:
    closed = closed_to_others(path)
    if closed is None:
        return None
    return (
        f"the service runs as a user of its own, who may not read {path}: {closed} is for its owner only; "
        "put the files into /opt and /etc, or open that one with chmod"
    )


def closed_to_others(path: Path) -> Path | None:
    """The file, or the first folder on the way to it, that other users may not read or enter; None where all may.

    Example:
        >>> closed_to_others(Path("/etc/passwd")) is None
        True
    """
    real = path.resolve()
    for folder in reversed(real.parents):
        if folder.exists() and not folder.stat().st_mode & 0o001:
            return folder
    return real if real.exists() and not real.stat().st_mode & 0o004 else None


def groups() -> tuple[str, ...]:
    """Groups of this machine that cameras, microphones, serial ports and a Coral belong to."""
    import grp

    names = {entry.gr_name for entry in grp.getgrall()}
    return tuple(name for name in ("video", "audio", "dialout", "plugdev", "render") if name in names)
