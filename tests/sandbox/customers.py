"""Instructs the sandbox's customers, and reads what was sent."""

import asyncio
import base64
import json

from onboarding_sandbox.options import Share
from tests.suite.waiting import ENDS_WITHIN

ENTITY = "7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77"
FRANKIEONE = {"api_key": "sandbox-key", "X-Frankie-CustomerID": "11111111-1111-4111-8111-111111111111"}
KYC, KYB = "/idenfy/api/v2/token", "/idenfy/kyb/tokens/"


def basic(login="sandbox-key:sandbox-secret"):
    return {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


async def instruct(caller, **fields):
    status, _, answer = await caller.ask("POST", "/_sandbox/customers", data=json.dumps(fields).encode())
    return status, answer


async def done(caller):
    await asyncio.wait_for(caller.sandbox.idle(), ENDS_WITHIN)


async def customer(caller, does="", **how):
    """The session of a customer who is instructed to do this, and has done all."""
    _, _, session = await caller.idenfy({"clientId": "c-1"})
    if does:
        await instruct(caller, session="c-1", does=does, **how)
    await done(caller)
    return session


def all_customers(does):
    return {"customers": (Share(does, 1.0),)}


def sent(caller):
    return [entry for entry in caller.sandbox.log if entry["endpoint"] == "webhooks"]
