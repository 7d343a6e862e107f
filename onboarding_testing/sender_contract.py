"""The contract of every sender (worker/senders/contract.py), as a suite for pytest.

A test module of the sender's own imports all of it, and has a fixture `side`, a `SenderSide`:

    from onboarding_testing.sender_contract import *

    class AcmeSide(SenderSide): ...

    @pytest.fixture
    def side():
        return AcmeSide()
"""

import asyncio
import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Protocol

import pytest

from onboarding_testing.accounts import PlainSecret
from onboarding_testing.fakes import Recorder
from onboarding_worker.core.model.channels import channels_of
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.senders.contract import (
    DeliveryUpdate,
    HttpAnswer,
    Message,
    NotUnderstood,
    Receipt,
    Sender,
    TextTools,
    text_service,
)
from onboarding_worker.senders.facts import text_facts_of

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
Messages = Callable[..., Message]
# What a stranger may post to the address of delivery reports.
HOSTILE = (
    b"",
    b"\xff\x00",
    b"{",
    b"[" * 5000,
    b"null",
    b'{"id": {"id": 1e999}}',
    b"a=%ff&a=1&=&",
    b"<x/>",
    b"A" * 60_000,
)


class SenderSide(Protocol):
    """The far side of a sender in tests: a server, or a caller with given answers. Inherit it. `service` is the name of
    the sender's entry point; "" for a sender that is no service of its own. `to` is an invented address of its
    `channel`. `account` and `from_` are invented values of these keys of the channel's section."""

    service: str = ""
    channel: str = "sms"
    account: str = "me"
    from_: str = "+15005550006"
    to: str = "maria.lopez@customer.example"

    def words(self, key: str) -> str:
        """The rendered text of the message with this key, for channels whose texts have a form of their own."""
        return key

    def sender(self, *, hold_unknown: bool = True) -> Sender:
        """A sender to this side. With `hold_unknown` a message with an unknown outcome is not repeated."""

    def refuse_next(self) -> None:
        """Refuse the next message for its address, in words that quote the address."""

    def lose_next(self) -> None:
        """Break the next hand-over after the message has left, before its answer."""

    def make(self, *, log_in: bool = True, connection: bool = True) -> Sender:
        """A sender whose log-in with the secret "hemlig" is refused, or whose server cannot be reached."""

    def arrived(self) -> list[str]:
        """The accepted messages in order: their keys, or their texts, which are their keys here."""


@pytest.fixture
def message(side: SenderSide) -> Messages:
    """Makes invented messages to the side. The text has the key, for services that carry no key."""

    def make(**fields: Any) -> Message:
        usual = {
            "key": "0197f3-invitation",
            "at": NOW,
            "to": side.to,
            "language": "de",
            "subject": "Example Bank: Bitte bestätigen Sie Ihre Identität",
        }
        made = {**usual, **fields}
        return Message(**{"text": side.words(made["key"]), **made})

    return make


async def test_an_accepted_message_has_a_receipt_and_arrives_once(side: SenderSide, message: Messages) -> None:
    answer = await side.sender().send(message())

    assert isinstance(answer, Receipt)
    assert side.arrived() == ["0197f3-invitation"]


async def test_a_refusal_is_a_problem_and_nothing_arrives(side: SenderSide, message: Messages) -> None:
    side.refuse_next()

    answer = await side.sender().send(message())

    assert isinstance(answer, Problem)
    assert answer.kind is Kind.BAD_INPUT
    assert side.arrived() == []


async def test_after_a_refusal_the_next_message_goes_out(side: SenderSide, message: Messages) -> None:
    side.refuse_next()
    sender = side.sender()

    await sender.send(message(key="first"))
    answer = await sender.send(message(key="second"))

    assert isinstance(answer, Receipt)
    assert side.arrived() == ["second"]


async def test_a_message_that_may_not_leave_any_more_is_not_handed_over_and_the_next_one_is(
    side: SenderSide, message: Messages
) -> None:
    sender, asked = side.sender(), []

    def no(waited: bool) -> bool:
        asked.append(waited)
        return False

    kept_back = await sender.send(message(key="first"), no)
    answer = await sender.send(message(key="second"), lambda _waited: True)

    assert len(asked) == 1
    assert not isinstance(kept_back, Receipt)
    assert isinstance(answer, Receipt)
    assert side.arrived() == ["second"]


async def test_messages_side_by_side_all_arrive_each_once(side: SenderSide, message: Messages) -> None:
    sender = side.sender()

    answers = await asyncio.gather(*(sender.send(message(key=f"key-{number}")) for number in range(20)))

    assert all(isinstance(answer, Receipt) for answer in answers)
    assert sorted(side.arrived()) == sorted(f"key-{number}" for number in range(20))


async def test_nothing_personal_shows_in_a_receipt_a_problem_or_a_repr(side: SenderSide, message: Messages) -> None:
    side.refuse_next()
    sender = side.sender()

    shown = [repr(message()), repr(await sender.send(message())), repr(await sender.send(message())), repr(sender)]

    assert not [text for text in shown for secret in (side.to, "t0k3n", "maria", "lopez") if secret in text.lower()]


@pytest.mark.parametrize("hold", [True, False])
async def test_a_message_whose_answer_is_lost_is_unknown_and_not_sent_again_by_the_sender(
    side: SenderSide, message: Messages, hold: bool
) -> None:
    side.lose_next()

    answer = await side.sender(hold_unknown=hold).send(message())

    assert isinstance(answer, Problem)  # a second hand-over would have been accepted
    assert (answer.kind, answer.address, answer.unreachable) == (Kind.UNKNOWN, None, False)


