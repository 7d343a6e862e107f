"""Makes calls one way, and prints what they cost: `python -m benchmarks.caller WAY URL CALLS PLACES`.

WAY is one of WAYS, PLACES is the number of calls in flight. The output is the processor time of the process in
microseconds a call, user and system, and the calls a second.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import aiohttp

from benchmarks.adapters import KYC
from benchmarks.bare import HEADERS
from worker.domain.model.sessions import Session
from worker.http.client import Http, open_http_session
from worker.providers.contract import HttpAnswer, HttpRequest
from worker.providers.registry import build_provider

TIMEOUT = timedelta(seconds=10)
NOW = datetime(2026, 11, 20, tzinfo=UTC)
WARM_UP = 2_000  # connections, caches
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


WAYS = {"bare": bare, "session": through_session, "http": http, "adapter": adapter}


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
    print(asyncio.run(main(way, url, int(calls), int(places))))
