"""`procrastinate --app=benchmarks.rivals.with_procrastinate.app worker`, a queue in PostgreSQL.

`python -m benchmarks.rivals.with_procrastinate ROWS` makes its tables and the jobs.
"""

import asyncio
import os
import sys
from contextlib import AsyncExitStack

from procrastinate import App, PsycopgConnector

from benchmarks.rivals.opening import Opening, customers, opening

CHUNK = 1000
app = App(connector=PsycopgConnector(conninfo=os.environ["RIVAL_DATABASE"]))
_exits = AsyncExitStack()
_opening: list[Opening] = []
_lock = asyncio.Lock()


@app.task(queue="issue", name="issue")
async def issue(customer_id: str) -> None:
    async with _lock:  # a worker has no hook for its start
        if not _opening:
            _opening.append(await _exits.enter_async_context(opening()))
    await _opening[0].issue(customer_id)


async def main(rows: int) -> None:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        names = customers(rows)
        for first in range(0, rows, CHUNK):
            await issue.batch_defer_async(*({"customer_id": name} for name in names[first : first + CHUNK]))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
