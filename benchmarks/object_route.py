"""Which files an object visits on its way through the product, in order, and how often it comes back.

For `train` the object is the configuration. For `convert` it is the model in every form that it takes: its path, the
loaded source, the float graph, a parsed .tflite or its bytes. A file is *visited* when one of its functions is called
with the object as an argument, directly or in a field of an argument of ours, and again when such a call hands control
back to a function that still holds the object. Each call site counts once, at its first call, so that loops over
batches do not count. A *return* is a visit to a file that the object had left before. Files about errors, settings and
logging are left out, and so is the file that defines the object's own class (reading its attributes is no trip).
Processes that the command starts are not followed.

    python benchmarks/object_route.py convert model.pt2 [convert's options]
    python benchmarks/object_route.py train config.toml [train's options]

Options of the command come as they are; `--routes` prints the files in order.
"""

import dataclasses
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOTS = ("edgeguard/", "edgeguard_converters/")
LEFT_OUT = ("errors.py", "settings.py", "settings_file.py", "log.py", "quiet.py", "progress.py", "logging.py")
#: Names of the classes whose instances are followed, by command; subclasses count.
FOLLOWED = {"convert": ("Source", "FloatGraph", "TfliteGraph"), "train": ("TrainConfig",)}


class RouteTracer:
    """Collects the route of the objects that `is_followed` accepts, as a profile function of `sys.setprofile`."""

    def __init__(self, is_followed: Callable[[Any], bool]) -> None:
        self.route: list[str] = []
        self._is_followed = is_followed
        self._seen: set[tuple[CodeType, int, CodeType]] = set()
        self._files: dict[CodeType, str | None] = {}
        self._holders: list[tuple[FrameType, str]] = []

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        """Called by the interpreter for each call."""
        if event == "return" and self._holders and self._holders[-1][0] is frame:
            self._holders.pop()
            if self._holders:
                self._visit(self._holders[-1][1])
        if event != "call":
            return
        code, caller = frame.f_code, frame.f_back
        file = self._files[code] if code in self._files else self._files.setdefault(code, own_file(code))
        if file is None or caller is None:
            return
        site = (caller.f_code, caller.f_lineno, code)
        if site in self._seen or not self._carries(frame, file):
            return
        self._seen.add(site)
        self._holders.append((frame, file))
        self._visit(file)

    def _visit(self, file: str) -> None:
        if not self.route or self.route[-1] != file:
            self.route.append(file)

    def _carries(self, frame: FrameType, file: str) -> bool:
        code = frame.f_code
        count = code.co_argcount + code.co_kwonlyargcount
        for name in code.co_varnames[:count]:
            value = frame.f_locals.get(name)
            if self._is_followed(value):
                if file != own_module(type(value)):
                    return True
            elif any(self._is_followed(field) for field in fields_of(value)):
                return True
        return False


def own_file(code: CodeType) -> str | None:
    """The path inside the project of a function of ours that counts, else None."""
    for root in ROOTS:
        place = code.co_filename.rfind("/" + root)
        if place >= 0 and Path(code.co_filename).name not in LEFT_OUT and code.co_name != "<module>":
            return code.co_filename[place + 1 :]
    return None


def own_module(kind: type) -> str:
    """The file of a class, as `own_file` writes it."""
    return kind.__module__.replace(".", "/") + ".py"


def fields_of(value: object) -> list[object]:
    """What an object of ours holds directly; nothing for others."""
    if isinstance(value, type) or not type(value).__module__.startswith(("edgeguard", "edgeguard_converters")):
        return []
    if dataclasses.is_dataclass(value):
        return [value.__dict__.get(field.name) for field in dataclasses.fields(value) if hasattr(value, "__dict__")]
    return list(getattr(value, "__dict__", {}).values())


def returns(route: list[str]) -> int:
    """How many of a route's visits are to a file that was left before.

    Example:
        >>> returns(["a.py", "b.py", "a.py", "c.py", "b.py"])
        2
    """
    return len(route) - len(set(route))


def follower(names: tuple[str, ...], path: Path | None) -> Callable[[Any], bool]:
    """Accepts instances of classes of ours with these names, their subclasses, and the given path."""
    known: dict[type, bool] = {}

    def is_followed(value: object) -> bool:
        kind = type(value)
        if kind not in known:
            known[kind] = any(base.__name__ in names and own_module(base).startswith(ROOTS) for base in kind.__mro__)
        return known[kind] or (isinstance(value, Path) and value == path) or is_tflite(value)

    return is_followed


def is_tflite(value: object) -> bool:
    """True for the bytes of a TensorFlow Lite file."""
    return isinstance(value, bytes | bytearray) and value[4:8] == b"TFL3"


def main() -> None:
    """Run the command under the tracer and print the counts."""
    shown = "--routes" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--routes"]
    if len(arguments) < 2 or arguments[0] not in FOLLOWED:
        sys.exit(__doc__)
    from edgeguard.cli.main import main as edgeguard

    tracer = RouteTracer(follower(FOLLOWED[arguments[0]], Path(arguments[1]) if arguments[0] == "convert" else None))
    sys.argv = ["edgeguard", *arguments]
    threading.setprofile(tracer)
    sys.setprofile(tracer)
    try:
        edgeguard()
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        sys.setprofile(None)
    if shown:
        print("\n".join(tracer.route))
    print(
        f"{arguments[0]}: {len(set(tracer.route))} files, {len(tracer.route)} visits, {returns(tracer.route)} returns"
    )


if __name__ == "__main__":
    main()
