"""The pictures that a session keeps: of printed objects, and of real ones with what is fixed on them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgeguard.fieldtest.session.pictures import keep_pictures, read_pictures
from edgeguard.fieldtest.session.plan import make_plan
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.cutout import Cutout
from edgeguard.fieldtest.sheets.field_object import FieldObject, Mount
from edgeguard.fieldtest.sheets.sheet import Overlay
from edgeguard.fieldtest.sheets.subject import Subject, card_subject, object_subject


def _sign(mount: Mount) -> Subject:
    rgb = np.full((100, 100, 3), (200, 20, 30), np.uint8)
    cutout = Cutout(rgb, np.full((100, 100), 255, np.uint8))
    about = FieldObject("my sign", "stop", 500.0, 500.0, picture_sha256=cutout.sha256)
    return object_subject(replace(about, mount=mount), cutout)


def test_what_is_fixed_on_a_real_object_lies_on_its_picture(tmp_path: Path) -> None:
    sign, beside = _sign("on"), replace(_sign("beside"), name="other")
    place = Overlay((0.0, 50.0), 150.0)
    made = [(*made_sheet(sign, arm, overlay=place, number=k), sign) for k, arm in enumerate(("clean", "plain"))]
    made += [(*made_sheet(card_subject("stop"), "clean", number=7), card_subject("stop"))]
    made += [(*made_sheet(beside, "clean", number=8), beside)]
    plan = make_plan([sheet for sheet, _, _ in made], (500,), (0,), ("bright",), passes=1)
    keep_pictures(tmp_path, made)
    found = read_pictures(tmp_path, plan)
    assert set(found) == {0, 1, 7} and (found[7] == made[2][1]).all()
    for number, inside in ((0, (200, 20, 30)), (1, (127, 127, 127))):
        scale = found[number].shape[0] / 500
        assert found[number].shape[0] == found[number].shape[1]
        at = found[number][round(300 * scale), round(250 * scale)]  # the window, 50 mm below the middle
        assert np.abs(at.astype(int) - inside).max() <= 2
        assert np.abs(found[number][2, 2].astype(int) - (200, 20, 30)).max() <= 2
    (tmp_path / "pictures" / "7.png").write_bytes((tmp_path / "pictures" / "0.png").read_bytes())
    (tmp_path / "pictures" / "1-object.png").write_bytes(b"nothing")
    assert set(read_pictures(tmp_path, plan)) == {0}
