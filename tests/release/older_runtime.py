"""The same wheel with tflite-runtime, the older and smaller runtime, in the place of ai-edge-litert."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from release.checks import Reference, check_demo, doctor, results
from release.environments import Environment
from release.steps import ReleaseError

#: Its wheels are for Python 3.11 and older, and for numpy 1; so is the newest OpenCV that takes numpy 1.
VERSION = "3.11"
_INSTEAD = {
    "ai-edge-litert": "tflite-runtime==2.14.0",
    "numpy": "numpy==1.26.4",
    "opencv-python-headless": "opencv-python-headless==4.11.0.86",
}


def requirements(wheel: Path) -> list[str | Path]:
    """What a wheel asks for without any extra, with the older runtime and what it accepts."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    wanted = [line.partition(": ")[2] for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    base = [requirement for requirement in wanted if "extra ==" not in requirement]
    names = {requirement: requirement.partition(">")[0].strip() for requirement in base}
    if set(_INSTEAD) - set(names.values()):
        raise ReleaseError(f"{wheel.name} does not ask for {', '.join(set(_INSTEAD) - set(names.values()))}")
    return [_INSTEAD.get(names[requirement], requirement) for requirement in base]


def check_older_runtime(environment: Environment, reference: Reference) -> Iterator[str]:
    """Doctor names it, the demo runs, and `run` gives the labels that the other runtime gives."""
    found = doctor(environment)
    if not found["runtime"].startswith("tflite-runtime 2.14.0"):
        raise ReleaseError(f"{environment.name}: doctor says: {found['runtime']}")
    yield f"doctor: {found['python']}; {found['runtime']}; {found['sanitizer']}"
    yield check_demo(environment)
    labels = [result["label"] for result in results(environment, reference, None)]
    if labels != reference.labels:
        raise ReleaseError(f"{environment.name}: {labels}, with ai-edge-litert {reference.labels}")
    yield f"run: the same labels on {len(labels)} frames"
