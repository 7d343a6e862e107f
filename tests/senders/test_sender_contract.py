"""The contract of every sender (onboarding_testing/sender_contract.py). A new sender is one more line in SIDES."""

import json
from datetime import timedelta

import pytest

from onboarding_testing.fakes import FakeSender
from onboarding_testing.sender_contract import *  # noqa: F403 -- the suite
from onboarding_testing.sender_contract import SenderSide
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import Broken
from tests.senders.conftest import DROP
from tests.senders.far_side import FakeCaller, Token, error, sms_sender


class FakeSide(SenderSide):
    """The far side of a fake sender: the test sets its answers and reads its messages."""

    def __init__(self):
        self.answers = []

    def sender(self, **arguments):
        self.made = FakeSender(self.answers, **arguments)
        return self.made

    def refuse_next(self):
        self.answers.append(Problem(Kind.BAD_INPUT, "no such mailbox"))

    def lose_next(self):
        self.answers.append(Problem(Kind.UNKNOWN, "connection reset"))

    def make(self, *, log_in=True, connection=True):
        problem = Problem(Kind.TRANSIENT, "refused", unreachable=True) if log_in else Problem(Kind.AUTH, "HTTP 401")
        self.made = FakeSender([problem], preflights=[problem])
        return self.made

    def arrived(self):
        return [message.key for message in self.made.messages]


class EmailSide(SenderSide):
    def __init__(self, relay, email):
        self.relay, self.sender = relay, email

    def refuse_next(self):
        self.relay.script["RCPT"].append(f"550 5.1.1 no such mailbox {self.to}")

    def lose_next(self):
        self.relay.script["END"].append(DROP)

    def make(self, *, log_in=True, connection=True):
        if not log_in:
            self.relay.extensions.append("AUTH PLAIN")
            self.relay.script["AUTH"].append("535 5.7.8 no")
        return self.sender(**({} if connection else {"port": 1}), username="maria", password="hemlig")

    def arrived(self):
        lines = b"\r\n".join(self.relay.messages).decode().splitlines()
        return [line.split("<")[1].split("@")[0] for line in lines if line.startswith("Message-ID:")]


class TwilioSide(SenderSide):
    """Its messages carry no key, so here the text is the key."""

    service, channel, to = "twilio", "sms", "+37060000001"

    def __init__(self):
        self.http = FakeCaller()
        self.refused = 0

    def sender(self, *, hold_unknown=True):
        more = {"repeat_unknown": not hold_unknown, "channel": self.channel}
        return sms_sender(self.http, token=Token("hemlig"), timeout=timedelta(seconds=5), **more)

    def refuse_next(self):
        self.refused += 1
        self.http.answers.append(error(400, 21211, f"The 'To' number {self.to} is not valid"))

    def lose_next(self):
        self.http.answers.append(Broken(sent=True, detail="connection reset"))

    def make(self, *, log_in=True, connection=True):
        if not log_in:
            self.http.answers.append(error(401, 20003, "Authenticate"))
        if not connection:
            self.http.answers.append(Broken(sent=False, detail="connection refused"))
        return self.sender()

    def arrived(self):
        return [self.key_in(form) for form in self.http.forms if "To" in form][self.refused :]

    def key_in(self, form):
        return form["Body"]


class WhatsAppSide(TwilioSide):
    channel = "whatsapp"

    def words(self, key):
        return f"content: HX{'0' * 32}\n1: {key}"

    def key_in(self, form):
        return json.loads(form["ContentVariables"])["1"]


SIDES = {"fake": FakeSide, "email": EmailSide, "sms": TwilioSide, "whatsapp": WhatsAppSide}


@pytest.fixture(params=SIDES)
def side(request, relay, email):
    made = SIDES[request.param]
    return made(relay, email) if made is EmailSide else made()
