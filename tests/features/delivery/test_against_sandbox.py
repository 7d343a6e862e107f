"""Our readers read the sandbox's callbacks: both were written from the services' pages, and must agree."""

from datetime import UTC, datetime

import aiohttp

from onboarding_sandbox import Sandbox, SandboxOptions
from onboarding_sandbox.options import Share
from onboarding_worker.features.delivery import standard as email_callbacks
from onboarding_worker.features.delivery import twilio as twilio_callbacks
from onboarding_worker.senders.contract import DeliveryStatus, Stop
from tests.sandbox.conftest import Caller
from tests.sandbox.customers import done
from tests.sandbox.people.test_messages import mail, text
from tests.sandbox.receiver import receiving
from tests.suite.some import some

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


async def test_callbacks_about_texts_are_read():
    async with receiving() as receiver, aiohttp.ClientSession() as http:
        url = f"{receiver.url}/callbacks/sms"
        async with Sandbox(SandboxOptions(time_scale=1e9, texts=(Share("stop", 1.0),))) as sandbox:
            caller = Caller(sandbox, http)
            sid = await text(caller, receiver)
            await done(caller)
    for one in some(receiver.received):
        assert twilio_callbacks.refusal(one.headers, one.body, url=url, keys=["sandbox-token"]) == ""
    sent, delivered, answer = (twilio_callbacks.read(one.body) for one in receiver.received)
    assert (sent.status, delivered.status, answer.stop) == (None, DeliveryStatus.DELIVERED, Stop.STOPPED)
    assert sent.reference == delivered.reference == sid
    assert answer.address == "+37060000001"


async def test_callbacks_about_emails_are_read():
    async with receiving() as receiver, aiohttp.ClientSession() as http:
        bounced = {"mails": (Share("bounced", 1.0),), "mail_webhook": receiver.url}
        async with Sandbox(SandboxOptions(time_scale=1e9, clock=lambda: NOW, **bounced)) as sandbox:
            caller = Caller(sandbox, http)
            await mail(caller)
            await done(caller)
    (one,) = receiver.received
    assert email_callbacks.refusal(one.headers, one.body, keys=["sandbox-mail-key"], now=NOW) == ""
    update = email_callbacks.read(one.body)
    assert (update.reference, update.status, update.stop) == ("k-1", DeliveryStatus.BOUNCED, Stop.BOUNCED)
    assert one.fields["email"] == update.address
