"""Beat's scheduler: it rings once a second, outlives its broker, and does not ring for nobody."""

import logging
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.beat import SchedulingError

from worker.runtime.celery_beat import MOST_RINGS, Scheduler

SWEEP = SimpleNamespace(name="sweep", task="sweep")


class Rings(Scheduler):
    """Over a broker that is as the test wants it."""

    def __init__(self, channel: object) -> None:
        super().__init__(Celery(set_as_current=False), lazy=True)
        self.channel = channel
        self.woken = 0
        self.away = False

    @property
    def producer(self):
        return SimpleNamespace(channel=self.channel)

    def apply_async(self, entry, producer=None, advance=True, **options):
        if self.away:
            raise SchedulingError("Couldn't apply") from ConnectionRefusedError("a page")
        self.woken += 1


def queue_of(length: int) -> object:
    return SimpleNamespace(_size=lambda _queue: length)


@pytest.mark.parametrize(("waiting", "rings"), [(0, 1), (MOST_RINGS - 1, 1), (MOST_RINGS, 0), (10**6, 0)])
def test_it_stops_ringing_when_rings_pile_up(waiting, rings):
    beat = Rings(queue_of(waiting))
    beat.apply_entry(SWEEP)
    assert beat.rung == rings


def test_a_broker_that_bounds_its_queues_is_not_asked_how_long_they_are():
    beat = Rings(SimpleNamespace())
    beat.apply_entry(SWEEP)
    assert beat.rung == 1


def test_that_nobody_hears_its_rings_is_said_once_and_that_somebody_does_again(caplog):
    caplog.set_level(logging.INFO, logger="worker.runtime.celery_beat")
    beat = Rings(queue_of(MOST_RINGS))
    for waiting in (MOST_RINGS, MOST_RINGS, 0, 0):
        beat.channel = queue_of(waiting)
        beat.apply_entry(SWEEP)
    assert caplog.messages == [
        "60 rings wait: does a worker hear the queue sweep?",
        "the queue sweep is heard again",
    ]


def test_a_broker_that_goes_away_and_comes_back_is_two_lines(caplog):
    caplog.set_level(logging.INFO, logger="worker.runtime.celery_beat")
    beat = Rings(queue_of(0))
    for away in (False, True, True, True, False, False):
        beat.away = away
        beat.apply_entry(SWEEP)
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "the broker is away (ConnectionRefusedError)",
        "the broker is there again",
    ]
    assert beat.rung == 3


def test_a_connection_over_which_a_ring_was_lost_is_left_for_a_new_one():
    left = []
    beat = Rings(queue_of(0))
    beat.connection = SimpleNamespace(collect=lambda socket_timeout: left.append(socket_timeout))
    lost = beat.connection
    beat.apply_entry(SWEEP)
    assert beat.connection is lost
    beat.away = True
    beat.apply_entry(SWEEP)
    assert len(left) == 1
    assert beat.connection is not lost
