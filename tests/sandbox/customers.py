"""Instructs the sandbox's customers, and reads what was sent."""

import asyncio
import json

from onboarding_sandbox.options import Share
from tests.suite.waiting import ENDS_WITHIN

ENTITY = "7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77"


async def instruct(caller, **fields):
    status, _, answer = await caller.ask("POST", "/_sandbox/customers", data=json.dumps(fields).encode())
    return status, answer


async def done(caller):
    await asyncio.wait_for(caller.sandbox.idle(), ENDS_WITHIN)


def all_customers(does):
    return {"customers": (Share(does, 1.0),)}


def sent(caller):
    return [entry for entry in caller.sandbox.log if entry["endpoint"] == "webhooks"]
