"""Fixtures for all tests. Tests that need the workstation's extra are marked `convert`; with CI=true nothing may skip
for a missing program or extra. Tests that need the developers' photographs and models use the fixture `shared`, which
marks them `shared`: without that folder they are skipped."""

import gc
import importlib.util
import os
import signal
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
from effort import examples, set_whole
from hypothesis import settings
from numpy.typing import NDArray

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background shells ignore it, and children inherit that


#: The developers' photographs and models, beside the checkout.
SHARED = Path(__file__).parents[2] / "shared"
WITHOUT_SHARED = "needs the developers' shared photographs and models, which are not part of the project"
#: What a machine of ours may lack even where CI=true.
MAY_BE_MISSING = (WITHOUT_SHARED, "needs a GPU")


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # while the tests are collected: nearly all that is made then stays
    set_whole(_slow_ones_run(config))
    # Machines are shared: a slow example is no failure.
    settings.register_profile("project", deadline=None, max_examples=examples(100))
    settings.load_profile("project")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: one worker more than cores, because many tests wait for cameras, brokers and children."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    has_converter = (
        importlib.util.find_spec("litert_torch") is not None and importlib.util.find_spec("torch") is not None
    )
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker("shared")
            if not SHARED.is_dir():
                item.add_marker(pytest.mark.skip(reason=WITHOUT_SHARED))
        if "convert" in item.keywords and not has_converter and not os.environ.get("CI"):
            item.add_marker(pytest.mark.skip(reason="the convert extra is not installed"))
    if not _slow_ones_run(config):
        slow = [item for item in items if "full" in item.keywords]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if "full" not in item.keywords]


def _slow_ones_run(config: pytest.Config) -> bool:
    """Whether `-m` speaks of the slow tests; without it they are deselected (make test-full runs them)."""
    return "full" in (config.getoption("-m") or "")


def _fail_a_skip_for_what_is_missing(report: pytest.CollectReport | pytest.TestReport) -> None:
    """With CI=true nothing is skipped because a program or an extra is missing: such a report becomes a failure."""
    if not (report.skipped and os.environ.get("CI") and isinstance(report.longrepr, tuple)):
        return
    reason = str(report.longrepr[2]).removeprefix("Skipped: ")
    if reason.startswith(("needs ", "could not import")) and reason not in MAY_BE_MISSING:
        report.outcome = "failed"
        report.longrepr = f"with CI=true nothing may be missing: {report.nodeid} {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_a_skip_for_what_is_missing(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_a_skip_for_what_is_missing(report)
    return report


def pytest_collection_finish() -> None:
    gc.freeze()  # what is loaded now stays: the collector need not look at it again and again
    gc.enable()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of the developers' photographs and models; whatever uses it is marked `shared`."""
    return SHARED


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What our packages log, as the command line would show it."""
    from edgeguard.cli.messages import messages_to

    lines: list[str] = []
    with messages_to(lines.append):
        yield lines


@pytest.fixture(scope="session")
def scene() -> NDArray[np.uint8]:
    """A rendered frame with texture, edges and noise: 320x240."""
    from edgeguard.scene.views import View, render

    return render(View("danger", 3.0, 20, 40, 5, 0.2, -0.3, 5), 320, 240)


@pytest.fixture(scope="session")
def scenes() -> list[NDArray[np.uint8]]:
    """Eight rendered frames."""
    from edgeguard.scene.views import render, stand_in_views

    return [render(view, 320, 240) for view in stand_in_views(8)]


@pytest.fixture(scope="session")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that can be learned in seconds: 24 images of each of three classes in each of two parts."""
    from stripes import write_classes

    return write_classes(tmp_path_factory.mktemp("stripes"), 24)
