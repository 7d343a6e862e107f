"""The rows of the report page as compact JSON, in chunks: a browser reads a hundred thousand of them in a second.

A chunk is {"w": words, "r": rows}. A row is a list in the order of `FIELDS`; columns in `WORDS` hold an index into the
words, times are whole seconds since 1970, 0 for none.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from worker.core.foundation.harmless_text import spreadsheet_safe

CHUNK = 1000
WORDS = frozenset({"state", "result", "account", "invitation", "error", "action", "route", "vendor"})
TIMES = frozenset({"issued_at", "expires_at", "next_at"})
NUMBERS = frozenset({"row", "attempts", "waits"})
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)


class Chunk:
    """Collects rows. `names` are the columns; each row ends with the number of its group, or null."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._words: dict[str, int] = {}
        self._rows: list[list[Any]] = []

    def add(self, values: Mapping[str, Any], group: int | None) -> None:
        self._rows.append([*(self._value(name, values[name]) for name in self._names), group])

    def _value(self, name: str, value: Any) -> Any:
        if name in NUMBERS:
            return value
        if name in TIMES:
            return int(datetime.fromisoformat(value).timestamp()) if value else 0
        # Spreadsheets open a page too, and run what its cells begin with.
        text = spreadsheet_safe(str(value))
        return self._words.setdefault(text, len(self._words)) if name in WORDS else text

    @property
    def is_full(self) -> bool:
        return len(self._rows) >= CHUNK

    def take(self) -> str:
        """The chunk as text for a <script> element, whose end no value can write; begins a new one. "" if empty."""
        if not self._rows:
            return ""
        text = _JSON.encode({"w": list(self._words), "r": self._rows})
        self._words, self._rows = {}, []
        return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
