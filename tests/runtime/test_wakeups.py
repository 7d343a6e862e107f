"""Bells are rung beside the work: a broker that hangs delays none of it."""

import importlib
import threading

import pytest

SOON = 10  # seconds; far longer than it takes


@pytest.fixture(scope="module")
def bells():
    return importlib.import_module("worker.runtime.wakeups")


class Broker:
    """Hangs until it is told to go on."""

    def __init__(self):
        self.asked, self.goes_on, self.told = threading.Event(), threading.Event(), threading.Semaphore(0)
        self.rung = []

    def ring(self, step, name):
        self.asked.set()
        assert self.goes_on.wait(SOON)
        self.rung.append((step, name))
        self.told.release()


def test_who_rings_does_not_wait_for_a_broker_that_hangs(bells):
    broker = Broker()
    ringer = bells.Ringer(broker.ring)
    ringer.ring("invite", "email")
    assert broker.asked.wait(SOON)
    assert broker.rung == []
    broker.goes_on.set()
    assert broker.told.acquire(timeout=SOON)
    assert broker.rung == [("invite", "email")]


def test_what_was_said_again_and_again_meanwhile_is_rung_for_once(bells):
    broker = Broker()
    ringer = bells.Ringer(broker.ring)
    ringer.ring("invite", "email")
    assert broker.asked.wait(SOON)
    for _ in range(3):
        ringer.ring("invite", "sms")
        ringer.ring("issue", "kyc")
    broker.goes_on.set()
    for _ in range(3):
        assert broker.told.acquire(timeout=SOON)
    assert broker.rung == [("invite", "email"), ("invite", "sms"), ("issue", "kyc")]


def test_a_bell_that_breaks_does_not_keep_the_next_from_being_rung(bells):
    rung = threading.Event()

    def ring(step, name):
        if name == "email":
            raise ValueError
        rung.set()

    ringer = bells.Ringer(ring)
    ringer.ring("invite", "email")
    ringer.ring("invite", "sms")
    assert rung.wait(SOON)
