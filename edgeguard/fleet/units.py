"""systemd units of a device in a fleet: the run, and the agent by a timer with jitter."""

from pathlib import Path

from edgeguard.errors import InputError
from edgeguard.fleet.service import RUN_STATE, UNIT
from edgeguard.run.service import unit_text

AGENT = "edgeguard-fleet-agent"
_AGENT_TEXT = """\
# Written by edgeguard fleet units
[Unit]
Description=EdgeGuard fleet: look for a new bundle
After=network-online.target time-sync.target
Wants=network-online.target

[Service]
Type=oneshot
ExecStart={command} fleet agent --repository {url} --root {root} --once --systemd{mqtt}
TimeoutStartSec=30min
MemoryMax=512M
Nice=10
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={root} -/var/lib/private/edgeguard-fleet-run
ProtectHome=yes
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
LockPersonality=yes
"""
_TIMER_TEXT = """\
# Written by edgeguard fleet units
[Unit]
Description=EdgeGuard fleet: when to look for a new bundle

[Timer]
OnBootSec=2min
OnUnitActiveSec={every}min
RandomizedDelaySec={jitter}min
FixedRandomDelay=yes

[Install]
WantedBy=timers.target
"""


def unit_texts(
    root: Path, command: Path, url: str, groups: tuple[str, ...], *, every_min: int = 15, mqtt: str | None = None
) -> dict[str, str]:
    """The units by their file names.

    Args:
        root: the device's folder.
        command: absolute path of the edgeguard program.
        url: of the repository.
        groups: as for `run.service.unit_text`.
        every_min: minutes between looks; up to a third more is added by chance.
        mqtt: the broker's URL.

    Raises:
        InputError: a path or URL that systemd would read in another way.
    """
    for text in (url, mqtt or ""):
        if any(not c.isprintable() or c in " %\"'\\$" for c in text):
            raise InputError(f"systemd wants a URL without spaces, quotes, $ and %, got {text}")
    run = unit_text(root / "device.json", command, groups)
    lines, state = [], f"StateDirectory={RUN_STATE.name}"
    for line in run.splitlines():
        if line.startswith("ExecStart="):  # the state is the agent's: the run's own user cannot change it
            lines.append(f"ExecStartPre=+{command} fleet run --root {root} --count-only")
            line = f"ExecStart={command} fleet run --root {root} --counted"
        elif line.startswith("#"):
            line = "# Written by edgeguard fleet units"
        lines.append(line.replace("StateDirectory=edgeguard", state).replace("%S/edgeguard", "%S/edgeguard-fleet-run"))
    agent = _AGENT_TEXT.format(command=command, url=url, root=root, mqtt="" if mqtt is None else f" --mqtt {mqtt}")
    timer = _TIMER_TEXT.format(every=every_min, jitter=max(every_min // 3, 1))
    return {UNIT: "\n".join(lines) + "\n", f"{AGENT}.service": agent, f"{AGENT}.timer": timer}
