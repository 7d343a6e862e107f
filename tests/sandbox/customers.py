"""What the sandbox's customers are told to do, and what was sent of it."""

import asyncio
import json

from worker.sandbox.behaviour import Share

ENTITY = "7b0d2f6e-9c51-4a8e-8f0a-2d1c5e4b9a77"


async def tell(caller, **said):
    status, _, told = await caller.ask("POST", "/_sandbox/customers", data=json.dumps(said).encode())
    return status, told


async def done(caller):
    await asyncio.wait_for(caller.sandbox.idle(), 30)


def everybody(does):
    return {"customers": (Share(does, 1.0),)}


def sent(caller):
    return [entry for entry in caller.sandbox.log if entry["endpoint"] == "webhooks"]
