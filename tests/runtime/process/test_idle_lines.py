"""A worker that is idle says so once when its database is away, and once when the database is back."""

import logging
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.runtime import process
from onboarding_worker.runtime.worker_process import ready_process

KYC, MAILS = WakeUp.issue("kyc"), WakeUp.invite("email")


@pytest.fixture
def working():
    """The wake-ups whose dispatchers run in this process."""
    running = set()
    here = SimpleNamespace(runner=SimpleNamespace(is_working=running.__contains__))
    process.current(lambda: here)
    yield running
    process.forget()


def works(wake_up=None, away=""):
    with ready_process(wake_up):
        if away:
            raise sa.exc.OperationalError("UPDATE", None, Exception(away))


def test_in_one_outage_it_says_so_once_whatever_else_succeeds(working, caplog):
    caplog.set_level(logging.INFO, logger="onboarding_worker.runtime.worker_process")
    for away in ("connection refused", "starting up", "connection refused"):
        works(KYC, away)
        works()  # the sweep, which reads
        works(MAILS)
        working.add(KYC)
        works(KYC)  # a wake-up for a dispatcher that waits for the database
        working.clear()
    assert len(caplog.messages) == 1
    works(KYC)
    works(KYC)
    assert len(caplog.messages) == 2
