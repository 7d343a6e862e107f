"""All batches, the newest first."""

from collections.abc import Mapping
from typing import Any

from worker.features.dashboard.contract import Asked, Page
from worker.features.dashboard.pages.now import batch_facts
from worker.features.dashboard.sources import Sources

PATH = "/dashboard/batches"
SHOWN = 30


def read(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    every = sources.stores.batches.all()
    first = min(asked.number("from") or 0, len(every))
    whole = sources.operation.report()
    return {
        "read_at": asked.now,
        "total": len(every),
        "batches": [batch_facts(sources, whole, one) for one in every[first : first + SHOWN]],
        "newer": f"{PATH}?from={max(first - SHOWN, 0)}" if first else "",
        "older": f"{PATH}?from={first + SHOWN}" if len(every) > first + SHOWN else "",
    }


PAGE = Page(path=PATH, live="batches_live.html", read=read, title="Batches", navigation="Batches")
