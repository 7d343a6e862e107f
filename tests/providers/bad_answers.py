"""Answers as providers write them, and what those that open no session must become."""

import json
from dataclasses import dataclass
from typing import Any

from worker.domain.model.endings import Kind
from worker.providers.contract import HttpAnswer

HTML = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"


def answer(status: int, body: Any = None, **headers: str) -> HttpAnswer:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


@dataclass(frozen=True)
class Bad:
    """An answer that opens no session: its kind, and the provider's code and words that must be kept."""

    answer: HttpAnswer
    kind: Kind
    code: str | None = None
    says: str = ""
