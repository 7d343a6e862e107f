"""Simulates a list of 10 million customers with 1 to 200 workers: time, contention, and what is used up first.

Nothing is measured here: measured costs (`benchmarks.scaling.costs`) are put together by a model. The dispatchers and
the decisions about limits are the worker's own; time, processors, locks and the provider are simulated.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import fields, replace
from datetime import timedelta
from multiprocessing import get_context
from typing import Any

from benchmarks.processes import report
from benchmarks.scaling.cell import Cell, simulate
from benchmarks.scaling.costs import US, Costs, Part
from benchmarks.scaling.verdict import first_bottleneck
from worker.domain.limits.rate_limits import Limit

WORKERS = "1,2,4,10,20,50,100,200"
LIMITS = "10/second,200/second,1000/second,10000/second,100000/second,none"
SECOND = timedelta(seconds=1)
# For each rate, what may be turned, from the default configuration on.
TURNS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "1000/second": [
        ("4 workers, `concurrency` 50 (the default)", {"workers": 4, "concurrency": 50}),
        ("4 workers, `concurrency` 200", {"workers": 4, "concurrency": 200}),
        ("200 workers, `concurrency` 200", {"workers": 200, "concurrency": 200}),
        ("… and a horizon of 1 s", {"workers": 200, "concurrency": 200, "horizon": SECOND}),
        ("200 workers, `concurrency` 4,000", {"workers": 200, "concurrency": 4000}),
    ],
    "10000/second": [
        ("1 worker, `concurrency` 2,000", {"workers": 1, "concurrency": 2000}),
        ("4 workers, `concurrency` 2,000", {"workers": 4, "concurrency": 2000}),
        ("100 workers, `concurrency` 2,000", {"workers": 100, "concurrency": 2000}),
        ("100 workers, `concurrency` 20,000", {"workers": 100, "concurrency": 20_000}),
    ],
    "100000/second": [
        ("20 workers, one budget", {"workers": 20}),
        ("20 workers, 4 budgets", {"workers": 20, "budgets": 4}),
        ("24 workers, 8 budgets", {"workers": 24, "budgets": 8}),
        ("24 workers, 8 budgets, 4 database cores", {"workers": 24, "budgets": 8, "cores": 4}),
    ],
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=10_000_000, help="customers of the list [10000000]")
    parser.add_argument("--workers", default=WORKERS, metavar="N,N", help=f"[{WORKERS}]")
    parser.add_argument("--limits", default=LIMITS, metavar="N/PERIOD,none", help=f"of the provider [{LIMITS}]")
    parser.add_argument("--latency", type=float, default=100, help="of a call, on average, in milliseconds [100]")
    parser.add_argument("--concurrency", type=int, help="calls in flight, of all workers [enough for the limit]")
    parser.add_argument("--cores", type=int, default=16, help="of the database's machine [16]")
    parser.add_argument("--budgets", type=int, default=1, help="accounts that share rows, limit and workers [1]")
    parser.add_argument("--cost", action="append", default=[], metavar="NAME=US", help="as claim.worker_row=11")
    parser.add_argument("--no-turns", action="store_true", help="leave out what to turn at 1,000 to 100,000 a second")
    parser.add_argument("--seed", type=int, default=7, help="[7]")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="of the simulation [one a core]")


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Simulate and return the facts. Progress goes to standard error. Raises Failed."""
    base = Cell(
        workers=1,
        rows=chosen.rows,
        concurrency=chosen.concurrency,
        latency=chosen.latency / 1000,
        cores=chosen.cores,
        budgets=chosen.budgets,
        seed=chosen.seed,
        costs=with_costs(Costs(), chosen.cost),
    )
    counts = [int(count) for count in chosen.workers.split(",")]
    limits = [None if limit == "none" else Limit.parse(limit) for limit in chosen.limits.split(",")]
    main = [("", replace(base, limit=limit, workers=count)) for limit in limits for count in counts]
    turned = [
        (title, replace(base, limit=Limit.parse(limit), **how))
        for limit, turns in TURNS.items()
        for title, how in turns
        if not chosen.no_turns
    ]
    facts = _played([*main, *turned], chosen.processes)
    return {
        "rows": base.rows,
        "latency_ms": chosen.latency,
        "cores": base.cores,
        "budgets": base.budgets,
        "seed": base.seed,
        "cells": facts[: len(main)],
        "turned": facts[len(main) :],
    }


