"""What a measured printer is worth: a rendered printer-camera pair whose colors are known, with and without its map.

    python benchmarks/printer_map.py MODEL.tflite [--target "no entry"] [--steps 200] [--inks office]

1. The chart is printed by `HalftonePrinter`, photographed in the virtual field, and calibrated. Over 500 random colors
   the map is compared with the known truth (mean CIE76).
2. A patch is made with the map and one without, from the same seed with as many steps. Both are printed by the same
   printer, and the deployed file is shown both on the same stands.

Threat model *scene*; rendered frames. They do not predict what a real printer does.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np

from edgeguard.fieldtest.patches.detector_field import FieldCheck, field_arms
from edgeguard.fieldtest.patches.detector_job import make_for_detector
from edgeguard.fieldtest.patches.job import make
from edgeguard.fieldtest.patches.optimize import Recipe
from edgeguard.fieldtest.patches.order import PatchOrder
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.calibrate import calibrate
from edgeguard.fieldtest.sheets.printer_map import PrinterMap
from edgeguard.fieldtest.virtual.field import SheetPainter, Stand
from edgeguard.fieldtest.virtual.printer import HalftonePrinter, known_difference
from edgeguard.model import load_model
from edgeguard.statistics import wilson


def measured(truth: HalftonePrinter) -> PrinterMap:
    """The map of a printer, from one rendered photograph of its chart."""
    sheet, picture = made_sheet("chart", "clean")
    painter = SheetPainter(sheet, picture, printer=truth)
    frame = painter.frame(Stand(330.0, 4.0, 40.0, 2.0, seed=5, light="warm", noise=1.5, blur=0.7), 1600, 1200)
    data = cv2.imencode(".jpg", frame[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
    return calibrate(data, sheet.number, sheet.layout)


def successes(model: Path, patch: Path, target: str, truth: HalftonePrinter, views: int) -> int:
    """In how many stands the deployed classifier says the target."""
    deployed = load_model(model)
    stands = FieldCheck("stop", 0, views=views).stands()
    painter = SheetPainter(*made_sheet("stop", "patch", patch=patch, number=0), printer=truth)
    return sum(deployed(painter.frame(stand)).label == target for stand in stands)


def main() -> None:
    """Print both answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--target", default="no entry")
    parser.add_argument("--detector", action="store_true", help="the model is a detector: make the card vanish")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--output", type=Path, help="keeps the patches; run it again to go on")
    parser.add_argument("--views", type=int, default=150)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--inks", default="office")
    options = parser.parse_args()
    truth = HalftonePrinter(options.inks)
    printer = measured(truth)
    sent = np.random.default_rng(0).integers(0, 256, (500, 3), np.uint8)
    before, after = known_difference(sent, truth(sent), printer(sent))
    print(f"colors: {before:.1f} off without the map, {after:.1f} with it (mean CIE76, 500 colors)", flush=True)
    print(f"blur: {printer.blur_px:.2f} pixels at 640 across", flush=True)
    for seed in options.seeds:
        for name, known in (("without", None), ("with", printer)):
            with tempfile.TemporaryDirectory() as passing:
                folder = passing if options.output is None else options.output / f"{options.inks}-{seed}-{name}"
                size = (320, 240)
                recipe = Recipe(None, steps=options.steps, batch=options.batch, seed=seed)
                aim = None if options.detector else options.target
                order = PatchOrder(model=options.model, target=aim, printer=known, size=size)
                if options.detector:
                    make_for_detector(order, recipe, Path(folder), mode="vanish", label=None)
                    check = FieldCheck("stop", load_model(options.model).contract.labels.index("stop"),
                                       views=options.views)  # fmt: skip
                    (arm,) = field_arms(load_model(options.model), check, patch=Path(folder), arms=("patch",),
                                        printer=truth)  # fmt: skip
                    hits = arm.n - arm.found
                else:
                    make(order, recipe, Path(folder))
                    hits = successes(options.model, Path(folder), options.target, truth, options.views)
                low, high = wilson(hits, options.views)
                share = f"{100 * hits / options.views:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
                print(f"seed {seed}, {name} the map: {hits} of {options.views} ({share})", flush=True)


if __name__ == "__main__":
    main()
