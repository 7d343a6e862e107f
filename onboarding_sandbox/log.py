"""The log of what the sandbox received, in order of arrival."""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

# A plain dict: one is made for every call, and becomes JSON only when the log is requested.
Entry = dict[str, Any]
BODIES = 10_000


def _body(body: bytes) -> Any:
    """A request's body: the JSON in it, or else its text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


class Log:
    """Entries in order of arrival. An entry whose `status` is None is still being answered."""

    def __init__(self, *, bodies: int = BODIES) -> None:
        """`bodies`: how many entries, the newest, keep the request's body. A long log would fill the memory."""
        self._bodies = bodies
        self.entries: list[Entry] = []
        self._file: TextIO | None = None

    def write_to(self, path: Path) -> None:
        """Write finished entries there as well. Only its owner may read the file: it holds tokens."""
        self._file = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", 1, "utf-8")  # noqa: SIM115

    def open(self, endpoint: str, at: datetime, body: bytes = b"", **facts: Any) -> Entry:
        """Add an entry for a call to a provider, before it is answered. `at` is aware UTC."""
        if len(self.entries) >= self._bodies:
            self.entries[-self._bodies]["request"] = None
        entry = {
            "n": len(self.entries) + 1,
            "at": at.isoformat(),
            "endpoint": endpoint,
            "status": None,
            "fault": None,
            "processed": False,
            "client": None,
            "reference": None,
            "token": None,
            "request": body or None,
            **facts,
        }
        self.entries.append(entry)
        return entry

    def mail(self, at: datetime, status: int | str, **facts: Any) -> None:
        """Add an entry for a message, or for one of its recipients."""
        entry = {"n": len(self.entries) + 1, "at": at.isoformat(), "endpoint": "smtp", "status": status, **facts}
        self.entries.append(entry)
        self.done(entry)

    def done(self, entry: Entry, **facts: Any) -> None:
        """The entry is complete, with these facts."""
        entry |= facts
        if self._file is not None:
            self._file.write(json.dumps(entry, default=_body) + "\n")

    def lines(self, endpoint: str | None = None) -> Iterator[str]:
        """JSON lines, of one endpoint or of all."""
        # A copy, because more calls arrive while a long log is sent.
        for entry in list(self.entries):
            if endpoint is None or entry["endpoint"] == endpoint:
                yield json.dumps(entry, default=_body) + "\n"

    def reset(self) -> None:
        self.entries.clear()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
