"""How well the twins of detectors follow the interpreter, on files of the usual layouts.

    python benchmarks/detector_layouts.py PHOTOGRAPHS --backbone mobilenet_v2_1.0_224_quant.tflite --output layouts/

- `ssd-uint8`: a published uint8 MobileNet with the heads of an SSD grafted on two of its maps (weights drawn from the
  seed), and TFLite_Detection_PostProcess on uint8 tensors, as the SSDs of the Coral and TensorFlow zoos have it.
- `efficientdet-int8`: an EfficientDet-like network (swish, a top-down and bottom-up pyramid, separable heads), int8 by
  the converter's quantizer, then dequantised into the same operator, as EfficientDet-Lite's files have it.
- `yolo-int8`: a YOLO v8-like network (SiLU, distributions of distances decoded inside), int8 by `edgeguard convert`.

Weights are drawn, not trained: what is measured is arithmetic, on 50 photographs. Each line is one file: the largest
difference of a box's edge in pixels of the input, and of a score in steps of its quantisation.
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgeguard.datasets.images import LabeledImage, read_folder
from edgeguard.evaluate.detectors.twin import detector_agreement, detector_twin
from edgeguard.jpeg.decode import decode_rgb
from edgeguard.model import load_model

_CLASSES = 20
_PER_CELL = 3
_PHOTOGRAPHS = 50


def main() -> None:
    """Build, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--backbone", type=Path, help="a uint8 MobileNet of the Coral zoo")
    parser.add_argument("--output", type=Path, required=True)
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    images = read_folder(chosen.photographs)
    frames = [decode_rgb(image.content()) for image in images[:_PHOTOGRAPHS]]  # type: ignore[arg-type]  # images of files know their bytes
    made = {
        "ssd-uint8": lambda path: ssd(chosen.backbone, path),
        "efficientdet-int8": lambda path: efficientdet(images[100:180], path),
        "yolo-int8": lambda path: yolo(images[100:180], path),
    }
    for name, make in made.items():
        path = chosen.output / f"{name}.tflite"
        if not path.exists():
            make(path)
        found = detector_agreement(detector_twin(path), load_model(path), frames)
        print(f"{name}: {found.line}", flush=True)


class Graft:
    """Adds tensors and operators to a .tflite."""

    def __init__(self, data: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema: Any = schema
        self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
        self.graph = self.model.subgraphs[0]

    def tensor(
        self, name: str, shape: tuple[int, ...], kind: int, *, scale: float = 0.0, zero: int = 0,
        values: NDArray[Any] | None = None,
    ) -> int:  # fmt: skip
        """Its number."""
        made = self.schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name.encode(), list(shape), kind, 0
        if scale:
            made.quantization = self.schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [zero]
        if values is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def operator(
        self, name: str, inputs: list[int], outputs: list[int], options: Any = None, custom: bytes | None = None
    ) -> None:
        """A builtin operator by name, or with `custom` options one of that name."""
        code, made = self.schema.OperatorCodeT(), self.schema.OperatorT()
        number = self.schema.BuiltinOperator.CUSTOM if custom else getattr(self.schema.BuiltinOperator, name)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
        if custom:
            code.customCode, made.customOptions = name.encode(), list(custom)
        self.model.operatorCodes.append(code)
        made.opcodeIndex, made.inputs, made.outputs = len(self.model.operatorCodes) - 1, inputs, outputs
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            made.builtinOptionsType, made.builtinOptions = getattr(self.schema.BuiltinOptions, kind), options
        self.graph.operators.append(made)

    def postprocess(self, boxes: int, scores: int, anchors: NDArray[np.float32], classes: int) -> None:
        """TFLite_Detection_PostProcess as the last operator, its four outputs as those of the file."""
        from flatbuffers import flexbuffers

        options = flexbuffers.Builder()
        with options.Map():
            for key, number in {"max_detections": 20, "max_classes_per_detection": 1, "num_classes": classes}.items():
                options.Int(key, number)
            scales = {"y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0}
            for key, value in {**scales, "nms_score_threshold": 0.05, "nms_iou_threshold": 0.6}.items():
                options.Float(key, value)
            options.Bool("use_regular_nms", False)
        float32, uint8 = self.schema.TensorType.FLOAT32, self.schema.TensorType.UINT8
        if self.graph.tensors[boxes].type == uint8:  # the operator then takes the anchors for uint8 as well
            step = float(anchors.max()) / 255
            coded = np.rint(anchors / step).astype(np.uint8)
            fixed = self.tensor("anchors", anchors.shape, uint8, scale=step, values=coded)
        else:
            fixed = self.tensor("anchors", anchors.shape, float32, values=anchors)
        shapes = {"detection_boxes": (1, 20, 4), "detection_classes": (1, 20), "detection_scores": (1, 20), "num": (1,)}
        outputs = [self.tensor(name, shape, float32) for name, shape in shapes.items()]
        self.operator("TFLite_Detection_PostProcess", [boxes, scores, fixed], outputs, custom=bytes(options.Finish()))
        self.graph.outputs = outputs

    def write(self, path: Path) -> None:
        """The file, without what described the old one."""
        from flatbuffers import Builder

        self.model.signatureDefs, self.model.metadata, self.model.metadataBuffer = None, None, None
        builder = Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))


