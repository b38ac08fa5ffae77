import shutil
from pathlib import Path

import pytest

from edgeguard.fieldtest.session.plan import Plan, make_plan, write_plan
from edgeguard.fieldtest.session.record import Status, live_evaluation, record
from edgeguard.fieldtest.session.session import Session
from edgeguard.fieldtest.sheets.build import made_sheet
from edgeguard.fieldtest.sheets.sheet import Picture, Sheet
from edgeguard.fieldtest.virtual.operator import VirtualOperator
from edgeguard.model import load_model
from edgeguard.pipeline import Pipeline

ARMS = ("clean", "plain", "noise")


@pytest.fixture(scope="session")
def sheets() -> list[tuple[Sheet, Picture]]:
    """The stop card clean and under both controls."""
    return [made_sheet("stop", arm, number=10 + index) for index, arm in enumerate(ARMS)]


@pytest.fixture
def plan(sheets: list[tuple[Sheet, Picture]]) -> Plan:
    """Two distances, two angles, two passes of three frames."""
    return make_plan([s for s, _ in sheets], (450, 800), (0, 30), ("bright",), passes=2, frames=3)


@pytest.fixture
def session(plan: Plan, tmp_path: Path) -> Session:
    """An empty session."""
    write_plan(tmp_path, plan)
    return Session(tmp_path)


@pytest.fixture(scope="session")
def _recorded_once(sheets: list[tuple[Sheet, Picture]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    write_plan(folder, make_plan([s for s, _ in sheets], (450, 800), (0, 30), ("bright",), passes=2, frames=3))
    play(Session(folder), sheets)
    return folder


@pytest.fixture
def recorded(_recorded_once: Path, tmp_path: Path) -> Session:
    """A complete session, the caller's own copy."""
    shutil.copytree(_recorded_once, tmp_path / "recorded")
    return Session(tmp_path / "recorded")


def play(session: Session, sheets: list[tuple[Sheet, Picture]], model: Path | None = None) -> Status:
    """Record what is missing in the virtual field."""
    wanted = len(session.plan.cells()) * session.plan.passes * len(session.plan.sheets)
    status = Status(session.plan.lights[0], wanted - sum(session.missing().values()), wanted)
    pictures = {sheet.number: picture for sheet, picture in sheets}
    operator = VirtualOperator(session, pictures, lambda light: setattr(status, "light", light))
    live = {} if model is None else {"evaluate_frame": live_evaluation(Pipeline(operator, load_model(model)))}
    record(session, operator, status, lambda advice, stored: None, **live)
    return status
