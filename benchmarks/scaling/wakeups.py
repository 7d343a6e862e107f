"""How many workers have a dispatcher for an account, when wake-ups alone begin dispatchers.

The scheduler has a wake-up sent for the account each `SWEEP_SECONDS`, and a dispatcher sends one when it ends with rows
left. Any worker takes it; one that has a dispatcher for the account already drops it.
"""

import heapq
import random
from collections.abc import Sequence

from worker.engine.runner import LONGEST_DISPATCH
from worker.runtime.celery_settings import SWEEP_SECONDS


def working(workers: int, at: Sequence[float], *, seed: int) -> list[int]:
    """How many of the workers have a dispatcher at these seconds (in order) from the beginning."""
    chance, found = random.Random(seed), []
    ends: dict[int, float] = {}
    wake_ups = [0.0]
    tick = 0.0
    for second in at:
        while wake_ups and wake_ups[0] <= second:
            now = heapq.heappop(wake_ups)
            worker = chance.randrange(workers)
            if ends.get(worker, 0.0) <= now:
                ends[worker] = now + LONGEST_DISPATCH.total_seconds()
                heapq.heappush(wake_ups, ends[worker])
            if now == tick:
                tick += SWEEP_SECONDS
                heapq.heappush(wake_ups, tick)
        found.append(sum(end > second for end in ends.values()))
    return found
