"""What a server may answer to three commands at once."""

from onboarding_worker.core.model.endings import Kind
from onboarding_worker.senders.contract import Receipt

ACCEPTED = Receipt("4F8xY2")


async def test_a_server_that_asks_for_a_message_it_refused_gets_none(relay, email, message):
    relay.script["RCPT"] = ["550 5.1.1 no such user"]
    relay.script["DATA"] = ["354 go ahead"]
    sender = email(connections=1)

    problem = await sender.send(message())

    assert problem.kind is Kind.BAD_INPUT
    assert await sender.send(message()) == ACCEPTED
    assert len(relay.messages) == 1
    assert relay.connections == 2


async def test_after_a_refused_recipient_the_connection_is_used_again(relay, email, message):
    relay.script["RCPT"] = ["550 5.1.1 no such user"]
    sender = email(connections=1)

    await sender.send(message())

    assert await sender.send(message()) == ACCEPTED
    assert relay.connections == 1


async def test_a_server_without_the_extension_gets_one_command_at_a_time(relay, email, message):
    relay.extensions.remove("PIPELINING")

    assert await email().send(message()) == ACCEPTED
