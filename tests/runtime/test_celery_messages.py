"""Wake-ups stay few, and no machine's clock matters to them."""

import importlib
import threading

import pytest

from onboarding_worker.runtime.celery_settings import left_to_others
from onboarding_worker.settings.queue_names import INVITE, ISSUE, PUBLISH, QUEUES, SWEEP


@pytest.fixture(scope="module")
def tasks():
    return importlib.import_module("onboarding_worker.runtime.celery_tasks")


def test_sweeps_that_piled_up_are_processed_as_one(tasks):
    ticks = tasks.Ticks(0.5)
    assert [ticks.begin(now) for now in (7.0, 7.0, 7.1, 7.49)] == [True, False, False, False]
    assert ticks.begin(7.5)


def test_each_tick_of_beat_is_swept_on_even_when_it_comes_a_little_early(tasks):
    ticks = tasks.Ticks(0.5)
    assert all(ticks.begin(now) for now in (0.0, 1.0, 1.9, 3.1, 4.0))


def test_threads_that_get_two_sweeps_at_once_begin_one(tasks):
    ticks, begun = tasks.Ticks(0.5), []
    together = threading.Barrier(4)

    def begin():
        together.wait()
        begun.append(ticks.begin(1.0))

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(begun) == [False, False, False, True]


def test_a_worker_that_consumes_some_queues_knows_which_are_left_to_other_workers():
    assert left_to_others(QUEUES) == ""
    left = left_to_others([ISSUE, INVITE])
    assert [part.partition(" ")[0] for part in left.split("; ")] == [PUBLISH, SWEEP]
    assert "no events are published" in left
