"""Beat's scheduler: it wakes the sweep each second, survives the loss of its broker, and ends when it is told to."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.apps.beat import Beat as CelerysBeat
from celery.beat import ScheduleEntry, SchedulingError, Service
from celery.schedules import schedule
from celery.signals import beat_init
from kombu.exceptions import ChannelError
from redis.exceptions import ExecAbortError, OutOfMemoryError

from onboarding_worker.runtime.celery_beat import MOST_WAITING, Scheduler
from tests.desk.desk import Desk
from tests.suite.waiting import ENDS_WITHIN

SWEEP = SimpleNamespace(name="sweep", task="sweep")
SIGNAL_AS_IT_LOADS = """
import os, signal, sys

def end(event, values):
    if event == "exec" and getattr(values[0], "co_filename", "").endswith("celery_beat.py"):
        os.kill(os.getpid(), signal.SIGTERM)

sys.addaudithook(end)
from celery.__main__ import main
main()
"""


class Broker:
    """A channel, and the connection that it is of. `waiting` None: there is no such list."""

    def __init__(self, waiting: int | None = 0, transport: str = "redis") -> None:
        self.waiting = waiting
        self.connection = SimpleNamespace(transport=SimpleNamespace(driver_type=transport), release=self.release)
        self.left = 0

    def queue_declare(self, _name: str, passive: bool) -> Any:
        assert passive
        if self.waiting is None:
            raise ChannelError
        return SimpleNamespace(message_count=self.waiting)

    def release(self) -> None:
        self.left += 1


class Beat(Scheduler):
    """With a broker that the test controls."""

    def __init__(self, broker: Broker) -> None:
        app = Celery(set_as_current=False)
        app.conf.queue_prefix = "onboarding."
        super().__init__(app, lazy=True)
        self.broker = broker
        self.sent = 0
        self.unreachable = False
        self.refuses: Exception | None = None
        self.connection = broker.connection

    @property
    def producer(self):
        self.connection = self.broker.connection
        return SimpleNamespace(channel=self.broker)

    def apply_async(self, entry, producer=None, advance=True, **options):
        if self.refuses is not None:
            raise self.refuses
        if self.unreachable:
            raise SchedulingError("Couldn't apply") from ConnectionRefusedError("a page")
        self.sent += 1


def apply(beat: Beat) -> None:
    beat.apply_entry(SWEEP, producer=beat.producer)


def test_it_looks_no_more_than_twice_for_a_wake_up():
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    beat = Beat(Broker())
    each_second = schedule(1.0, nowfun=lambda: now, app=beat.app)
    beat.schedule = {"sweep": ScheduleEntry("sweep", "sweep", now, schedule=each_second, app=beat.app)}
    for _ in range(21):
        now += timedelta(seconds=max(beat.tick(), 0), microseconds=200)  # sleeps last a little longer
    assert beat.sent >= 10
    assert now < datetime(2026, 11, 20, 12, 0, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("broker", "sent"),
    [
        (Broker(None), 1),
        (Broker(MOST_WAITING - 1), 1),
        (Broker(MOST_WAITING), 0),
        (Broker(10**6, "amqp"), 1),  # it bounds its queues itself
    ],
)
def test_it_sends_no_more_when_wake_ups_pile_up(broker, sent):
    beat = Beat(broker)
    apply(beat)
    assert beat.sent == sent


def test_a_full_queue_is_logged_once_and_that_it_is_consumed_again_once(caplog):
    caplog.set_level(logging.INFO, logger="onboarding_worker.runtime.celery_beat")
    beat = Beat(Broker())
    for beat.broker.waiting in (MOST_WAITING, MOST_WAITING, 0, 0):
        apply(beat)
    assert len(caplog.messages) == 2


def test_the_loss_of_the_broker_and_its_return_are_two_lines(caplog):
    caplog.set_level(logging.INFO, logger="onboarding_worker.runtime.celery_beat")
    beat = Beat(Broker())
    for beat.unreachable in (False, True, True, True, False, False):
        apply(beat)
    assert len(caplog.messages) == 2
    assert beat.sent == 3


def test_what_redis_refuses_is_told_from_a_broker_that_is_away(caplog):
    """Redis ends the transaction of a wake-up that it refuses, and Celery wraps both."""
    beat = Beat(Broker())
    refused = OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
    refused.__context__ = ExecAbortError("Transaction discarded because of previous errors.")
    for error in (refused, SchedulingError("Couldn't apply")):
        error.__context__ = error.__context__ or refused
        beat.refuses = error
        apply(beat)
    assert caplog.messages == ["the broker refuses beat (its memory is full): the sweep does not run; trying again"]


def test_a_connection_that_lost_a_wake_up_is_left_for_a_new_one():
    beat = Beat(Broker())
    apply(beat)
    assert beat.broker.left == 0
    beat.unreachable = True
    apply(beat)
    assert beat.broker.left == 1


class SignalInAFinalizer:
    """Told to end while Python drops what is raised."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of this test is left to the next one, and no app of another test hears of it."""
    monkeypatch.setattr(beat_init, "receivers", [])
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


class Acting(Scheduler):
    """Acts at each tick instead of waking the sweep."""

    producer = None

    def __init__(self, act: Callable[[], None], **options: Any) -> None:
        self.act = act
        super().__init__(**options)

    def apply_entry(self, _entry: ScheduleEntry, producer: Any = None) -> None:
        self.act()


def run(act: Callable[[], None], scheduler: type[Acting] = Acting) -> None:
    """Celery's beat, with what happens at a tick."""
    app = Celery(set_as_current=False)
    app.conf.beat_schedule = {"sweep": {"task": "sweep", "schedule": 0.0}}
    service = Service(app, scheduler_cls=partial(scheduler, act))
    CelerysBeat(app=app).install_sync_handler(service)
    service.start()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("handlers")
def test_a_signal_that_comes_inside_a_finalizer_ends_its_loop():
    ticks = []

    def act() -> None:
        assert not ticks, "it goes on"
        ticks.append(SignalInAFinalizer)
        SignalInAFinalizer()

    run(act)
    assert ticks


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("handlers")
def test_a_signal_that_comes_inside_a_finalizer_ends_a_wait_too():
    def act() -> None:
        SignalInAFinalizer()
        time.sleep(ENDS_WITHIN)
        pytest.fail("it waits on")

    run(act)


@pytest.mark.usefixtures("handlers")
def test_a_signal_that_comes_while_the_scheduler_is_made_ends_it_and_makes_no_other():
    made = []

    class HalfMade(Acting):
        def setup_schedule(self) -> None:
            made.append(self)
            assert len(made) == 1
            os.kill(os.getpid(), signal.SIGTERM)
            pytest.fail("it goes on")

    with pytest.raises(SystemExit):
        run(lambda: pytest.fail("it goes on"), HalfMade)


def test_a_signal_that_comes_while_the_scheduler_is_loaded_is_no_traceback(desk: Desk):
    desk.environ |= {
        "ONBOARDING_CONFIG": "onboarding.toml",
        "ONBOARDING__DATABASE__URL": "postgresql+psycopg://nobody@127.0.0.1:1/none",
        "ONBOARDING__BROKER__URL": "redis://127.0.0.1:1/0",
    }
    beat = desk.start("beat", program=(sys.executable, "-c", SIGNAL_AS_IT_LOADS, "-A", "onboarding_worker", "--quiet"))
    ended = desk.end(beat)
    assert ended.code in (0, -signal.SIGTERM)
    assert ended.err == ""