def ssd(backbone: Path, path: Path) -> None:
    """Heads on the last maps of 14x14 and 7x7 cells of a uint8 MobileNet."""
    graft, rng = Graft(backbone.read_bytes()), np.random.default_rng(0)
    uint8, int32 = graft.schema.TensorType.UINT8, graft.schema.TensorType.INT32
    made = {int(n) for o in graft.graph.operators for n in o.outputs}
    maps = []
    for side in (14, 7):
        same = [n for n in made if list(graft.graph.tensors[n].shape)[1:3] == [side, side]]
        maps.append(max(same, key=lambda n: (graft.graph.tensors[n].shape[3], n)))
    parts: dict[str, list[int]] = {"boxes": [], "scores": []}
    for n in maps:
        spec = graft.graph.tensors[n]
        depth, side, source = int(spec.shape[3]), int(spec.shape[1]), float(spec.quantization.scale[0])
        for kind, columns, step, spread in (("boxes", 4, 0.06, 1.2), ("scores", _CLASSES + 1, 0.05, 1.6)):
            width = _PER_CELL * columns
            weight_step = spread / (0.6 * depth**0.5) / 40
            weights = np.clip(rng.normal(128, 40, (width, 1, 1, depth)), 0, 255).astype(np.uint8)
            bias = np.full(width, 0 if kind == "boxes" else -2.5 / (source * weight_step), np.int32)
            kernel = graft.tensor(f"{kind}{n}/w", weights.shape, uint8, scale=weight_step, zero=128, values=weights)
            added = graft.tensor(f"{kind}{n}/b", bias.shape, int32, scale=source * weight_step, values=bias)
            out = graft.tensor(f"{kind}{n}", (1, side, side, width), uint8, scale=step, zero=128)
            options = graft.schema.Conv2DOptionsT()
            options.strideW = options.strideH = options.dilationWFactor = options.dilationHFactor = 1
            graft.operator("CONV_2D", [n, kernel, added], [out], options)
            count = side * side * _PER_CELL
            flat = graft.tensor(f"{kind}{n}/flat", (1, count, columns), uint8, scale=step, zero=128)
            size = graft.tensor(f"{kind}{n}/shape", (3,), int32, values=np.array([1, count, columns], np.int32))
            arranged = graft.schema.ReshapeOptionsT()
            arranged.newShape = [1, count, columns]
            graft.operator("RESHAPE", [out, size], [flat], arranged)
            parts[kind].append(flat)
    joined = {}
    total = sum(side * side for side in (14, 7)) * _PER_CELL
    for kind, columns, step in (("boxes", 4, 0.06), ("scores", _CLASSES + 1, 0.05)):
        joined[kind] = graft.tensor(kind, (1, total, columns), uint8, scale=step, zero=128)
        options = graft.schema.ConcatenationOptionsT()
        options.axis = 1
        graft.operator("CONCATENATION", parts[kind], [joined[kind]], options)
    scores = graft.tensor("convert_scores", (1, total, _CLASSES + 1), uint8, scale=1 / 256, zero=0)
    graft.operator("LOGISTIC", [joined["scores"]], [scores])
    graft.postprocess(joined["boxes"], scores, anchors((14, 7)), _CLASSES)
    graft.write(path)


