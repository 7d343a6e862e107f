"""Our readers read the sandbox's callbacks: both were written from the services' pages, and must agree."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from urllib.parse import urlencode

import aiohttp
import aiosmtplib

from onboarding_sandbox import Sandbox, SandboxOptions
from onboarding_sandbox.options import Share
from tests.sandbox.receiver import receiving
from tests.suite.some import some
from tests.suite.waiting import ENDS_WITHIN
from worker.features.delivery import standard as email_callbacks
from worker.features.delivery import twilio as twilio_callbacks
from worker.senders.contract import DeliveryStatus, Stop

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


async def test_callbacks_about_texts_are_read():
    account = "AC00000000000000000000000000000001"
    login = base64.b64encode(f"{account}:sandbox-token".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/x-www-form-urlencoded"}
    async with receiving() as receiver, aiohttp.ClientSession() as http:
        url = f"{receiver.url}/callbacks/sms"
        options = SandboxOptions(time_scale=1e9, texts=(Share("stop", 1.0),))
        async with Sandbox(options) as sandbox:
            fields = {"To": "+37060000001", "From": "+15005550006", "Body": "link", "StatusCallback": url}
            path = f"{sandbox.url}/twilio/2010-04-01/Accounts/{account}/Messages.json"
            async with http.post(path, data=urlencode(fields), headers=headers) as answer:
                sid = (await answer.json())["sid"]
            await asyncio.wait_for(sandbox.idle(), ENDS_WITHIN)
    for one in some(receiver.received):
        assert twilio_callbacks.refusal(one.headers, one.body, url=url, keys=["sandbox-token"]) == ""
    sent, delivered, answer = (twilio_callbacks.read(one.body) for one in receiver.received)
    assert (sent.status, delivered.status, answer.stop) == (None, DeliveryStatus.DELIVERED, Stop.STOPPED)
    assert sent.reference == delivered.reference == sid
    assert answer.address == "+37060000001"


async def test_callbacks_about_emails_are_read():
    async with receiving() as receiver:
        options = SandboxOptions(
            time_scale=1e9,
            mails=(Share("bounced", 1.0),),
            mail_webhook=receiver.url,
            clock=lambda: NOW,
        )
        async with Sandbox(options) as sandbox:
            message = "From: a@example.com\r\nTo: v@example.com\r\nMessage-ID: <k-1@example.com>\r\n\r\nlink\r\n"
            await aiosmtplib.send(
                message,
                sender="a@example.com",
                recipients=["v@example.com"],
                hostname="127.0.0.1",
                port=sandbox.smtp_port,
            )
            await asyncio.wait_for(sandbox.idle(), ENDS_WITHIN)
    (one,) = receiver.received
    assert email_callbacks.refusal(one.headers, one.body, keys=["sandbox-mail-key"], now=NOW) == ""
    update = email_callbacks.read(one.body)
    assert (update.reference, update.status, update.stop) == ("k-1", DeliveryStatus.BOUNCED, Stop.BOUNCED)
    assert json.loads(one.body)["email"] == update.address
