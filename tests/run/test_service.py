"""The unit that systemd gets, and what systemd is told."""

import configparser
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from programs import needed

from edgeguard.errors import InputError
from edgeguard.run import service
from edgeguard.run.notify import notify
from edgeguard.run.service import groups, install, unit_text

CONFIG, COMMAND = Path("/etc/edgeguard.toml"), Path("/opt/edgeguard/bin/edgeguard")


def test_the_unit_is_hardened_and_watched() -> None:
    unit = configparser.ConfigParser(strict=False)
    setattr(unit, "optionxform", str)  # noqa: B010  # keys keep their case; a method for mypy
    unit.read_string(unit_text(CONFIG, COMMAND, ("video", "dialout")))
    service = unit["Service"]
    assert service["ExecStart"] == "/opt/edgeguard/bin/edgeguard run --config /etc/edgeguard.toml"
    assert service["Type"] == "notify" and int(service["WatchdogSec"]) > 0 and service["DynamicUser"] == "yes"
    assert service["SupplementaryGroups"] == "video dialout" and service["ProtectSystem"] == "strict"
    assert "landlock_restrict_self" in service["SystemCallFilter"] and service["SystemCallErrorNumber"] == "EPERM"
    assert "ProtectHome=read-only" in unit_text(Path("/home/pi/e.toml"), COMMAND, ())


def test_systemd_takes_it(tmp_path: Path) -> None:
    analyze, command = needed("systemd-analyze"), needed("true")
    path = tmp_path / "edgeguard.service"
    path.write_text(unit_text(CONFIG, Path(command), groups()))
    done = subprocess.run([analyze, "verify", path], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if path.name in line]
    assert not said, said


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    config, unit = tmp_path / "e.toml", tmp_path / "edgeguard.service"
    config.write_text("[camera]\nsorce = 1\n")
    with pytest.raises(InputError, match="e.toml:2"):
        install(config, unit)
    assert not unit.exists()
    config.write_text('[camera]\nsource = "0"\n')
    _open_to_others(tmp_path)
    assert "start it with: systemctl enable --now edgeguard" in install(config, unit, start=False)
    assert f"--config {config}" in unit.read_text()
    with pytest.raises(InputError, match="without spaces"):
        unit_text(Path("/a b"), COMMAND, ())


def _open_to_others(folder: Path) -> None:
    """pytest's folders are for their owner only."""
    for each in (folder, *folder.parents):
        if each.stat().st_uid == os.getuid() and each != Path("/"):
            each.chmod(each.stat().st_mode | 0o055)


def test_what_the_services_user_cannot_reach_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home" / "pi"
    program = home / "edgeguard" / "bin" / "python3"
    program.parent.mkdir(parents=True)
    program.with_name("edgeguard").write_text("#!/bin/sh\n")
    program.with_name("edgeguard").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    config, unit = tmp_path / "e.toml", tmp_path / "edgeguard.service"
    config.write_text('[camera]\nsource = "0"\n')
    _open_to_others(tmp_path)
    home.chmod(0o700)  # as new systems make them
    monkeypatch.setattr(service, "_systemd_runs", lambda: True)
    with pytest.raises(InputError, match=f"may not read {program.with_name('edgeguard')}: {home} is for its owner"):
        install(config, unit)
    assert not unit.exists()
    assert "It will not start yet: the service runs as a user of its own" in install(config, unit, start=False)
    home.chmod(0o755)
    model = home / "model.tflite"
    model.touch(0o600)
    model.chmod(0o600)
    config.write_text(f'[camera]\nsource = "0"\n[model]\nmodel = "{model}"\n')
    with pytest.raises(InputError, match=f"may not read {model}: {model} is for its owner"):
        install(config, unit)
    model.chmod(0o644)
    assert "yet" not in install(config, unit, start=False)
    assert f"ExecStart={program.with_name('edgeguard')} run" in unit.read_text()


def test_notifications(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert notify("READY=1") is False
    for address in (str(tmp_path / "notify"), f"@edgeguard-test-{os.getpid()}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
            monkeypatch.setenv("NOTIFY_SOCKET", address)
            assert notify("WATCHDOG=1") is True and systemd.recv(100) == b"WATCHDOG=1"
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    assert notify("READY=1") is False
