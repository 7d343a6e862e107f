"""`arq benchmarks.rivals.with_arq.WorkerSettings`; `python -m benchmarks.rivals.with_arq ROWS` makes the jobs."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from typing import Any, ClassVar

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.rivals.opening import PLACES, customers, opening

REDIS = RedisSettings.from_dsn(os.environ["RIVAL_BROKER"])


async def issue(context: dict[str, Any], customer_id: str) -> None:
    await context["opening"].issue(customer_id)


async def begin(context: dict[str, Any]) -> None:
    context["exits"] = AsyncExitStack()
    context["opening"] = await context["exits"].enter_async_context(opening())


async def end(context: dict[str, Any]) -> None:
    await context["exits"].aclose()


class WorkerSettings:
    functions: ClassVar[list[Any]] = [issue]
    on_startup = begin
    on_shutdown = end
    redis_settings = REDIS
    max_jobs = PLACES
    poll_delay = 0.05
    keep_result = 0


async def main(rows: int) -> None:
    redis = await create_pool(REDIS)
    for customer_id in customers(rows):
        await redis.enqueue_job("issue", customer_id)
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
