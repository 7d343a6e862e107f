"""The contract of every sender (worker/senders/contract.py), as a suite for pytest.

A test module of the sender's own imports all of it, and has a fixture `side`, a `SenderSide`:

    from worker.testing.sender_contract import *

    @pytest.fixture
    def side():
        return AcmeSide()
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest

from worker.domain.model.endings import Kind, Problem
from worker.senders.contract import Message, Receipt, Sender

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
Messages = Callable[..., Message]


class SenderSide(Protocol):
    """The far side of a sender in tests: a server, or a caller with given answers."""

    def sender(self, *, hold_unknown: bool = True) -> Sender:
        """A sender to this side. With `hold_unknown` a message with an unknown outcome is not repeated."""

    def refuse_next(self) -> None:
        """Refuse the next message for its address, in words that quote the address."""

    def make(self, *, log_in: bool = True, connection: bool = True) -> Sender:
        """A sender whose log-in with the secret "hemlig" is refused, or whose server cannot be reached."""

    def arrived(self) -> list[str]:
        """The accepted messages in order: their keys, or their texts, which are their keys here."""


@pytest.fixture
def message() -> Messages:
    """Makes invented messages. The text is the key, for services that carry no key."""

    def make(**fields: Any) -> Message:
        usual = {
            "key": "0197f3-invitation",
            "at": NOW,
            "to": "maria.lopez@customer.example",
            "language": "de",
            "subject": "Example Bank: Bitte bestätigen Sie Ihre Identität",
        }
        made = {**usual, **fields}
        return Message(**{"text": made["key"], **made})

    return make


@pytest.mark.asyncio
async def test_an_accepted_message_has_a_receipt_and_arrives_once(side: SenderSide, message: Messages) -> None:
    answer = await side.sender().send(message())

    assert isinstance(answer, Receipt)
    assert side.arrived() == ["0197f3-invitation"]


@pytest.mark.asyncio
async def test_a_refusal_is_a_problem_and_nothing_arrives(side: SenderSide, message: Messages) -> None:
    side.refuse_next()

    answer = await side.sender().send(message())

    assert isinstance(answer, Problem)
    assert answer.kind is Kind.BAD_INPUT
    assert side.arrived() == []


@pytest.mark.asyncio
async def test_after_a_refusal_the_next_message_goes_out(side: SenderSide, message: Messages) -> None:
    side.refuse_next()
    sender = side.sender()

    await sender.send(message(key="first"))
    answer = await sender.send(message(key="second"))

    assert isinstance(answer, Receipt)
    assert side.arrived() == ["second"]


@pytest.mark.asyncio
async def test_messages_side_by_side_all_arrive_each_once(side: SenderSide, message: Messages) -> None:
    sender = side.sender()

    answers = await asyncio.gather(*(sender.send(message(key=f"key-{number}")) for number in range(20)))

    assert all(isinstance(answer, Receipt) for answer in answers)
    assert sorted(side.arrived()) == sorted(f"key-{number}" for number in range(20))


@pytest.mark.asyncio
async def test_nothing_personal_shows_in_a_receipt_a_problem_or_a_repr(side: SenderSide, message: Messages) -> None:
    side.refuse_next()
    sender = side.sender()

    shown = [repr(message()), repr(await sender.send(message())), repr(await sender.send(message())), repr(sender)]

    assert not [text for text in shown for secret in ("t0k3n", "maria", "lopez") if secret in text.lower()]


@pytest.mark.asyncio
@pytest.mark.parametrize("hold", [True, False])
async def test_repeating_what_broke_is_the_configurations_choice(side: SenderSide, hold: bool) -> None:
    assert side.sender(hold_unknown=hold).repeatable() is not hold


@pytest.mark.asyncio
async def test_a_preflight_hands_nothing_over_and_finds_a_sender_that_works(side: SenderSide) -> None:
    assert await side.sender().preflight() is None
    assert side.arrived() == []


@pytest.mark.asyncio
async def test_a_refused_log_in_stops_the_sender_before_any_message(side: SenderSide) -> None:
    problem = await side.make(log_in=False).preflight()

    assert isinstance(problem, Problem)
    assert (problem.kind, problem.concerns_account, problem.unreachable) == (Kind.AUTH, True, False)
    assert "hemlig" not in problem.detail
    assert "maria" not in problem.detail


@pytest.mark.asyncio
async def test_a_server_that_cannot_be_reached_pauses_the_sender_before_any_message(side: SenderSide) -> None:
    problem = await side.make(connection=False).preflight()

    assert isinstance(problem, Problem)
    assert (problem.kind, problem.unreachable) == (Kind.TRANSIENT, True)


@pytest.mark.asyncio
async def test_closing_twice_is_as_good_as_once(side: SenderSide, message: Messages) -> None:
    sender = side.sender()
    await sender.send(message())

    await sender.close()
    await sender.close()

    assert len(side.arrived()) == 1


__all__ = ["SenderSide", "message", *[name for name in dir() if name.startswith("test_")]]
