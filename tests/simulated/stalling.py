"""A sender whose first connection takes long, as where a TLS handshake stalls."""

import asyncio

from onboarding_testing.fakes import FakeSender
from onboarding_worker.core.model.endings import Problem
from onboarding_worker.senders.contract import TOO_LATE, MayWrite, Message, Receipt


class Stalling(FakeSender):
    def __init__(self, *, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        seconds, self._seconds = self._seconds, 0.0
        if not seconds:
            return await super().send(message, may_write)
        await asyncio.sleep(seconds)
        return await super().send(message) if may_write is None or may_write(True) else TOO_LATE
