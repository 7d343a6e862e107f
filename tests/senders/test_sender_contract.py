"""The contract of every sender (worker/testing/sender_contract.py). A new sender is one more line in SIDES."""

import pytest

from tests.senders.far_side import FakeCaller, error, sms_sender
from worker.domain.model.endings import Kind, Problem
from worker.http.messages import Broken
from worker.senders.fake import FakeSender
from worker.testing.sender_contract import *  # noqa: F403 -- the suite


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
