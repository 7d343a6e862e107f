"""Answers of providers that open no session, and the expected problems."""

import json
from dataclasses import dataclass
from typing import Any

from worker.core.model.endings import Kind
from worker.providers.contract import HttpAnswer

HTML = b"<!doctype html><html><body><h1>502 Bad Gateway</h1></body></html>"


def answer(status: int, body: Any = None, **headers: str) -> HttpAnswer:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


@dataclass(frozen=True)
class Bad:
    """An answer that opens no session, with the expected kind, and the provider's code and text that must be kept."""

    answer: HttpAnswer
    kind: Kind
    code: str | None = None
    detail: str = ""
