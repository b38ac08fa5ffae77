"""The units of a device: the run under a user of its own, the agent by a timer with jitter."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="the extra fleet is not installed")
from edgeguard.errors import InputError
from edgeguard.fleet.units import unit_texts

ROOT, COMMAND = Path("/var/lib/edgeguard-fleet"), Path("/opt/edgeguard/bin/edgeguard")


def test_the_run_has_its_own_user_and_the_agent_counts_its_starts() -> None:
    texts = unit_texts(ROOT, COMMAND, "https://updates.example/cams", ("video",), mqtt="mqtts://broker.example")
    run = texts["edgeguard-fleet-run.service"].splitlines()
    assert "DynamicUser=yes" in run and "StateDirectory=edgeguard-fleet-run" in run and "Type=notify" in run
    assert f"ExecStartPre=+{COMMAND} fleet run --root {ROOT} --count-only" in run
    assert f"ExecStart={COMMAND} fleet run --root {ROOT} --counted" in run
    assert "WorkingDirectory=%S/edgeguard-fleet-run" in run
    agent = texts["edgeguard-fleet-agent.service"]
    assert "--once --systemd --mqtt mqtts://broker.example\n" in agent
    assert "RandomizedDelaySec=5min" in texts["edgeguard-fleet-agent.timer"]


@pytest.mark.parametrize(
    "url", ["https://x/%n", "https://x/ --once", 'https://x/"', "https://x/$HOME", "https://x/\udcff"]
)
def test_what_systemd_would_read_otherwise_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="systemd wants a URL"):
        unit_texts(ROOT, COMMAND, url, ())


@pytest.mark.parametrize("root", ["/srv/$HOME", "/srv/a b", "/srv/\udcff", "/srv/\x1b", "fleet"])
def test_a_folder_that_systemd_would_read_otherwise_is_refused(root: str) -> None:
    """A name that is no UTF-8 ended with exit code 70, and `$` was written as it is."""
    with pytest.raises(InputError, match="systemd wants an absolute path"):
        unit_texts(Path(root), COMMAND, "https://updates.example", ())


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    (tmp_path / "edgeguard").write_text("#!/bin/sh\n")
    (tmp_path / "edgeguard").chmod(0o755)
    for name, text in unit_texts(tmp_path, tmp_path / "edgeguard", "https://updates.example", ()).items():
        (tmp_path / name).write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", tmp_path / name], capture_output=True, text=True, timeout=120, check=False
        )
        assert "Unknown" not in done.stderr and "Failed to parse" not in done.stderr, done.stderr
