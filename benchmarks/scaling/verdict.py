"""Which resource of a simulated list is used up first."""

from collections.abc import Mapping
from typing import Any

LIMIT, ROW, WORKERS, DATABASE, LOG, PERMITS = (
    "the limit",
    "budget row",
    "worker cores",
    "database cores",
    "fsync",
    "concurrency",
)
USED_UP = 0.98  # of the limit: what is left is the rounding of a stretch
FULL = 0.85  # of any other resource: it is waited for before all of it is used


def shares(figures: Mapping[str, Any], *, cores: int) -> dict[str, float]:
    """The used share of each resource but the limit. `figures` as `cell.simulate` returns them."""
    return {
        ROW: figures["held"],
        WORKERS: figures["worker_cores"] / figures["workers"],
        DATABASE: figures["database_cores"] / cores,
        LOG: figures["log"],
        PERMITS: figures["in_flight"],
    }


def first_bottleneck(figures: Mapping[str, Any], *, cores: int) -> str:
    """The limit if it is reached, else the resource of which the largest share is used; with a question mark where
    none is nearly used up."""
    if figures["used"] is not None and figures["used"] >= USED_UP:
        return LIMIT
    used = shares(figures, cores=cores)
    name = max(used, key=lambda one: used[one])
    return name if used[name] >= FULL else f"{name}?"
