"""The seam between a thread that runs tasks and the loop that does the work."""

import asyncio
import gc
import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.schema import NotReady, Outdated
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.events.event_receiver import Receiver
from onboarding_worker.reporting.store.processes import Processes
from onboarding_worker.runtime.process import Process, current, existing, forget
from onboarding_worker.runtime.worker_process import SWEEP_IS_LATE, TRY_SECONDS, Tries, sweep_alone
from tests.simulated.events import requested
from tests.simulated.world import configuration
from tests.suite.waiting import ENDS_WITHIN


@pytest.fixture
def configured(monkeypatch, tmp_path):
    def configure(url):
        (tmp_path / "onboarding.toml").write_text(configuration(url))
        monkeypatch.setenv("ONBOARDING_CONFIG", str(tmp_path / "onboarding.toml"))
        monkeypatch.setenv("KEY", new_key())
        monkeypatch.setenv("SECRET", "00000000-0000-4000-8000-000000000000")

    return configure


def make(**more):
    how = {"longest": timedelta(seconds=1), "stay": timedelta(0), "wake_others": lambda _: None} | more
    return Process(wake_invite=lambda *_: None, **how)


def upgrade_to_a_newer_release(url):
    database = Database(url)
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()


@pytest.fixture
def process(configured, sqlite_url):
    configured(sqlite_url)
    process = make()
    yield process
    process.close()


def test_a_database_that_was_not_migrated_is_not_worked_on(configured, tmp_path):
    configured(f"sqlite:///{tmp_path / 'empty.db'}")
    before = set(threading.enumerate())
    with pytest.raises(NotReady, match="onboard db upgrade"):
        make()
    assert set(threading.enumerate()) <= before  # a thread of an earlier test may have ended


def test_a_process_that_no_wake_up_reaches_looks_by_itself_and_says_that_it_runs(configured, sqlite_url):
    configured(sqlite_url)
    swept = threading.Event()
    process = make(look=lambda _process: swept.set(), check_seconds=0.01)
    try:
        assert swept.wait(ENDS_WITHIN)
        (running,) = process.parts.processes.running(now=process.parts.clock())
        assert running.kind == "worker"
    finally:
        process.close()
    database = Database(sqlite_url)
    assert Processes(database).running(now=process.parts.clock()) == []
    database.close()


def test_while_the_scheduler_s_wake_ups_come_no_worker_looks_by_itself(process):
    begun, processes, clock = [], process.parts.processes, process.parts.clock
    add_a_row_that_is_due(process)
    processes.note_wake_up(now=clock())
    assert not sweep_alone(process, begin=begun.append)
    processes.note_wake_up(now=clock() - 2 * SWEEP_IS_LATE)
    # The first one sweeps; each begins what it finds.
    assert [sweep_alone(process, begin=begun.append) for _ in range(2)] == [True, True]
    assert begun == [WakeUp.issue("kyc")] * 2
    assert not processes.claim_sweep(older_than=SWEEP_IS_LATE, now=clock())


def add_a_row_that_is_due(process):
    parts = process.parts
    Receiver(parts.intake, parts.inboxes, parts.keyring).receive([requested("C-1")])


def test_work_that_is_begun_here_is_over_before_the_process_has_ended(configured, sqlite_url):
    configured(sqlite_url)
    process = make()
    for wake_up in (WakeUp.issue("kyc"), WakeUp.publish("nobody")):
        process.begin(wake_up)
    process.close()


def test_a_process_that_starts_on_a_newer_schema_will_never_be_ready(configured, sqlite_url):
    configured(sqlite_url)
    upgrade_to_a_newer_release(sqlite_url)
    with pytest.raises(Outdated, match="upgrade the worker"):
        make()


def test_a_process_whose_database_is_upgraded_meanwhile_says_so_once_and_takes_no_more(configured, sqlite_url):
    configured(sqlite_url)
    reasons = []
    process = make(on_outdated=reasons.append, check_seconds=0.01)
    try:
        assert not process.wait_for(process.runner.is_ending_within(0.1))
        upgrade_to_a_newer_release(sqlite_url)
        assert process.wait_for(process.runner.is_ending_within(ENDS_WITHIN))
    finally:
        process.close()
    assert len(reasons) == 1
    assert "9999" in reasons[0]


def test_wake_ups_in_quick_succession_are_one_try_of_a_process_that_is_not_ready():
    tries = Tries()
    tries.begin(0.0)
    tries.failed(NotReady("the database is away"), 0.0)
    with pytest.raises(NotReady, match="away"):
        tries.begin(TRY_SECONDS - 0.1)
    tries.begin(TRY_SECONDS)


def test_an_outdated_process_does_not_try_again():
    tries = Tries()
    tries.failed(Outdated("upgrade the worker"), 0.0)
    with pytest.raises(Outdated):
        tries.begin(1e6)


def test_a_thread_gets_what_its_coroutine_came_to(process):
    async def which():
        return asyncio.get_running_loop()

    async def bad():
        raise ZeroDivisionError

    assert process.wait_for(which()) is process.wait_for(which())
    with pytest.raises(ZeroDivisionError):
        process.wait_for(bad())


def test_a_dispatcher_runs_on_the_loop_and_a_later_wake_up_finds_it_ended(process):
    assert process.serve(WakeUp.issue("kyc"), at_most=timedelta(minutes=1)) is False
    assert not process.wake_here(WakeUp.issue("kyc"))


def test_a_thread_leaves_a_dispatcher_that_the_database_keeps_waiting_and_the_dispatcher_goes_on(process):
    async def begun():
        return process.runner.is_working(WakeUp.issue("kyc"))

    answers = threading.Event()
    # On SQLite one thread makes all calls of the database, so this keeps the dispatcher's first claim waiting.
    kept = process.runner.in_thread(answers.wait)
    waiting = threading.Thread(target=process.wait_for, args=[kept])
    waiting.start()
    try:
        assert process.serve(WakeUp.issue("kyc"), at_most=timedelta(milliseconds=1)) is False
        assert process.wait_for(begun())
    finally:
        answers.set()
        waiting.join()
    process.wait_for(process.runner.wait_until_idle())


def test_closing_leaves_no_thread_behind(configured, sqlite_url):
    configured(sqlite_url)
    before = set(threading.enumerate())
    process = make()
    assert set(threading.enumerate()) - before
    process.stop()
    process.close()
    assert set(threading.enumerate()) <= before


def test_a_process_is_made_once_and_by_whoever_needs_it_first(process):
    made = []

    def once():
        made.append(process)
        return process

    try:
        assert current(once) is current(once) is existing() is process
        assert made == [process]
    finally:
        assert forget() is process
    assert existing() is None
    assert forget() is None


def test_a_process_that_cannot_be_made_leaves_nothing_behind(configured, sqlite_url, monkeypatch):
    configured(sqlite_url)

    def refuse(*_given, **_how):
        raise ValueError("expected a sender")

    # It is made when the loop and its connections are there already.
    monkeypatch.setattr("onboarding_worker.wiring.senders.EmailSender", refuse)
    before = set(threading.enumerate())
    with pytest.raises(ValueError, match="expected a sender"):
        make()
    assert set(threading.enumerate()) <= before
    gc.collect()  # an HTTP session or a loop that was not closed says so now, which fails the test
