import threading
import time

import pytest

from edgeguard.pipeline.prefetch import Prefetcher


def test_work_goes_on_while_the_caller_is_busy() -> None:
    items = iter(range(5))

    def slow(item: int) -> int:
        time.sleep(0.05)
        return item

    began = time.monotonic()
    with Prefetcher(lambda: next(items, None), slow) as prefetcher:
        for _ in prefetcher:
            time.sleep(0.05)
    assert time.monotonic() - began < 0.45  # one after the other it is 0.5


def test_an_error_comes_after_the_items_before_it() -> None:
    items = iter([1, 2, 0])
    with Prefetcher(lambda: next(items, None), lambda item: 6 // item) as prefetcher:
        seen = []
        with pytest.raises(ZeroDivisionError):
            for item in prefetcher:
                seen.append(item)
    assert seen == [6, 3]


def test_it_takes_no_more_than_there_is_room_for_and_ends_early() -> None:
    taken: list[int] = []

    def take() -> int:
        taken.append(len(taken))
        return len(taken)

    before = threading.active_count()
    with Prefetcher(take, lambda item: item, depth=2) as prefetcher:
        assert next(iter(prefetcher)) == 1
        time.sleep(0.1)
        assert len(taken) == 3
    assert threading.active_count() == before