def with_costs(costs: Costs, given: Sequence[str]) -> Costs:
    """The costs with these changes, such as "fsync=190" or "claim.worker_row=11", in microseconds.

    Raises ValueError for a name that is no cost, and for a value that is no number.
    """
    for text in given:
        path, _, value = text.partition("=")
        name, _, field = path.partition(".")
        changed: Any = getattr(costs, name, None) if name in {one.name for one in fields(Costs)} else None
        if isinstance(changed, Part) and field in {one.name for one in fields(Part)} - {"trips"}:
            part: dict[str, Any] = {field: float(value) * US}
            changed = replace(changed, **part)
        elif isinstance(changed, float) and not field:
            changed = float(value) * US
        else:
            raise ValueError(f"there is no cost {path!r}")
        costs = replace(costs, **{name: changed})
    return costs


def _played(cells: Sequence[tuple[str, Cell]], processes: int) -> list[dict[str, Any]]:
    with ExitStack() as exits:
        simulated: Iterator[dict[str, Any]] = map(simulate, [cell for _, cell in cells])
        if processes > 1:  # each cell has the seed for itself, so the process that plays it changes nothing
            pool = exits.enter_context(ProcessPoolExecutor(processes, mp_context=get_context("spawn")))
            simulated = pool.map(simulate, [cell for _, cell in cells])
        return [_facts(title, cell, figures) for (title, cell), figures in zip(cells, simulated, strict=True)]


def _facts(title: str, cell: Cell, figures: dict[str, Any]) -> dict[str, Any]:
    limit = None if cell.limit is None else str(cell.limit)
    report(f"{cell.workers} workers, {limit or 'no limit'}: {figures['rate']:,.0f}/s {title}")
    return {"title": title, "limit": limit, "bottleneck": first_bottleneck(figures, cores=cell.cores), **figures}


def table(facts: dict[str, Any]) -> str:
    lines = [
        f"{facts['rows']:,} customers; a call takes {facts['latency_ms']:g} ms; {facts['cores']} database cores;"
        f" accounts: {facts['budgets']}; seed {facts['seed']}.",
        "",
        "| limit | workers | time | customers/s | of the limit | worker cores | database cores | transactions/s"
        " | rows written/s | budget row in use | wait for it: p50, p99 | first bottleneck |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    lines += [f"| {cell['limit'] or 'none'} | {cell['workers']} | {_figures(cell)} |" for cell in facts["cells"]]
    if facts["turned"]:
        lines += [
            "",
            "| limit | what is turned | time | customers/s | of the limit | worker cores | database cores"
            " | transactions/s | rows written/s | budget row in use | wait for it: p50, p99 | first bottleneck |",
            "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
        ]
        lines += [f"| {cell['limit']} | {cell['title']} | {_figures(cell)} |" for cell in facts["turned"]]
    return "\n".join(lines)


def _figures(cell: dict[str, Any]) -> str:
    used = "" if cell["used"] is None else f"{min(cell['used'], 1):.0%}"
    waits = f"{1000 * cell['wait_p50']:,.0f} ms, {1000 * cell['wait_p99']:,.0f} ms"
    return " | ".join(
        [
            _duration(cell["seconds"]),
            f"{cell['rate']:,.0f}",
            used,
            f"{cell['worker_cores']:.2f}",
            f"{cell['database_cores']:.2f}",
            f"{cell['transactions']:,.0f}",
            f"{cell['rows_written']:,.0f}",
            f"{min(cell['held'], 1):.0%}",
            waits,
            cell["bottleneck"],
        ]
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "locks time out"
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
