"""Digests of what the package computes, as JSON lines; the same on every machine. Run natively and under emulation.

    python tests/release/digests.py [--expect FILE]

With --expect, every line is compared with the file as it appears, and a difference is exit code 1.
"""

import hashlib
import io
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from edgeguard.dct.color import Color
from edgeguard.dct.libjpeg import libjpeg_path
from edgeguard.dct.native_kernel import INSTRUCTION_SETS, instruction_sets, sanitize_native
from edgeguard.demo.assets import bundled_model
from edgeguard.guard import GuardProfile, encode_jpeg, proof_of, sanitize_jpeg
from edgeguard.model import load_model
from edgeguard.preprocess.crop_resize import crop_and_resize
from edgeguard.preprocess.requantize import requantize_jpeg, requantized_tensor
from edgeguard.smoothing.certify import SmoothingPlan, certify
from edgeguard.smoothing.deployed import DeployedFunction
from edgeguard.smoothing.integer_noise import IntegerNoise

COLORS: tuple[Color, ...] = ("rgb", "gray", "ycbcr444", "ycbcr422", "ycbcr420")


def digest(array: np.ndarray[Any, Any] | bytes) -> str:
    """A short SHA-256."""
    return hashlib.sha256(array if isinstance(array, bytes) else np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def random_frame(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Noise or a smooth picture of any size."""
    height, width = rng.integers(1, 140, 2)
    if rng.integers(2):
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    rows, columns = np.arange(height)[:, None, None], np.arange(width)[None, :, None]
    return ((rows * 3 + columns * 5 + rng.integers(0, 256, 3)) // 2 % 256).astype(np.uint8)


def kernel() -> Iterator[tuple[str, str]]:
    """Every colour on random frames and tables, whole and fused with the resize."""
    rng = np.random.default_rng(7)
    for color in COLORS:
        total = hashlib.sha256()
        for _ in range(120):
            frame = random_frame(rng)
            tables = rng.integers(1, 1 << int(rng.integers(2, 9)), (1 if color == "gray" else 3, 64)).clip(1, 255)
            profile = GuardProfile("x", color, tuple(tuple(t) for t in tables.tolist()))
            total.update(sanitize_native(frame, profile).tobytes())
            model = SimpleNamespace(width=int(rng.integers(1, 50)), height=int(rng.integers(1, 50)))
            crop = SimpleNamespace(crop="center", crop_fraction=0.9)
            if model.width < frame.shape[1] // 2 and model.height < frame.shape[0] // 2:
                total.update(crop_and_resize(frame, model, crop, profile=profile, signed=True).tobytes())
        yield f"kernel {color}", total.hexdigest()[:16]


def proofs() -> Iterator[tuple[str, str]]:
    """Both passes of the tables from the proof, with their room and the rounding that helps, and pass 2's margins."""
    rng = np.random.default_rng(11)
    for name in ("proof-1", "proof-2", "proof-3"):
        total, profile = hashlib.sha256(), GuardProfile.preset(name)
        for _ in range(40):
            first = sanitize_native(random_frame(rng), profile, which="first")
            total.update(first.tobytes() + sanitize_native(first, profile, which="second").tobytes())
            found = proof_of(first, profile)
            total.update(b"none" if found is None else f"{found.margin_levels:.3f}".encode())
        yield f"proof {name}", total.hexdigest()[:16]


def compressed() -> Iterator[tuple[str, str]]:
    """JPEGs of each sampling, requantised to frames, tensors and files."""
    picture = np.random.default_rng(3).integers(0, 256, (30, 40, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    model, crop = SimpleNamespace(width=96, height=96), SimpleNamespace(crop="center", crop_fraction=0.875)
    kinds: dict[str, dict[str, Any]] = {
        "444": {"subsampling": 0}, "422": {"subsampling": 1}, "420": {"progressive": True},
    }  # fmt: skip
    for name, options in kinds.items():
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=85, **options)
        for guard in ("fd-jpeg", "jpeg:60"):
            profile = GuardProfile.preset(guard)
            for scale in (1, 2):
                frame = sanitize_jpeg(buffer.getvalue(), profile, scale=scale)
                tensor = requantized_tensor(buffer.getvalue(), profile, model, crop, scale)
                yield f"jpeg {name} {guard} 1/{scale}", digest(frame) + digest(tensor)
            yield f"file {name} {guard}", digest(requantize_jpeg(buffer.getvalue(), profile))
    yield "pass 1", digest(encode_jpeg(picture, GuardProfile.preset("fd-jpeg")))


def inference() -> Iterator[tuple[str, str]]:
    """The bundled model on a fixed picture, with XNNPACK and with the reference kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    path = bundled_model()
    rng = np.random.default_rng(5)
    for resolver in (OpResolverType.AUTO, OpResolverType.BUILTIN_REF):
        interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver, num_threads=1)
        interpreter.allocate_tensors()
        names = [operator["op_name"] for operator in interpreter._get_ops_details()]
        if resolver == OpResolverType.AUTO:
            yield "XNNPACK applied", str("DELEGATE" in names)
        (source,), target = interpreter.get_input_details(), interpreter.get_output_details()[0]
        pixels = np.random.default_rng(6).integers(0, 256, source["shape"]).astype(np.uint8)
        interpreter.set_tensor(source["index"], pixels.view(source["dtype"]) if pixels.itemsize == 1 else pixels)
        interpreter.invoke()
        yield f"inference {resolver.name}", digest(interpreter.get_tensor(target["index"]).copy())
    model = load_model(path)
    frames = [rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) for _ in range(3)]
    yield "labels", " ".join(str(model(frame).index) for frame in frames)


def noise() -> Iterator[tuple[str, str]]:
    """Noise in whole levels, and what noisy copies of a picture say of the bundled model."""
    for sigma in (0.01, 0.25):
        yield f"noise {sigma}", digest(IntegerNoise(sigma)(10_000, np.random.default_rng(1)))
    model = load_model(bundled_model())
    received = model.input_path.arrive(np.random.default_rng(8).integers(0, 256, (96, 128, 3), dtype=np.uint8))
    function = DeployedFunction(model, model.input_path)
    plan = SmoothingPlan(0.25, draws=20, choosing=5)
    found = certify(
        function.of(received), function.pixels(received), IntegerNoise(0.25), plan, np.random.default_rng(2)
    )
    yield "noisy copies", json.dumps([found.chosen, found.votes, found.radius])


def main() -> int:
    """Print the digests, or compare them."""
    expected = {}
    if len(sys.argv) == 3 and sys.argv[1] == "--expect":
        expected = json.loads(Path(sys.argv[2]).read_text())
    found: dict[str, str] = {}
    print(f"{platform.machine()}: {instruction_sets()}, {libjpeg_path()}", file=sys.stderr)
    if not instruction_sets() or instruction_sets()[-1] not in INSTRUCTION_SETS or libjpeg_path() is None:
        print("the native library or libjpeg is missing", file=sys.stderr)
        return 1
    for part in (kernel, proofs, compressed, inference, noise):
        for name, value in part():
            found[name] = value
            if expected and expected.get(name) != value:
                print(f"{name}: {value} here, {expected.get(name)} there", file=sys.stderr)
    if "False" in found.values():
        print("XNNPACK was not applied", file=sys.stderr)
        return 1
    if not expected:
        print(json.dumps(found, indent=1))
        return 0
    equal = sum(expected.get(name) == value for name, value in found.items())
    print(f"{equal} of {len(expected)} digests are the expected ones")
    return 0 if found == expected else 1


if __name__ == "__main__":
    sys.exit(main())
