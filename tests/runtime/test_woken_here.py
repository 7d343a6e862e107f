"""A wake-up whose dispatcher runs in this process is handed to it by the consumer: no task is made for it."""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker.consumer import Consumer as CelerysConsumer

from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.runtime import celery_consumer, process, worker_process
from onboarding_worker.runtime.celery_settings import PREFIX
from onboarding_worker.runtime.worker_process import woken_here
from onboarding_worker.settings.queue_names import INVITE, ISSUE, PUBLISH, SWEEP
from onboarding_worker.wiring.background import Ticks


@dataclass
class Message:
    task: str
    names: list[str]
    acknowledged: bool = False
    content_type = "application/json"
    content_encoding = "utf-8"
    properties: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.headers: dict[str, Any] = {"task": f"onboarding.{self.task}", "id": "5a1f"}
        self.body: Any = json.dumps([self.names, {}, {}])

    def ack(self) -> None:
        self.acknowledged = True


@dataclass
class Running:
    """A process whose dispatchers run for these wake-ups."""

    dispatchers: set[WakeUp]
    woken: list[WakeUp] = field(default_factory=list)

    def wake_here(self, wake_up: WakeUp) -> bool:
        if wake_up in self.dispatchers:
            self.woken.append(wake_up)
        return wake_up in self.dispatchers


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Running:
    """The accounts kyc and kyb are worked here. That a wake-up came has been noted just now."""
    here, notes = Running({WakeUp.issue("kyc"), WakeUp.issue("kyb")}), Ticks(3600)
    notes.begin(monotonic())
    monkeypatch.setattr(process, "existing", lambda: here)
    monkeypatch.setattr(worker_process, "_notes", notes)
    return here


def test_only_a_wake_up_for_a_running_dispatcher_needs_no_task(running: Running, monkeypatch: pytest.MonkeyPatch):
    tasks: list[Message] = []
    monkeypatch.setattr(CelerysConsumer, "create_task_handler", lambda _self: tasks.append)
    consumer = celery_consumer.Consumer.__new__(celery_consumer.Consumer)
    consumer.app = SimpleNamespace(conf={PREFIX: "onboarding."})
    on_message = consumer.create_task_handler()
    woken, others = Message(ISSUE, ["kyc"]), [Message(ISSUE, ["us"]), Message(INVITE, ["kyc"]), Message(SWEEP, [])]
    others.append(Message(PUBLISH, ["kyc"]))

    for message in (woken, *others):
        on_message(message)

    assert running.woken == [WakeUp.issue("kyc")]
    assert woken.acknowledged
    assert tasks == others
    assert not any(message.acknowledged for message in others)


def test_every_few_seconds_a_wake_up_is_a_task_that_notes_that_it_came(
    running: Running, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker_process, "_notes", Ticks(3600))
    assert not woken_here(WakeUp.issue("kyc"))
    assert running.woken == []


def test_before_a_process_is_made_there_is_none_to_wake(running: Running, monkeypatch: pytest.MonkeyPatch):
    assert woken_here(WakeUp.issue("kyb"))
    monkeypatch.setattr(process, "existing", lambda: None)
    assert not woken_here(WakeUp.issue("kyb"))
    assert not woken_here(None)
