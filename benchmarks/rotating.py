"""How much slower workers are while `onboard keys rotate` changes the values that they work with.

The side "ours on PostgreSQL, one `onboard worker`" of `issuing`, alone and with a rotation that begins before it and
ends after it, in turn. The ratio is quoted, not the rates.
"""

import argparse
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.processes import ONBOARD, report, running
from benchmarks.provider import answering, nginx
from benchmarks.services import database_url, driver_url, postgresql, redis
from benchmarks.sides import Figure, Stage, measured
from worker.foundation.keyring import new_key

# A value by the old key is changed once, so the rotation needs more values than it changes meanwhile: two for each row.
MOST_ROWS = 100_000


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured [3]")
    parser.add_argument("--rows", type=int, default=40_000, help="rows that are issued each time [40000]")
    parser.add_argument("--per-second", type=int, default=2000, help="of the rotation [2000]")
    parser.add_argument("--places", type=int, default=50, help="calls in flight [50]")


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the facts. Progress goes to standard error. Raises Failed."""
    os.environ["BENCH_KEY"], os.environ["BENCH_NEW_KEY"] = new_key(), new_key()
    rows = min(chosen.rows, MOST_ROWS)
    alone: list[float] = []
    beside: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="onboarding-bench-") as folder,
        answering(Path(folder), program=nginx()) as provider,
        redis(Path(folder)) as broker,
        postgresql() as server,
    ):
        stage = Stage(Path(folder), provider, server, broker, chosen.places)
        for number in range(chosen.rounds + 1):
            for rates, per_second in ((alone, 0), (beside, chosen.per_second)):
                figure = _issued(stage, rows, rotated_per_second=per_second)
                what = f"during a rotation of {per_second}/s" if per_second else "alone"
                report(f"{number or 'trying'}: {what}: {figure.rate:,.0f}/s")
                if number:
                    rates.append(figure.rate)
    ratios = [slowed / free for slowed, free in zip(beside, alone, strict=True)]
    return {
        "rounds": chosen.rounds,
        "rows": rows,
        "per_second": chosen.per_second,
        "alone": [round(rate, 1) for rate in alone],
        "beside": [round(rate, 1) for rate in beside],
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio": round(statistics.median(ratios), 3),
    }


def _issued(stage: Stage, rows: int, *, rotated_per_second: int) -> Figure:
    """One worker issues all rows; a rotation, if any, runs the whole time. Raises Failed if it ends before."""
    folder = stage.list_of(rows, "postgresql")
    name = stage.server.make(like=stage.database_of(rows))
    environment = {
        "ONBOARDING__DATABASE__URL": database_url(name),
        "ONBOARDING__BROKER__URL": stage.broker,
        "ONBOARDING__ENCRYPTION__KEYS": '[{ env = "BENCH_NEW_KEY" }, { env = "BENCH_KEY" }]',
    }
    commands = [["worker"], ["beat"]]
    if rotated_per_second:
        commands.insert(0, ["keys", "rotate", "--per-second", str(rotated_per_second)])
    stage.server.settle()
    stage.provider.forget()
    with ExitStack() as exits:
        connection = exits.enter_context(psycopg.connect(driver_url(name), autocommit=True))
        processes = [
            exits.enter_context(running([*ONBOARD, *command], folder=folder, environment=environment))
            for command in commands
        ]

        def stored() -> int:
            row = connection.execute("select count(*) from session").fetchone()
            return int(row[0]) if row else 0

        # `measured` checks, at each look, that every process still runs.
        figure = measured(stage, rows, processes, stored=stored)
    stage.server.drop(name)
    return figure


def table(facts: dict[str, Any]) -> str:
    """The facts as a Markdown table."""
    lines = [
        f"One worker, {facts['rows']:,} rows; a rotation of {facts['per_second']:,} rows a second.",
        "",
        "| | customers/s (each round) |",
        "|---|---|",
        f"| alone | {', '.join(f'{rate:,.0f}' for rate in facts['alone'])} |",
        f"| during the rotation | {', '.join(f'{rate:,.0f}' for rate in facts['beside'])} |",
        f"| ratio, the median of {', '.join(map(str, facts['ratios']))} | {facts['ratio']:.2f} |",
    ]
    return "\n".join(lines)
