"""Wake-ups are sent by a thread of their own: a broker that hangs delays none of the work."""

import os
import threading

import pytest
from celery import Celery

from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.runtime import wakeups
from onboarding_worker.runtime.wakeups import BackgroundSender, WakeUps
from onboarding_worker.settings.load import load
from onboarding_worker.settings.queue_names import ISSUE
from tests.simulated.world import configuration
from tests.suite.waiting import ENDS_WITHIN


class Broker:
    """Hangs until it may go on."""

    def __init__(self):
        self.asked, self.goes_on, self.sent = threading.Event(), threading.Event(), threading.Semaphore(0)
        self.woken = []

    def send(self, wake_up):
        self.asked.set()
        assert self.goes_on.wait(ENDS_WITHIN)
        self.woken.append(wake_up)
        self.sent.release()


def test_the_sender_does_not_wait_for_a_broker_that_hangs():
    broker = Broker()
    sender = BackgroundSender(broker.send)
    sender.send(WakeUp.invite("email"))
    assert broker.asked.wait(ENDS_WITHIN)
    assert broker.woken == []
    broker.goes_on.set()
    assert broker.sent.acquire(timeout=ENDS_WITHIN)
    assert broker.woken == [WakeUp.invite("email")]


def test_a_wake_up_that_is_repeated_while_it_waits_is_sent_once():
    broker = Broker()
    sender = BackgroundSender(broker.send)
    sender.send(WakeUp.invite("email"))
    assert broker.asked.wait(ENDS_WITHIN)
    for _ in range(3):
        sender.send(WakeUp.invite("sms"))
        sender.send(WakeUp.issue("kyc"))
    broker.goes_on.set()
    for _ in range(3):
        assert broker.sent.acquire(timeout=ENDS_WITHIN)
    assert broker.woken == [WakeUp.invite("email"), WakeUp.invite("sms"), WakeUp.issue("kyc")]


def test_a_wake_up_that_fails_does_not_keep_the_next_from_being_sent():
    sent = threading.Event()

    def send(wake_up):
        if wake_up.name == "email":
            raise ValueError
        sent.set()

    sender = BackgroundSender(send)
    sender.send(WakeUp.invite("email"))
    sender.send(WakeUp.invite("sms"))
    assert sent.wait(ENDS_WITHIN)


def test_a_forked_child_sends_with_a_thread_of_its_own():
    reading, writing = os.pipe()
    sender = BackgroundSender(lambda wake_up: os.write(writing, f"{wake_up} ".encode()))
    sender.send(WakeUp.invite("email"))
    assert os.read(reading, 100) == b"invite:email "
    child = os.fork()
    if not child:
        sender.send(WakeUp.issue("kyc"))
        threading.Event().wait(ENDS_WITHIN)  # until it is killed: the parent has read what it wrote
        os._exit(0)
    try:
        assert os.read(reading, 100) == b"issue:kyc "
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


@pytest.fixture
def configured(tmp_path):
    """Settings with the broker of a URL."""

    def configure(broker):
        more = '[broker]\nurl = { env = "BROKER" }\n' if broker else ""
        (tmp_path / "onboarding.toml").write_text(f"{configuration('sqlite:///onboarding.db')}\n{more}")
        environ = {"KEY": new_key(), "SECRET": "00000000-0000-4000-8000-000000000000", "BROKER": broker}
        return load(tmp_path / "onboarding.toml", environ=environ)

    return configure


def test_wake_ups_arrive_after_redis_has_lost_every_key(configured, own_redis):
    """The connection stays, and with it what kombu believes to have declared."""
    wake_ups = WakeUps(configured(own_redis.url))
    wake_ups.send([WakeUp.issue("kyc")])
    with own_redis.client() as client:
        client.flushall()
        wake_ups.send([WakeUp.issue("kyc")])
        assert client.llen(f"onboarding.{ISSUE}") == 1


def test_a_redis_whose_memory_is_full_is_not_said_to_be_away(configured, own_redis, caplog):
    with own_redis.client() as client:
        client.config_set("maxmemory", "1kb")
    WakeUps(configured(own_redis.url)).send([WakeUp.invite("email")])
    assert [message.partition(":")[0] for message in caplog.messages] == [
        "the broker refuses this process (its memory is full)"
    ]


def test_each_configuration_has_a_broker_of_its_own_and_the_environment_has_no_say(configured, monkeypatch):
    sent = []
    monkeypatch.setattr(
        Celery, "send_task", lambda app, task, args, **_: sent.append((app.conf.broker_url, task, args))
    )
    monkeypatch.setenv("ONBOARDING_CONFIG", "/nowhere")
    first, second = (WakeUps(configured(f"redis://127.0.0.1:{port}/0")) for port in (1, 2))
    first.send([WakeUp.issue("kyc"), WakeUp.invite("email")])
    second.send([WakeUp.publish("bus")])
    assert sent == [
        ("redis://127.0.0.1:1/0", "onboarding.issue", ("kyc",)),
        ("redis://127.0.0.1:1/0", "onboarding.invite", ("email",)),
        ("redis://127.0.0.1:2/0", "onboarding.tell", ("bus",)),
    ]
    assert os.environ["ONBOARDING_CONFIG"] == "/nowhere"


def test_after_a_wake_up_that_the_broker_does_not_take_no_other_is_tried(configured, monkeypatch):
    tried = []
    monkeypatch.setattr(wakeups, "send_through", lambda _app, wake_up: tried.append(wake_up))
    WakeUps(configured("redis://127.0.0.1:1/0")).send([WakeUp.issue("kyc"), WakeUp.invite("email")])
    assert tried == [WakeUp.issue("kyc")]


def test_without_a_broker_nothing_is_sent(configured, monkeypatch):
    monkeypatch.setattr(wakeups, "send_through", lambda *_: pytest.fail("sent"))
    wake_ups = WakeUps(configured(""))
    wake_ups.send([WakeUp.issue("kyc")])
    wake_ups.send_soon(WakeUp.issue("kyc"))
