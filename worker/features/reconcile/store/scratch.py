"""A temporary SQLite file in which the books of one batch are compared: memory stays flat, however long they are."""

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from worker.features.reconcile.differences import Difference, Found

_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE session (
    id INTEGER PRIMARY KEY, row INTEGER, customer TEXT, account TEXT, reference TEXT, at REAL, stage INTEGER,
    listed INTEGER DEFAULT 0, charges INTEGER DEFAULT 0
);
CREATE TABLE message (
    id INTEGER PRIMARY KEY, row INTEGER, customer TEXT, channel TEXT, reference TEXT, state TEXT, left INTEGER,
    open INTEGER, at REAL, logged INTEGER DEFAULT 0, sendings INTEGER DEFAULT 0,
    deliveries INTEGER DEFAULT 0, failed INTEGER DEFAULT 0
);
CREATE TABLE key (kind TEXT, text TEXT, id INTEGER, PRIMARY KEY (kind, text, id)) WITHOUT ROWID;
CREATE TABLE customer (id TEXT PRIMARY KEY, row INTEGER, has_session INTEGER) WITHOUT ROWID;
CREATE TABLE difference (
    kind TEXT, file TEXT, row INTEGER, reference TEXT, customer TEXT, account TEXT, detail TEXT
);
CREATE TABLE waiting (kind TEXT, text TEXT, found TEXT);
"""


class Scratch:
    """`with Scratch() as scratch:` makes the file, and removes it."""

    def __enter__(self) -> Self:
        self._directory = TemporaryDirectory(prefix="onboard-books-")
        self._connection = sqlite3.connect(Path(self._directory.name) / "books.db", isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.executescript(_TABLES)
        self._connection.execute("BEGIN")
        self.counts: Counter[str] = Counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._directory.cleanup()

    def run(self, statement: str, *given: Any) -> list[sqlite3.Row]:
        """A statement of this package's callers; values are bound."""
        return self._connection.execute(statement, given).fetchall()

    def rows(self, statement: str, *given: Any) -> Iterator[sqlite3.Row]:
        """The same, for more rows than memory should hold."""
        yield from self._connection.execute(statement, given)

    def add(self, table: str, keys: Mapping[str, Collection[str]], columns: Mapping[str, Any]) -> None:
        """A row of `session` or `message`, found by these keys: by kind, their texts."""
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 -- names of ours
        id_ = self._connection.execute(statement, tuple(columns.values())).lastrowid
        for kind, texts in keys.items():
            self._connection.executemany(
                "INSERT OR IGNORE INTO key VALUES (?, ?, ?)", [(kind, text, id_) for text in texts]
            )

    def ids(self, kind: str, text: str) -> list[int]:
        """The rows with this key."""
        return [
            row[0] for row in self._connection.execute("SELECT id FROM key WHERE kind = ? AND text = ?", (kind, text))
        ]

    def find(self, found: Found) -> None:
        """Keep a difference."""
        self.counts[found.kind] += 1
        self._connection.execute("INSERT INTO difference VALUES (?, ?, ?, ?, ?, ?, ?)", found)

    def differences(self, kind: Difference, most: int) -> Iterator[Found]:
        """The differences of a kind, in the order of the rows."""
        query = "SELECT * FROM difference WHERE kind = ? ORDER BY file, row, rowid LIMIT ?"
        for row in self._connection.execute(query, (kind, most)):
            yield _found(row)

    def wait(self, kind: str, keys: Sequence[str], found: Found) -> None:
        """Keep a difference for now: it is none if one of the keys is known elsewhere."""
        values = (kind, json.dumps(list(keys)), json.dumps(found))
        self._connection.execute("INSERT INTO waiting VALUES (?, ?, ?)", values)

    def waiting(self, kind: str, size: int) -> Iterator[list[tuple[list[str], Found]]]:
        """What waits, by chunks."""
        after = 0
        while rows := self.run("SELECT rowid, * FROM waiting WHERE kind = ? AND rowid > ? LIMIT ?", kind, after, size):
            after = rows[-1]["rowid"]
            yield [(json.loads(row["text"]), _found(json.loads(row["found"]))) for row in rows]


def _found(values: Iterable[Any]) -> Found:
    kind, *others = values
    return Found(Difference(kind), *others)
