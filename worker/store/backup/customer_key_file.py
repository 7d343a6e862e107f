"""The file of customers' keys: what a backup of the data must not hold, so that an erasure closes that backup.

JSON lines: a header, the rows, and a last line with their number and SHA-256. Besides the keys it has who was erased on
request and which addresses get no messages: both are newer than the data that it is restored with.
"""

import base64
import binascii
import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TextIO

import sqlalchemy as sa

from worker.store.base import bulk
from worker.store.tables import Base, CustomerKey, Suppression, Tombstone
from worker.store.tables.types import UtcDateTime

FORMAT = 1
TABLES: tuple[type[Base], ...] = (CustomerKey, Tombstone, Suppression)
CHUNK = 1000


class DamagedKeys(Exception):
    """The file is not one of customers' keys, or not all of one. The text says which."""


def write_keys(stream: TextIO, connection: sa.Connection, *, ids: tuple[str, ...], at: str) -> int:
    """Write the file; returns how many customers' keys it has. `ids`: of the ring that encrypts these keys."""
    digest, rows, keys = hashlib.sha256(), 0, 0

    def put(facts: dict[str, Any]) -> None:
        line = json.dumps(facts, separators=(",", ":")) + "\n"
        digest.update(line.encode())
        stream.write(line)

    put({"document": "keys of customers", "format": FORMAT, "at": at, "encrypted_by": list(ids)})
    for model in TABLES:
        table = bulk.table_of(model)
        query = sa.select(table).execution_options(yield_per=CHUNK)
        for row in connection.execute(query):
            put({"table": table.name, "row": {name: _as_json(value) for name, value in row._mapping.items()}})
            rows += 1
            keys += model is CustomerKey
    stream.write(json.dumps({"rows": rows, "sha256": digest.hexdigest()}) + "\n")
    return keys


def read_header(stream: TextIO) -> dict[str, Any]:
    """The header, once the whole file was read and found to be complete. Raises DamagedKeys."""
    header: dict[str, Any] = {}
    for facts in _lines(stream):
        header = header or facts
    stream.seek(0)
    return header


def load_keys(stream: TextIO, connection: sa.Connection) -> int:
    """Replace the tables by those of a file that `read_header` found complete; returns how many keys.

    The file is never older than the data: it knows of an erasure or a suppression that came, changed or ended since.
    """
    for model in TABLES:
        connection.execute(sa.delete(model))
    models = {bulk.table_of(model).name: model for model in TABLES}
    chunk: dict[str, list[dict[str, Any]]] = {name: [] for name in models}
    keys = 0
    for facts in _lines(stream):
        if "table" not in facts:
            continue
        rows = chunk[facts["table"]]
        rows.append(_as_row(models[facts["table"]], facts["row"]))
        keys += facts["table"] == CustomerKey.__tablename__
        if len(rows) == CHUNK:
            bulk.add(connection, models[facts["table"]], rows)
            rows.clear()
    for name, rows in chunk.items():
        bulk.add(connection, models[name], rows)
    return keys


def _lines(stream: TextIO) -> Iterator[dict[str, Any]]:
    """The header and the rows. Raises DamagedKeys at the end if a line is missing or was changed."""
    digest, rows = hashlib.sha256(), -1
    for line in stream:
        try:
            facts = json.loads(line)
            if "sha256" in facts:
                if (facts["sha256"], facts["rows"]) != (digest.hexdigest(), rows):
                    raise DamagedKeys("a line of it was changed or is missing")
                return
            if rows < 0 and (facts.get("document"), facts.get("format")) != ("keys of customers", FORMAT):
                raise DamagedKeys("it is no file of customers' keys that this release can read")
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            raise DamagedKeys("it is no file of customers' keys") from None
        digest.update(line.encode())
        rows += 1
        yield facts
    raise DamagedKeys("its end is missing")


def _as_json(value: Any) -> Any:
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case uuid.UUID():
            return value.hex
        case datetime():
            return value.isoformat()
        case _:
            return value


def _as_row(model: type[Base], row: dict[str, Any]) -> dict[str, Any]:
    read: dict[type, Callable[[Any], Any]] = {
        sa.LargeBinary: base64.b64decode,
        sa.Uuid: uuid.UUID,
        UtcDateTime: datetime.fromisoformat,
    }
    columns = bulk.table_of(model).c
    try:
        return {
            name: None if value is None else read.get(type(columns[name].type), _same)(value)
            for name, value in row.items()
        }
    except (KeyError, ValueError, binascii.Error):
        raise DamagedKeys("a row of it does not fit this release") from None


def _same(value: Any) -> Any:
    return value
