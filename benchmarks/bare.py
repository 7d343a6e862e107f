"""A loop that only makes calls and stores nothing: the upper bound of one process.

`python -m benchmarks.bare URL CALLS PLACES`, where PLACES is the number of calls in flight. The process keeps running
after its last call, because the benchmark reads its processor time; the benchmark ends it.
"""

import asyncio
import signal
import sys

import aiohttp

HEADERS = {"Authorization": "Basic a2V5OnNlY3JldA==", "Content-Type": "application/json"}


async def main(url: str, calls: int, places: int) -> None:
    queue = iter(range(calls))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=HEADERS) as session:

        async def ask() -> None:
            for number in queue:
                body = {"tokenType": "IDENTIFICATION", "clientId": f"C-{number:08}"}
                async with session.post(f"{url}/api/v2/token", json=body) as answer:
                    if answer.status != 201 or not (await answer.json())["authToken"]:
                        raise SystemExit(f"the provider answered {answer.status}")

        await asyncio.gather(*(ask() for _ in range(places)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
    signal.pause()
