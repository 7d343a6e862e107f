"""How a worker takes a signal, where a running worker shows it only by chance."""

import signal
from types import SimpleNamespace

import pytest
from celery.concurrency.prefork import TaskPool as Prefork
from celery.concurrency.thread import TaskPool as Threads

from onboarding_worker.runtime import celery_tasks, process


@pytest.fixture
def handled():
    """The signals that Celery's own handlers got."""
    names, before = [], {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)}
    for one in before:
        signal.signal(one, lambda _number, _frame, one=one: names.append(one.name))
    yield names
    for one, handler in before.items():
        signal.signal(one, handler)


@pytest.mark.parametrize("sent", [signal.SIGQUIT, signal.SIGINT])
def test_each_signal_is_sigterm_with_threads_whose_pool_may_be_handed_a_message_just_then(handled, sent):
    celery_tasks.end_dispatchers_before_force(SimpleNamespace(pool=Threads(1)))

    signal.raise_signal(sent)
    signal.raise_signal(sent)

    assert handled == ["SIGTERM", "SIGTERM"]


def test_sigquit_ends_the_dispatchers_before_celery_waits_for_the_processes(handled, monkeypatch):
    monkeypatch.setattr(process, "end_dispatchers", lambda: handled.append("dispatchers end"))
    celery_tasks.end_dispatchers_before_force(SimpleNamespace(pool=Prefork(1)))

    signal.raise_signal(signal.SIGQUIT)

    assert handled == ["dispatchers end", "SIGQUIT"]
