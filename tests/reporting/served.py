"""The two pages that are served, with names of the user's in what they show."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgeguard.camera import Applied
from edgeguard.camera.reader import State
from edgeguard.fieldtest.session.guide import Advice, Observation, Situation
from edgeguard.fieldtest.session.plan import make_plan, write_plan
from edgeguard.fieldtest.session.record import Status
from edgeguard.fieldtest.session.session import FrameRecord, Pass, Session
from edgeguard.fieldtest.sheets.sheet import ARMS, Overlay, Sheet
from edgeguard.guard import GuardProfile, encode_jpeg
from edgeguard.guard.passes import receive_jpeg
from edgeguard.model import Prediction, Score
from edgeguard.model.contract import Contract, ContractGuard, InputSpec
from edgeguard.pipeline.counters import Counters
from edgeguard.pipeline.result import FrameResult
from edgeguard.pipeline.status import RunStatus
from edgeguard.system.power import Power

Name = Callable[[str], str]

OPERATOR_PLACES = ("object", "light", "other light", "arm")
RUN_PLACES = ("source", "format", "coding", "label", "second label", "undefended", "guard", "patch guard", "alarm",
              "reason", "sink", "failure", "slowed", "limit", "model")  # fmt: skip
_SCENE = np.random.default_rng(5).integers(0, 256, (240, 320, 3)).astype(np.uint8)


def operator(name: Name, folder: Path) -> tuple[Session, Status]:
    """Six sheets at nine positions; some passes are recorded, one more is under way."""
    thing = name("object")
    sheets = [Sheet(i, thing, thing, arm, overlay=None if arm == "clean" else Overlay((0, 20), 38))
              for i, arm in enumerate(ARMS)]  # fmt: skip
    plan = make_plan(sheets, (450, 600, 900), (0, 15, 30), ("bright", "lamp", "dim"), passes=2, frames=3)
    write_plan(folder, plan)
    session = Session(folder)
    # no such light and no such arm passes a plan: as if they had
    arm: Any = name("arm")
    plan = replace(plan, lights=(name("light"), name("other light"), "dim"))
    session.plan = replace(plan, sheets=(*plan.sheets, replace(sheets[0], number=9, arm=arm)))
    record = FrameRecord("x.jpg", "", 0.0, 450, 0, 1.0, 4, plan.cells()[0], None, {})
    session.passes = [
        Pass(plan.session, n, 0, cell, repeat, (record,) * 3)
        for n, (cell, repeat) in enumerate((cell, repeat) for cell in plan.cells()[:4] for repeat in (0, 1))
    ]
    status = Status(name("light"), 8, 72)
    status.advice = Advice(Situation.HOLD, 1, plan.cells()[0], held=2)
    status.observation = Observation(Situation.HOLD, 1, None, 4)
    status.next_wanted, status.lost = (1, plan.cells()[0]), 3
    status.jpeg = encode_jpeg(_SCENE, GuardProfile.preset("jpeg:90"))
    return session, status


def run_status(name: Name) -> RunStatus:
    """A run whose camera was lost after forty results, with an alarm and an output that failed."""
    profile = replace(GuardProfile.preset("fd"), name=name("guard"))
    contract = Contract(InputSpec(64, 64), guard=ContractGuard(profile, "frame", name("patch guard")))
    applied = Applied(320, 240, name("format"), 30.0)
    status = RunStatus(name("source"), contract, name("model"), Counters(), applied)
    status.state, status.reason, status.ringing = State.LOST, name("reason"), (name("alarm"), "disagreement")
    status.coding, status.slowed = name("coding"), name("slowed")
    status.power = Power(61.0, (name("limit"),), ())
    received = receive_jpeg(encode_jpeg(_SCENE, GuardProfile.preset("jpeg:90")), profile)
    for frame in range(40):
        result = FrameResult(
            frame=frame, source=name("source"), captured_at=1000.0 + frame / 10, time_source="received",
            age_ms=30.0 + 20 * (frame % 7 == 0), decode_ms=1.0, sanitize_ms=2.0, infer_ms=8.0 + frame % 3, pass1="none",
            prediction=Prediction((Score(name("label"), 1, 0.9), Score(name("second label"), 3, 0.1))), passes=1,
            certified_share=0.83, profile=profile.sha256, model="m" * 64, undefended=Score(name("undefended"), 2, 0.6),
            rgb=_SCENE, received=received, certifies=True, certified_share_2=0.1, proven=False, proven_2=False,
        )  # fmt: skip
        status.counters.add(result)
        status.update(result)
    status.sinks = [
        SimpleNamespace(name=name("sink"), written=40, dropped=2, failure=None),
        SimpleNamespace(name="mqtt", written=3, dropped=0, failure=name("failure")),
    ]
    return status
