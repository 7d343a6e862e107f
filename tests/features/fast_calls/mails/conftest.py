"""The tests of the email sender, once more with MAIL, RCPT and DATA in one packet."""

import pytest

from onboarding_worker.features.fast_calls.pipelined import pipelined
from tests.senders.conftest import email as plain_email
from tests.senders.conftest import message
from tests.senders.conftest import relay as plain_relay

__all__ = ["message", "plain_email", "plain_relay"]


@pytest.fixture
def relay(plain_relay):
    plain_relay.extensions.append("PIPELINING")
    return plain_relay


@pytest.fixture
def email(relay, plain_email):
    return lambda **arguments: plain_email(transact=pipelined, **arguments)
