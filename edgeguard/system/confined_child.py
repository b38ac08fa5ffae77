"""A process of ours that reads what a stranger made: started, confined, asked, watched and ended."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from edgeguard.errors import DeviceError, InputError
from edgeguard.system.confine import Confinement, Limits, Reach, installed
from edgeguard.system.frames import Frame, FrameError, read_frame, write_frame
from edgeguard.system.leftovers import new_held_folder
from edgeguard.system.serving import SETTINGS
from edgeguard.system.usage import folder_bytes, memory_bytes, nameless_bytes, written_bytes

_BEGIN = "from edgeguard.system.serving import main; main()"
_LOOK_S = 0.05
_WRITTEN_TIMES = 4  # its folder's bytes: what it removes and writes again, or keeps without a name
_START_S = 60.0
_KEPT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LD_LIBRARY_PATH", "PYTHONHASHSEED")
_LIKE_NO_MEMORY = (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS)


class ConfinedChild:
    """A process that answers requests and can do nothing else; it lives from `start` to `end`.

    Args:
        service: `module:function`; the function is called once, inside, with the folder, and returns what answers.
        limits: see `Limits`.
        reach: what it may read beside the installed packages and the system's libraries.
        what: the process does, for messages: "the process that held the model".
        confined: False for code that the user trusts: it then has the user's environment and rights.
        environment: more variables for it.

    Example:
        >>> with ConfinedChild("mypackage.reader:make", what="the reader") as child:  # doctest: +SKIP
        ...     child.ask(Frame({"path": "model.bin"})).fields
    """

    def __init__(
        self,
        service: str,
        *,
        what: str,
        limits: Limits | None = None,
        reach: Reach | None = None,
        confined: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._service, self._what, self._confined = service, what, confined
        self._limits, self._reach = limits or Limits(), reach or Reach()
        self._extra = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._held = -1
        self._requests = self._answers = -1
        self._deadline = float("inf")
        self._over = threading.Event()
        self._verdict: str | None = None
        self._watch: threading.Thread | None = None
        self.confinement = Confinement("", "", "")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    @property
    def process_id(self) -> int:
        """Of the process, also when it is gone; 0 before it started."""
        return 0 if self._process is None else self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative: the signal that ended it."""
        return None if self._process is None else self._process.poll()

    def start(self) -> Confinement:
        """Start it.

        Returns:
            What confines it on this system.

        Raises:
            DeviceError: it did not start.
        """
        self._folder, self._held = new_held_folder()
        theirs_in, self._requests = os.pipe()
        self._answers, theirs_out = os.pipe()
        settings = {
            "path": [p for p in sys.path if p] if self._confined else [p or str(Path.cwd()) for p in sys.path],
            "parent": os.getpid(),
            "folder": str(self._folder),
            "requests": theirs_in,
            "answers": theirs_out,
            "confined": self._confined,
            "readable": [str(path) for path in (*self._reach.readable, *installed())],
            "limits": asdict(self._limits),
            "service": self._service,
        }
        try:
            # not an argument: those hold 128 KiB, and a model may name a thousand files beside it
            (self._folder / SETTINGS).write_text(json.dumps(settings))
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BEGIN, str(self._folder / SETTINGS)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environment(),
                pass_fds=(theirs_in, theirs_out),
                start_new_session=True,
            )
        except OSError as error:
            raise DeviceError(f"{self._what} cannot be started: {error.strerror}") from error
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._watch = threading.Thread(target=self._look, name="edgeguard-watch", daemon=True)
        self._watch.start()
        begun = self._receive(_START_S, 0)
        self.confinement = Confinement(*(str(begun.fields.get(name, "")) for name in ("files", "network", "calls")))
        return self.confinement

    def ask(self, request: Frame, *, most_bytes: int = 1 << 31, wall_s: float | None = None) -> Frame:
        """Send a request and wait for its answer.

        Args:
            request: for the service.
            most_bytes: that the answer may have.
            wall_s: instead of the limits' own.

        Raises:
            InputError: it broke a limit, crashed, or answered with what is no answer: the file is to blame.
            DeviceError: the process is gone.
        """
        wait_s = self._limits.wall_s if wall_s is None else wall_s
        self._deadline = time.monotonic() + wait_s
        try:
            write_frame(self._requests, request)
        except OSError as gone:
            raise self._gone() from gone
        return self._receive(wait_s, most_bytes)

    def end(self) -> None:
        """End it and remove its folder; twice is fine."""
        self._over.set()
        if self._process is not None:
            self._kill()
            self._process.wait()
        if self._watch is not None and self._watch.is_alive() and self._watch is not threading.current_thread():
            self._watch.join()
        for stream in (self._requests, self._answers):
            with suppress(OSError):
                os.close(stream)
        self._requests = self._answers = -1
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def _receive(self, wait_s: float, most_bytes: int) -> Frame:
        self._deadline = time.monotonic() + wait_s
        try:
            return read_frame(self._answers, most_bytes=most_bytes)
        except FrameError as error:
            self._kill()
            raise InputError(f"{self._what} answered with {error}") from error
        except (EOFError, OSError) as gone:
            raise self._gone() from gone
        finally:
            self._deadline = float("inf")

    def _gone(self) -> InputError | DeviceError:
        """Why it is gone."""
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(3)
        if self._verdict is not None:
            return InputError(f"{self._what} was ended: {self._verdict}")
        number = -(self._process.poll() or 0)
        if number == signal.SIGXCPU:
            return InputError(f"{self._what} was ended: it took {self._limits.cpu_s} s of processor time")
        if number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGSYS):
            return InputError(f"{self._what} crashed ({signal.Signals(number).name}): the file is damaged or hostile")
        if number == signal.SIGXFSZ:
            return InputError(f"{self._what} was ended: it wrote more than {self._limits.folder_bytes} bytes")
        why = f" ({signal.Signals(number).name}: out of memory?)" if number in _LIKE_NO_MEMORY else ""
        return DeviceError(f"{self._what} is gone{why}")

    def _look(self) -> None:
        """Watch it until it is over."""
        assert self._process is not None and self._folder is not None
        most, size = self._limits.memory_bytes, self._limits.folder_bytes
        process, alone = self._process.pid, not self._limits.processes
        while not self._over.wait(_LOOK_S) and self._process.poll() is None:
            if time.monotonic() > self._deadline:
                self._end_because("it gave no answer in time")
            if not self._confined:
                continue
            if memory_bytes(process, alone=alone) > most:
                self._end_because(f"it took more than {most / 1e9:.1f} GB of memory")
            elif folder_bytes(self._folder, size) + nameless_bytes(process, alone=alone) > size:
                self._end_because(f"it wrote more than {size / 1e9:.1f} GB (a file counts as 64 kB at least)")
            elif written_bytes(process, alone=alone) > _WRITTEN_TIMES * size:
                self._end_because(f"it wrote more than {_WRITTEN_TIMES * size / 1e9:.1f} GB in all")

    def _end_because(self, verdict: str) -> None:
        self._verdict = self._verdict or verdict
        self._kill()

    def _kill(self) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _environment(self) -> dict[str, str]:
        if not self._confined:
            return {**os.environ, **self._extra}
        folder = str(self._folder)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            **dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), folder),
            "USER": "edgeguard",
            "LOGNAME": "edgeguard",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            **kept,
            **self._extra,
        }