def anchors(sides: tuple[int, ...]) -> NDArray[np.float32]:
    """y, x, h, w of three shapes in each cell."""
    rows = []
    for side in sides:
        for y in range(side):
            for x in range(side):
                for high, wide in ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4)):
                    rows.append([(y + 0.5) / side, (x + 0.5) / side, 3 * high / side, 3 * wide / side])
    return np.array(rows, np.float32)


class _EfficientDetLike(nn.Module):
    """(n, 3, 256, 256) to coded boxes and scores of three shapes in cells of 16 and 32 pixels."""

    def __init__(self) -> None:
        super().__init__()

        def block(a: int, b: int, stride: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(a, 4 * a, 1), nn.Hardswish(), nn.Conv2d(4 * a, 4 * a, 3, stride, 1, groups=4 * a),
                nn.Hardswish(), nn.Conv2d(4 * a, b, 1),
            )  # fmt: skip

        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.Hardswish(), block(16, 24, 2), block(24, 40, 2))
        self.middle, self.top = block(40, 48, 2), block(48, 48, 2)
        self.down, self.up = self._separable(48, 48), self._separable(48, 48)
        self.boxes, self.scores = self._separable(48, _PER_CELL * 4), self._separable(48, _PER_CELL * _CLASSES)
        self.pool = nn.MaxPool2d(2)

    @staticmethod
    def _separable(a: int, b: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(a, a, 3, 1, 1, groups=a), nn.Hardswish(), nn.Conv2d(a, b, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        middle = self.middle(self.stem(x))
        top = self.top(middle)
        fine = self.down(middle + nn.functional.interpolate(top, scale_factor=2.0, mode="nearest"))
        coarse = self.up(top + self.pool(fine))
        boxes = [self._flat(self.boxes(each), 4) for each in (fine, coarse)]
        scores = [self._flat(self.scores(each), _CLASSES) for each in (fine, coarse)]
        return torch.cat(boxes, 1), torch.cat(scores, 1).sigmoid()

    @staticmethod
    def _flat(x: torch.Tensor, columns: int) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).reshape(1, -1, columns)


def efficientdet(images: list[LabeledImage], path: Path) -> None:
    """Converted, dequantised, and suppressed by the operator."""
    graft = Graft(_quantized(_drawn(_EfficientDetLike()), images, side=256))
    shapes = {tuple(graft.graph.tensors[n].shape): int(n) for n in graft.graph.outputs}
    count = (16 * 16 + 8 * 8) * _PER_CELL
    floats = []
    for columns in (4, _CLASSES):
        n = shapes[(1, count, columns)]
        spec = graft.graph.tensors[n]
        real = n
        if spec.type != graft.schema.TensorType.FLOAT32:
            real = graft.tensor(f"float{columns}", (1, count, columns), graft.schema.TensorType.FLOAT32)
            graft.operator("DEQUANTIZE", [n], [real])
        floats.append(real)
    graft.postprocess(floats[0], floats[1], anchors((16, 8)), _CLASSES)
    graft.write(path)


class _YoloLike(nn.Module):
    """(n, 3, 192, 192) to (n, 4 + classes, 756): centers and sides in pixels, scores, as YOLO v8 to v11 give them."""

    cells: torch.Tensor
    strides: torch.Tensor
    bins: torch.Tensor

    def __init__(self) -> None:
        super().__init__()

        def block(a: int, b: int, stride: int = 1) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), nn.SiLU())

        self.fine = nn.Sequential(block(3, 16, 2), block(16, 24, 2), block(24, 32, 2), block(32, 32))
        self.middle, self.coarse = block(32, 48, 2), block(48, 64, 2)
        self.distances = nn.ModuleList([nn.Conv2d(k, 4 * 8, 1) for k in (32, 48, 64)])
        self.scores = nn.ModuleList([nn.Conv2d(k, _CLASSES, 1) for k in (32, 48, 64)])
        cells, strides = [], []
        for stride in (8, 16, 32):
            ys, xs = torch.meshgrid(torch.arange(192 // stride), torch.arange(192 // stride), indexing="ij")
            cells.append(torch.stack([xs.flatten(), ys.flatten()]) + 0.5)
            strides.append(torch.full((1, xs.numel()), float(stride)))
        self.register_buffer("cells", torch.cat(cells, 1)[None])
        self.register_buffer("strides", torch.cat(strides, 1)[None])
        self.register_buffer("bins", torch.arange(8.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.fine(x)
        middle = self.middle(fine)
        maps = (fine, middle, self.coarse(middle))
        bins = torch.cat([conv(each).flatten(2) for conv, each in zip(self.distances, maps, strict=True)], 2)
        distances = (bins.reshape(1, 4, 8, -1).transpose(2, 3).softmax(3) * self.bins).sum(3)
        low, high = self.cells - distances[:, :2], self.cells + distances[:, 2:]
        boxes = torch.cat([(low + high) / 2, high - low], 1) * self.strides
        scores = torch.cat([conv(each).flatten(2) for conv, each in zip(self.scores, maps, strict=True)], 2)
        return torch.cat([boxes, scores.sigmoid()], 1)


def yolo(images: list[LabeledImage], path: Path) -> None:
    """Converted as an export of a YOLO is."""
    _convert(_drawn(_YoloLike()), images, path, side=192)


def _drawn(network: nn.Module) -> nn.Module:
    """Weights that keep the size of what goes through, and scores that differ."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            assert module.bias is not None
            nn.init.normal_(module.bias, 0, 0.2)
    return network.eval()


def _quantized(network: nn.Module, images: list[LabeledImage], *, side: int) -> bytes:
    """int8 with uint8 borders by the converter's parts: its gates judge finished boxes, and these are offsets."""
    from edgeguard_converters.graph.normalization import PRESETS, Normalization
    from edgeguard_converters.load.registry import load_source
    from edgeguard_converters.quantize.quantize import calibrate, quantize_int8
    from edgeguard_converters.support.folder import work_folder
    from edgeguard_converters.support.log import log_file

    with work_folder() as folder, log_file() as log:
        program = folder / "program.pt2"
        torch.export.save(torch.export.export(network, (torch.zeros(1, 3, side, side),)), program)
        graph = load_source(program).export(Normalization(*PRESETS["unit"], "unit"), (side, side), folder, log)
        frames = [decode_rgb(image.content()) for image in images]  # type: ignore[arg-type]  # images of files know their bytes
        pixels = np.stack([cv2.resize(frame, (side, side)) for frame in frames]).astype(np.uint8)
        return quantize_int8(graph, calibrate(graph, pixels, log), log).with_integer_borders(log).data


def _convert(network: nn.Module, images: list[LabeledImage], path: Path, *, side: int) -> None:
    from edgeguard_converters.pipeline import Options, convert
    from edgeguard_converters.verify.gates import Thresholds

    program = path.with_suffix(".pt2")
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, side, side),)), program)
    labels = tuple(f"class {k}" for k in range(_CLASSES))
    options = Options(
        guard=None, preprocess="unit", crop="none", boxes="cxcywh", labels=labels,
        thresholds=Thresholds(min_agreement=0.0, min_snr_db=-100.0),
    )  # fmt: skip
    convert(program, path, images, options=options)


if __name__ == "__main__":
    main()
