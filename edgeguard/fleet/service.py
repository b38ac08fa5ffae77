"""The run that is updated: a unit of systemd, or a child of the agent where there is no systemd.

Both start `edgeguard fleet run`, which counts the start, picks the current slot and becomes `edgeguard run`.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edgeguard.errors import DeviceError

UNIT = "edgeguard-fleet-run.service"
#: What systemd gives the unit to write in; its user is the unit's own.
RUN_STATE = Path("/var/lib/edgeguard-fleet-run")
_END_WITHIN_S = 10.0


class Service(Protocol):
    """What the agent needs of the run."""

    def restart(self) -> None:
        """Start the current bundle anew."""

    def stop(self) -> None:
        """End the run."""

    def is_ready(self) -> bool:
        """Whether it said READY=1 (sd_notify) since it was started."""

    def death(self) -> str | None:
        """Why it does not run any more; None while it does."""


class ChildService:
    """The run as a child process, with a notification socket of ours.

    Args:
        command: that starts it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._ready = False
        self._said: deque[bytes] = deque(maxlen=5)

    def restart(self) -> None:
        """See `Service`.

        Raises:
            DeviceError: no process can be started.
        """
        self.stop()
        name = f"edgeguard-fleet-{os.getpid()}-{secrets.token_hex(4)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(f"\0{name}")
        self._socket.setblocking(False)
        self._ready = False
        self._said = deque(maxlen=5)
        environment = {**os.environ, "NOTIFY_SOCKET": f"@{name}"}
        try:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                env=environment, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise DeviceError(f"cannot start the run: {error.strerror}") from error
        threading.Thread(target=self._listen, args=(self._process, self._said), daemon=True).start()

    def stop(self) -> None:
        """See `Service`; what does not end is killed, with what it started."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(_END_WITHIN_S)
            except subprocess.TimeoutExpired:
                pass
        if process is not None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
            process.wait()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def is_ready(self) -> bool:
        """See `Service`."""
        while self._socket is not None and not self._ready:
            try:
                said = self._socket.recv(4096)
            except (BlockingIOError, OSError):
                break
            self._ready = b"READY=1" in said.splitlines()
        return self._ready

    def death(self) -> str | None:
        """See `Service`."""
        if self._process is None:
            return "it is not started"
        code = self._process.poll()
        if code is None:
            return None
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        last = b" ".join(self._said[-1].split()).decode(errors="replace")[:120] if self._said else "it said nothing"
        return f"{how}: {last}"

    @staticmethod
    def _listen(process: subprocess.Popen[bytes], said: deque[bytes]) -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            while line := stream.readline(4096):
                said.append(line)


class SystemdService:
    """The run as a unit that systemd starts, watches and restarts.

    Args:
        unit: its name.
    """

    def __init__(self, unit: str = UNIT) -> None:
        self._unit = unit
        self._restarts = 0

    def restart(self) -> None:
        """See `Service`.

        Raises:
            DeviceError: systemctl does not do it.
        """
        self._call("reset-failed")
        self._restarts = int(self._shown().get("NRestarts") or 0)
        done = self._call("restart", "--no-block")
        if done.returncode != 0:
            raise DeviceError(f"systemctl restart {self._unit}: {done.stderr.strip() or done.returncode}")

    def stop(self) -> None:
        """See `Service`."""
        self._call("stop")

    def is_ready(self) -> bool:
        """See `Service`; a unit of Type=notify is active when it said so."""
        return self._shown().get("ActiveState") == "active"

    def death(self) -> str | None:
        """See `Service`."""
        shown = self._shown()
        if int(shown.get("NRestarts") or 0) > self._restarts or shown.get("ActiveState") == "failed":
            return f"systemd: {shown.get('Result', 'failed')}, exit code {shown.get('ExecMainStatus', '?')}"
        return None

    def _shown(self) -> dict[str, str]:
        done = self._call("show", "--property=ActiveState,NRestarts,Result,ExecMainStatus")
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)

    def _call(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["systemctl", verb, *words, self._unit], capture_output=True, text=True, timeout=60, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(f"systemctl {verb} {self._unit}: {error}") from error


def edgeguard_command(*words: str) -> list[str]:
    """The command line of this very installation, with these words."""
    return [sys.executable, "-c", "from edgeguard.cli.main import main; main()", *words]
