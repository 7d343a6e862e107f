"""Beat's scheduler: it wakes the sweep each second, survives the loss of its broker, and stops while no worker runs."""

import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from celery import Celery
from celery.beat import ScheduleEntry, SchedulingError
from celery.schedules import schedule
from redis.exceptions import ExecAbortError, OutOfMemoryError

from worker.runtime.celery_beat import MOST_WAITING, Scheduler

SWEEP = SimpleNamespace(name="sweep", task="sweep")


class Beat(Scheduler):
    """With a broker that the test controls."""

    def __init__(self, channel: object) -> None:
        super().__init__(Celery(set_as_current=False), lazy=True)
        self.channel = channel
        self.sent = 0
        self.unreachable = False
        self.told_to_end = False
        self.refuses: Exception | None = None

    @property
    def producer(self):
        return SimpleNamespace(channel=self.channel)

    def apply_async(self, entry, producer=None, advance=True, **options):
        if self.told_to_end:
            try:
                try:
                    raise SystemExit
                finally:
                    raise ValueError("the clean-up of a client that was cut off in a read")
            except ValueError as error:
                raise SchedulingError("Couldn't apply") from error
        if self.refuses is not None:
            raise self.refuses
        if self.unreachable:
            raise SchedulingError("Couldn't apply") from ConnectionRefusedError("a page")
        self.sent += 1


def queue_of(length: int) -> object:
    return SimpleNamespace(_size=lambda _queue: length)


def test_it_looks_no_more_than_twice_for_a_wake_up():
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    beat = Beat(SimpleNamespace())
    each_second = schedule(1.0, nowfun=lambda: now, app=beat.app)
    beat.schedule = {"sweep": ScheduleEntry("sweep", "sweep", now, schedule=each_second, app=beat.app)}
    for _ in range(21):
        now += timedelta(seconds=max(beat.tick(), 0), microseconds=200)  # sleeps last a little longer
    assert beat.sent >= 10
    assert now < datetime(2026, 11, 20, 12, 0, 12, tzinfo=UTC)


@pytest.mark.parametrize(("waiting", "sent"), [(0, 1), (MOST_WAITING - 1, 1), (MOST_WAITING, 0), (10**6, 0)])
def test_it_sends_no_more_when_wake_ups_pile_up(waiting, sent):
    beat = Beat(queue_of(waiting))
    beat.apply_entry(SWEEP)
    assert beat.sent == sent


def test_a_broker_that_bounds_its_queues_is_not_asked_how_long_they_are():
    beat = Beat(SimpleNamespace())
    beat.apply_entry(SWEEP)
    assert beat.sent == 1


def test_a_full_queue_is_logged_once_and_that_it_is_consumed_again_once(caplog):
    caplog.set_level(logging.INFO, logger="worker.runtime.celery_beat")
    beat = Beat(queue_of(MOST_WAITING))
    for waiting in (MOST_WAITING, MOST_WAITING, 0, 0):
        beat.channel = queue_of(waiting)
        beat.apply_entry(SWEEP)
    assert caplog.messages == [
        "60 wake-ups wait in the queue sweep: does a worker consume it?",
        "a worker consumes the queue sweep again",
    ]


def test_the_loss_of_the_broker_and_its_return_are_two_lines(caplog):
    caplog.set_level(logging.INFO, logger="worker.runtime.celery_beat")
    beat = Beat(queue_of(0))
    for unreachable in (False, True, True, True, False, False):
        beat.unreachable = unreachable
        beat.apply_entry(SWEEP)
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "the broker cannot be reached (connection refused)",
        "the broker is back",
    ]
    assert beat.sent == 3


def test_what_redis_refuses_is_told_from_a_broker_that_is_away(caplog):
    """Redis ends the transaction of a wake-up that it refuses, and Celery wraps both."""
    beat = Beat(queue_of(0))
    refused = OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
    refused.__context__ = ExecAbortError("Transaction discarded because of previous errors.")
    for error in (refused, SchedulingError("Couldn't apply")):
        error.__context__ = error.__context__ or refused
        beat.refuses = error
        beat.apply_entry(SWEEP)
    assert caplog.messages == ["the broker refuses beat (its memory is full): the sweep does not run; trying again"]


def test_a_connection_that_lost_a_wake_up_is_left_for_a_new_one():
    left = []
    beat = Beat(queue_of(0))
    beat.connection = SimpleNamespace(collect=lambda socket_timeout: left.append(socket_timeout))
    lost = beat.connection
    beat.apply_entry(SWEEP)
    assert beat.connection is lost
    beat.unreachable = True
    beat.apply_entry(SWEEP)
    assert len(left) == 1
    assert beat.connection is not lost


def test_a_signal_to_end_that_an_error_of_the_brokers_client_hides_ends_it():
    beat = Beat(queue_of(0))
    beat.told_to_end = True
    with pytest.raises(SystemExit):
        beat.apply_entry(SWEEP)
