"""Makes calls one way, and prints what they cost: `python -m benchmarks.caller WAY URL CALLS PLACES`.

WAY is one of WAYS, PLACES is the number of calls in flight. The output is the processor time of the process in
microseconds a call, user and system, and the calls a second.
"""

import asyncio
import gc
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
from cryptography.fernet import Fernet

from benchmarks.adapters import KYC
from benchmarks.bare import HEADERS
from benchmarks.sides import CONFIGURATION
from worker.domain.model.customers import Channel
from worker.domain.model.endings import Done
from worker.domain.model.sessions import Session
from worker.engine.container import Parts
from worker.foundation import event_loop
from worker.http.client import Http, open_http_session
from worker.providers.contract import HttpAnswer, HttpRequest
from worker.providers.registry import build_provider
from worker.settings import load
from worker.store.base.priorities import BATCH
from worker.store.issuing.job_context import ClaimedJob
from worker.store.issuing.open_attempts import OpenedJob

TIMEOUT = timedelta(seconds=10)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
WARM_UP = 2_000  # connections, caches
ROWS = 2_000  # as many different rows
Call = Callable[[int], Awaitable[bool]]


def bare(session: aiohttp.ClientSession, url: str) -> Call:
    """aiohttp alone, as its documentation shows it: what the benchmark `issuing` compares with."""

    async def call(number: int) -> bool:
        body = {"tokenType": "IDENTIFICATION", "clientId": f"C-{number:08}"}
        async with session.post(f"{url}/api/v2/token", json=body, headers=HEADERS) as answer:
            return answer.status == 201 and bool((await answer.json())["authToken"])

    return call


def http(session: aiohttp.ClientSession, url: str, *, lean: bool = True) -> Call:
    """`Http`, with a request that is already built."""
    client = Http(session, lean=lean)
    request = HttpRequest("POST", f"{url}/api/v2/token", HEADERS, b'{"tokenType":"IDENTIFICATION","clientId":"C-1"}')

    async def call(_: int) -> bool:
        answer = await client.call(request, timeout=TIMEOUT)
        return isinstance(answer, HttpAnswer) and answer.status == 201

    return call


def through_session(session: aiohttp.ClientSession, url: str) -> Call:
    """The same, through ClientSession."""
    return http(session, url, lean=False)


def adapter(session: aiohttp.ClientSession, url: str) -> Call:
    """`Http`, with the request that the adapter builds, and the answer that it reads."""
    client, provider, asked = Http(session), build_provider(KYC.account(base_url=url)), KYC.asked

    async def call(_: int) -> bool:
        answer = await client.call(provider.build(asked), timeout=TIMEOUT)
        return isinstance(answer, HttpAnswer) and isinstance(
            provider.read(answer, asked, issued_at=NOW, now=NOW), Session
        )

    return call


def issue_work(session: aiohttp.ClientSession, url: str) -> Call:
    """What a dispatcher calls for a row: the whole way from the opened row to its result."""
    os.environ["BENCH_KEY"] = Fernet.generate_key().decode()
    with tempfile.TemporaryDirectory(prefix="onboarding-bench-") as folder:
        configuration = Path(folder) / "onboarding.toml"
        configuration.write_text(CONFIGURATION.format(url=url, places=1))
        parts = Parts(load(configuration))
    work = parts.issue_work("kyc", Http(session, parts.trust), wake_invite=lambda *_: None)
    rows = [_opened(number) for number in range(ROWS)]

    async def call(number: int) -> bool:
        result = await work.call(rows[number % ROWS], work.clock(), lambda _waited: True)
        return isinstance(result.ending, Done)

    return call


def _opened(number: int) -> OpenedJob:
    job = ClaimedJob(
        id=number,
        batch_id=1,
        fence=1,
        attempts=0,
        priority=BATCH,
        purpose="onboarding",
        channel=Channel.NONE,
        due_at=NOW,
        lease_until=NOW,
        probe=False,
        session_id=None,
        floor=timedelta(0),
        request=KYC.asked,
    )
    return OpenedJob(job, uuid.UUID(int=number), repeatable=False)


WAYS = {
    "bare": bare,
    "bare-uvloop": bare,
    "session": through_session,
    "http": http,
    "adapter": adapter,
    "issue-work": issue_work,
}
# With asyncio's loop, as the documentation shows it. The others have the worker's loop.
ON_ASYNCIO = {"bare"}


async def main(way: str, url: str, calls: int, places: int) -> str:
    async with open_http_session() as session:
        call = WAYS[way](session, url)
        await _make(call, WARM_UP, places)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)  # as a worker does
        began, before = time.perf_counter(), os.times()
        await _make(call, calls, places)
        after, seconds = os.times(), time.perf_counter() - began
    user, system = (1e6 * (after[part] - before[part]) / calls for part in (0, 1))
    return f"{user:.2f} {system:.2f} {calls / seconds:.0f}"


async def _make(call: Call, calls: int, places: int) -> None:
    queue = iter(range(calls))

    async def place() -> None:
        for number in queue:
            if not await call(number):
                raise SystemExit("a call failed")

    await asyncio.gather(*(place() for _ in range(places)))


if __name__ == "__main__":
    way, url, calls, places = sys.argv[1:]
    run = asyncio.run if way in ON_ASYNCIO else event_loop.run
    print(run(main(way, url, int(calls), int(places))))
