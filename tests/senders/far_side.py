"""The far side of an SMS sender in tests: a caller with given answers, and a token to reload."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

from onboarding_testing.fakes import Recorder
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer
from onboarding_worker.senders.contract import TextTools
from onboarding_worker.senders.twilio import TwilioSender

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
ACCOUNT = "AC00000000000000000000000000000001"
NUMBER = "+15005550006"
SERVICE = "MG00000000000000000000000000000001"
TAKEN = HttpAnswer(201, {}, b'{"sid": "SM0123", "status": "queued"}')


def error(status: int, code: int | None = None, message: str = "no", **headers: str) -> HttpAnswer:
    """An error in Twilio's form."""
    body = {"code": code, "message": message, "status": status}
    return HttpAnswer(status, headers, json.dumps(body).encode())


class FakeCaller(Recorder):
    """Returns `answers` in order, then accepts everything. `requests` has the received requests."""

    otherwise = TAKEN

    def __init__(self, answers: Iterable[HttpAnswer | Broken] = ()) -> None:
        super().__init__(*answers)

    @property
    def forms(self) -> list[dict[str, str]]:
        return [dict(parse_qsl(request.body.decode(), strict_parsing=True)) for request in self.requests]


class Token:
    """A secret. `next` is the value that its file has now."""

    def __init__(self, value: str = "sandbox-token", next_: str | None = None) -> None:
        self.value, self.next = value, next_

    def reveal(self) -> str:
        return self.value

    def reload(self) -> bool:
        if self.next is None or self.next == self.value:
            return False
        self.value = self.next
        return True


def sms_sender(http: Any, **changes: Any) -> TwilioSender:
    """The sender with these values of its section and of its tools."""
    section = {
        "base_url": "https://api.twilio.com",
        "account": ACCOUNT,
        "key": None,
        "token": Token(),
        "from_": NUMBER,
        "timeout": timedelta(seconds=10),
    }
    section |= {name: changes.pop(name) for name in section.keys() & changes.keys()}
    return TwilioSender(SimpleNamespace(**section), TextTools(http, lambda: NOW, **changes))
