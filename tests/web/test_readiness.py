"""A database that hangs makes the process not ready, although the look before found it well."""

import threading
from typing import Any

import pytest

from onboarding_worker.web import readiness as module
from onboarding_worker.web.readiness import UNREACHABLE, Readiness


class Hanging:
    """A database whose first question is not answered before `answers` is set."""

    def __init__(self) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()

    def why_nothing_is_written(self) -> str:
        self.asked.set()
        self.answers.wait()
        return ""


def test_while_a_look_hangs_events_cannot_be_accepted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.schema, "why_not_ready", lambda _database: None)
    database: Any = Hanging()
    ready = Readiness(database, prepare=lambda: None)
    database.answers.set()
    ready.look()
    assert ready.why_not_taken is None
    database.answers.clear()
    database.asked.clear()
    looking = threading.Thread(target=ready.look)
    looking.start()
    try:
        assert database.asked.wait(60)
        assert ready.why_not_taken is None  # it has only begun
        monkeypatch.setattr(module, "ANSWER_SECONDS", -1.0)
        assert ready.why_not_taken == UNREACHABLE
    finally:
        database.answers.set()
        looking.join()
    assert ready.why_not_taken is None