async def test_a_message_that_never_left_says_nothing_about_its_address(side: SenderSide, message: Messages) -> None:
    answer = await side.make(connection=False).send(message())

    assert isinstance(answer, Problem)
    assert (answer.kind, answer.address, answer.unreachable) == (Kind.TRANSIENT, None, True)


async def test_a_look_up_finds_no_message_that_was_not_sent_or_says_why_there_is_none(side: SenderSide) -> None:
    sender = side.sender()

    found = await sender.look_up(side.to, "https://a.example/t0k3n", since=NOW - timedelta(hours=1), known=frozenset())

    assert not isinstance(found, Receipt)
    assert not sender.no_look_up or isinstance(found, Problem)


@pytest.mark.parametrize("hold", [True, False])
async def test_repeating_what_broke_is_the_configurations_choice(side: SenderSide, hold: bool) -> None:
    assert side.sender(hold_unknown=hold).repeatable() is not hold


async def test_a_preflight_hands_nothing_over_and_finds_a_sender_that_works(side: SenderSide) -> None:
    assert await side.sender().preflight() is None
    assert side.arrived() == []


async def test_a_refused_log_in_stops_the_sender_before_any_message(side: SenderSide) -> None:
    problem = await side.make(log_in=False).preflight()

    assert isinstance(problem, Problem)
    assert (problem.kind, problem.concerns_account, problem.unreachable) == (Kind.AUTH, True, False)
    assert "hemlig" not in problem.detail
    assert "maria" not in problem.detail


async def test_a_server_that_cannot_be_reached_pauses_the_sender_before_any_message(side: SenderSide) -> None:
    problem = await side.make(connection=False).preflight()

    assert isinstance(problem, Problem)
    assert (problem.kind, problem.unreachable) == (Kind.TRANSIENT, True)


async def test_closing_twice_is_as_good_as_once(side: SenderSide, message: Messages) -> None:
    sender = side.sender()
    await sender.send(message())

    await sender.close()
    await sender.close()

    assert len(side.arrived()) == 1


def test_the_service_says_where_it_is_and_what_it_serves(side: SenderSide) -> None:
    facts = text_facts_of(side.service) if side.service else None

    assert facts is not None or not side.service
    if facts is not None:
        assert facts.host.startswith("https://")
        assert facts.channels
        assert set(facts.channels) <= set(channels_of("phone"))


def service_sender(calls: Recorder, side: SenderSide, **settings: Any) -> Sender:
    """The service's sender for a section of the configuration with these values."""
    section = {
        "base_url": "https://test.example.org/texts",
        "account": side.account,
        "key": None,
        "token": PlainSecret("hemlig"),
        "from_": side.from_,
        "timeout": timedelta(seconds=5),
    }
    tools = TextTools(calls, lambda: NOW, channel=side.channel)
    return text_service(side.service).sender(SimpleNamespace(**{**section, **settings}), tools)


async def test_every_call_goes_to_the_address_of_the_configuration_within_its_time_out(
    side: SenderSide, message: Messages
) -> None:
    """A test environment's messages must not leave at the production host, and none after its lease has ended."""
    if not side.service:
        return
    calls = Recorder()
    sender = service_sender(calls, side)
    await sender.preflight()
    await sender.send(message())
    await sender.look_up(side.to, "https://a.example/t0k3n", since=NOW - timedelta(hours=1), known=frozenset())

    assert calls.requests
    for request in calls.requests:
        assert request.url.startswith("https://test.example.org/texts/")
        assert "hemlig" not in request.url
    assert all(timedelta(0) < one <= timedelta(seconds=5) for one in calls.timeouts)


async def test_another_sender_number_or_text_is_another_request(side: SenderSide, message: Messages) -> None:
    if not side.service:
        return
    calls = Recorder()
    for settings, fields in (
        ({}, {}),
        ({"from_": "+15005550099"}, {}),
        ({}, {"to": "+37060000002"}),
        ({}, {"text": side.words("another")}),
    ):
        await service_sender(calls, side, **settings).send(message(**fields))

    assert len({(request.url, request.body) for request in calls.requests}) == 4


@pytest.mark.parametrize("replaced", [True, False])
async def test_a_token_that_was_replaced_in_its_file_is_used_after_a_401(
    side: SenderSide, message: Messages, replaced: bool
) -> None:
    """Otherwise a rotated token stops the sender until somebody acts. The same token is not tried twice."""
    if not side.service:
        return
    calls = Recorder(HttpAnswer(401, {}, b"{}"))
    await service_sender(calls, side, token=PlainSecret("old", ["new"] if replaced else [])).send(message())

    assert len(calls.requests) == 1 + replaced
    assert not replaced or calls.requests[0] != calls.requests[1]


def test_a_delivery_report_of_a_stranger_is_refused_and_raises_nothing(side: SenderSide) -> None:
    callbacks = text_service(side.service).callbacks if side.service else None
    if callbacks is None:
        return  # no reports
    address = "https://onboard.example.com/callbacks/sms"

    assert callbacks.largest <= 1 << 20
    for body in HOSTILE:
        assert callbacks.unsigned({}) or callbacks.refusal({}, body, address, ["k3y"])
        assert callbacks.refusal({}, body, address, ["k3y"])
        assert isinstance(callbacks.signed_part(body), bytes)
        assert isinstance(callbacks.read(body), DeliveryUpdate | NotUnderstood)


for _test in list(vars().values()):
    if inspect.iscoroutinefunction(_test):
        pytest.mark.asyncio(_test)

__all__ = ["SenderSide", "message", *[name for name in dir() if name.startswith("test_")]]
