"""All batches, the newest first."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from worker.features.dashboard.contract import Asked, Page, Sources
from worker.features.dashboard.pages.now import batch_facts

PATH = "/dashboard/batches"
SHOWN = 30


def read(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    text = asked.text("q")
    every = [
        one
        for one in sources.parts.batches.all()
        if not text or text == str(one.id) or text.casefold() in one.name.casefold()
    ]
    first = min(asked.number("from") or 0, len(every))
    whole = sources.parts.operation.report()
    return {
        "read_at": asked.now,
        "total": len(every),
        "batches": [batch_facts(sources, whole, one) for one in every[first : first + SHOWN]],
        "text": text,
        "newer": _there(text, max(first - SHOWN, 0)) if first else "",
        "older": _there(text, first + SHOWN) if len(every) > first + SHOWN else "",
    }


def _there(text: str, first: int) -> str:
    return f"{PATH}?{urlencode({'q': text, 'from': first} if text else {'from': first})}"


PAGE = Page(
    path=PATH, template="batches.html", live="batches_live.html", read=read, title="Batches", navigation="Batches"
)
