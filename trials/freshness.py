"""Sends a list for ten hours with links that live for one hour, and checks that no link is too old when it is sent.

    python -m trials.freshness                   3,600 customers in each case, in virtual time
    python -m trials.freshness --rows 36000      one text a second; takes ten times longer

The engine is the real one, over SQLite in a temporary folder. Provider and sender are fakes, and time passes only
while all coroutines wait. docs/inside/trials.md says what for.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from tests.simulated.queue import HOUR, Case, Outcome, lived
from tests.simulated.virtual_time import VirtualLoop
from tests.simulated.world import World

LONG = timedelta(hours=10)
PAUSE = (4 * HOUR, 2 * HOUR)


def cases(rows: int) -> dict[str, Case]:
    """The cases by their names."""
    kyb = Case(rows=rows, every=LONG / rows)
    waits = replace(kyb, at_once=False)
    return {
        "KYB": kyb,
        "KYB, sender paused for two hours": replace(kyb, pause=PAUSE),
        "KYB, quiet hours": replace(kyb, quiet="21:00-08:00"),
        "KYB, both": replace(kyb, pause=PAUSE, quiet="21:00-08:00"),
        "reissue must wait": waits,
        "reissue must wait, sender paused": replace(waits, pause=PAUSE),
        "reissue must wait, both": replace(waits, pause=PAUSE, quiet="21:00-08:00"),
    }


async def _lived(case: Case, folder: Path) -> Outcome:
    url = f"sqlite:///{folder / 'onboarding.db'}"
    database = Database(url)
    schema.upgrade(database)
    database.close()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)  # noqa: S101
    worlds: list[World] = []

    def make(outcomes: Any = (), **how: Any) -> World:
        worlds.append(World(url, folder, loop.clock, outcomes, **how))
        return worlds[-1]

    try:
        return await lived(make, case)
    finally:
        for world in worlds:
            world.parts.close()


def show(name: str, case: Case, outcome: Outcome, took: float) -> bool:
    """Print the outcome. Returns True if the promise was kept."""
    hours = outcome.took / HOUR
    again = outcome.bought - case.rows
    print(
        f"{name:<36} {len(outcome.left):>6,} sent in {hours:5.1f} h; least remaining life"
        f" {min(outcome.left) / timedelta(minutes=1):5.1f} min of {case.floor / timedelta(minutes=1):.0f};"
        f" {outcome.bought:,} sessions ({again:,} again, {again / case.rows:.1%});"
        f" queue up to {outcome.longest_queue:,}; {outcome.jobs}; {took:.0f} s"
    )
    return min(outcome.left) >= case.floor and outcome.jobs == {"invited": case.rows}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trials.freshness", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=3600)
    parser.add_argument("--only", help="cases whose names contain this")
    given = parser.parse_args()
    kept = True
    for name, case in cases(given.rows).items():
        if given.only and given.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=VirtualLoop) as runner:
            began = time.monotonic()
            outcome = runner.run(_lived(case, Path(folder)))
        kept = show(name, case, outcome, time.monotonic() - began) and kept
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
