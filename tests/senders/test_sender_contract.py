"""The contract of every sender. A new sender is one more line in SIDES."""

import asyncio

import pytest

from tests.senders.far_side import FakeCaller, error, sms_sender
from worker.domain.model.endings import Kind, Problem
from worker.http.messages import Broken
from worker.senders.contract import Receipt
from worker.senders.fake import FakeSender


class FakeSide:
    """The far side of a fake sender: the test sets its answers and reads its messages."""

    def __init__(self):
        self.answers = []

    def sender(self, **arguments):
        self.made = FakeSender(self.answers, **arguments)
        return self.made

    def refuse_next(self):
        self.answers.append(Problem(Kind.BAD_INPUT, "no such mailbox"))

    def make(self, *, log_in=True, connection=True):
        problem = Problem(Kind.TRANSIENT, "refused", unreachable=True) if log_in else Problem(Kind.AUTH, "HTTP 401")
        self.made = FakeSender(preflights=[problem])
        return self.made

    def arrived(self):
        return [message.key for message in self.made.messages]


class EmailSide:
    def __init__(self, relay, email):
        self.relay, self.sender = relay, email

    def refuse_next(self):
        self.relay.script["RCPT"].append("550 5.1.1 no such mailbox")

    def make(self, *, log_in=True, connection=True):
        if not log_in:
            self.relay.extensions.append("AUTH PLAIN")
            self.relay.script["AUTH"].append("535 5.7.8 no")
        return self.sender(**({} if connection else {"port": 1}), username="maria", password="hemlig")

    def arrived(self):
        lines = b"\r\n".join(self.relay.messages).decode().splitlines()
        return [line.split("<")[1].split("@")[0] for line in lines if line.startswith("Message-ID:")]


class SmsSide:
    """Texts carry no key, so here the text is the key."""

    def __init__(self):
        self.http = FakeCaller()
        self.refused = 0

    def sender(self, *, hold_unknown=True):
        return sms_sender(self.http, repeat_unknown=not hold_unknown)

    def refuse_next(self):
        self.refused += 1
        self.http.answers.append(error(400, 21211, "The 'To' number maria.lopez@customer.example is not valid"))

    def make(self, *, log_in=True, connection=True):
        if not log_in:
            self.http.answers.append(error(401, 20003, "Authenticate"))
        if not connection:
            self.http.answers.append(Broken(sent=False, detail="connection refused"))
        return sms_sender(self.http)

    def arrived(self):
        posted = [form for form in self.http.forms if "Body" in form]
        return [form["Body"] for form in posted[self.refused :]]


SIDES = {"fake": lambda relay, email: FakeSide(), "email": EmailSide, "sms": lambda relay, email: SmsSide()}


@pytest.fixture(params=SIDES)
def side(request, relay, email):
    return SIDES[request.param](relay, email)


@pytest.fixture
def message(message):
    """The shared message, with its key as the text."""
    return lambda **fields: message(text=fields.get("key", "0197f3-invitation-email"), **fields)


async def test_an_accepted_message_has_a_receipt_and_arrives_once(side, message):
    answer = await side.sender().send(message())

    assert isinstance(answer, Receipt)
    assert side.arrived() == ["0197f3-invitation-email"]


async def test_a_refusal_is_a_problem_and_nothing_arrives(side, message):
    side.refuse_next()

    answer = await side.sender().send(message())

    assert isinstance(answer, Problem)
    assert answer.kind is Kind.BAD_INPUT
    assert side.arrived() == []


async def test_after_a_refusal_the_next_message_goes_out(side, message):
    side.refuse_next()
    sender = side.sender()

    await sender.send(message(key="first"))
    answer = await sender.send(message(key="second"))

    assert isinstance(answer, Receipt)
    assert side.arrived() == ["second"]


async def test_messages_side_by_side_all_arrive_each_once(side, message):
    sender = side.sender()

    answers = await asyncio.gather(*(sender.send(message(key=f"key-{number}")) for number in range(20)))

    assert all(isinstance(answer, Receipt) for answer in answers)
    assert sorted(side.arrived()) == sorted(f"key-{number}" for number in range(20))


async def test_nothing_personal_shows_in_a_receipt_a_problem_or_a_repr(side, message):
    side.refuse_next()
    sender = side.sender()

    shown = [repr(message()), repr(await sender.send(message())), repr(await sender.send(message())), repr(sender)]

    assert not [text for text in shown for secret in ("t0k3n", "maria", "lopez") if secret in text.lower()]


@pytest.mark.parametrize("hold", [True, False])
async def test_repeating_what_broke_is_the_configurations_choice(side, hold):
    assert side.sender(hold_unknown=hold).repeatable() is not hold


async def test_a_preflight_hands_nothing_over_and_finds_a_sender_that_works(side):
    assert await side.sender().preflight() is None
    assert side.arrived() == []


async def test_a_refused_log_in_stops_the_sender_before_any_message(side):
    problem = await side.make(log_in=False).preflight()

    assert (problem.kind, problem.concerns_account, problem.unreachable) == (Kind.AUTH, True, False)
    assert "hemlig" not in problem.detail
    assert "maria" not in problem.detail


async def test_a_server_that_cannot_be_reached_pauses_the_sender_before_any_message(side):
    problem = await side.make(connection=False).preflight()

    assert (problem.kind, problem.unreachable) == (Kind.TRANSIENT, True)


async def test_closing_twice_is_as_good_as_once(side, message):
    sender = side.sender()
    await sender.send(message())

    await sender.close()
    await sender.close()

    assert len(side.arrived()) == 1
