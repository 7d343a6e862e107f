"""The contract suite over these senders, a text's and a WhatsApp message's. What is this service's alone goes below."""

import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from onboarding_acme.texts import TEXT_SERVICE

from onboarding_testing.accounts import PlainSecret, answer
from onboarding_testing.sender_contract import *  # noqa: F403 -- the suite
from onboarding_testing.sender_contract import NOW, SenderSide
from onboarding_worker.core.model.endings import AddressIs
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer, HttpRequest, MayWrite
from onboarding_worker.senders.contract import Sender, TextTools

SENT = answer(201, {"id": "m7f31"})


class Acme:
    """Makes the sender's calls: `answers` in order, and then everything is accepted."""

    def __init__(self) -> None:
        self.answers: list[HttpAnswer | Broken] = []
        self.sent: list[dict[str, object]] = []  # the accepted messages

    async def call(
        self,
        request: HttpRequest,
        *,
        timeout: timedelta,  # noqa: ASYNC109
        may_write: MayWrite | None = None,
    ) -> HttpAnswer | Broken:
        if may_write is not None and not may_write(False):
            return Broken(sent=False, detail="too late to be written")
        found = self.answers.pop(0) if self.answers else SENT
        if found is SENT and request.method == "POST":
            self.sent.append(json.loads(request.body))
        return found

    async def close(self) -> None:
        pass


class AcmeSide(SenderSide):
    service, to, from_ = "acme-texts", "+37060000001", "Bank"

    def __init__(self, channel: str) -> None:
        self.http, self.channel = Acme(), channel

    def sender(self, *, hold_unknown: bool = True) -> Sender:
        settings = SimpleNamespace(
            base_url="https://api.acme-texts.example",
            account=self.account,
            token=PlainSecret("hemlig"),
            from_=self.from_,
            timeout=timedelta(seconds=5),
        )
        tools = TextTools(self.http, lambda: NOW, repeat_unknown=not hold_unknown, channel=self.channel)
        return TEXT_SERVICE.sender(settings, tools)

    def words(self, key: str) -> str:
        return key if self.channel == "sms" else f"content: welcome\n1: {key}"

    def refuse_next(self) -> None:
        refused = {"code": "no_such_number", "title": f"{self.to} is no number"}
        self.http.answers.append(answer(422, refused))

    def lose_next(self) -> None:
        self.http.answers.append(Broken(sent=True, detail="connection reset"))

    def make(self, *, log_in: bool = True, connection: bool = True) -> Sender:
        if not log_in:
            self.http.answers.append(answer(401, {"code": "key_invalid"}))
        if not connection:
            self.http.answers.append(Broken(sent=False, detail="connection refused"))
        return self.sender()

    def arrived(self) -> list[str]:
        return [one["text"] if self.channel == "sms" else one["values"]["1"] for one in self.http.sent]


@pytest.fixture(params=TEXT_SERVICE.facts.channels)
def side(request: pytest.FixtureRequest) -> AcmeSide:
    return AcmeSide(request.param)


@pytest.mark.asyncio
async def test_a_number_that_is_not_on_whatsapp_may_get_a_text(side: AcmeSide, message: Callable[..., object]) -> None:
    side.http.answers.append(answer(422, {"code": "not_on_whatsapp"}))
    assert (await side.sender().send(message())).address is AddressIs.ELSEWHERE
