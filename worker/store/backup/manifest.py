"""What a backup is of: written last, so that a folder without it is no backup. It holds no secret."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from worker.foundation.private_files import new_file
from worker.foundation.timestamps import written
from worker.foundation.version import __version__

FORMAT = 1
FILE = "manifest.json"
_BLOCK = 1 << 20


class NoBackup(Exception):
    """The folder is no backup that this release can read, or not all of one. The text says why."""


@dataclass(frozen=True)
class Table:
    """A table's rows, and the columns in which its file has them, in their order."""

    rows: int
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """`database`: sqlite or postgresql. `migration`: the schema's revision. `encrypted_by`: the ids of the ring's keys.

    `customer_keys`: how many keys of customers the data needs, which are in a file of their own. `numbers`: the last
    number that PostgreSQL has given in each table.
    """

    database: str
    migration: str
    at: str
    tables: Mapping[str, Table]
    files: Mapping[str, str]  # by name, the SHA-256
    encrypted_by: tuple[str, ...]
    customer_keys: int
    numbers: Mapping[str, int] = field(default_factory=dict)
    release: str = __version__
    format: int = FORMAT

    @property
    def written_at(self) -> str:
        """`at`, for people and scripts. Raises ValueError and TypeError where it is no time."""
        return written(datetime.fromisoformat(self.at))

    def write(self, folder: Path) -> None:
        with os.fdopen(new_file(folder / FILE), "w", encoding="utf-8") as stream:
            json.dump(asdict(self), stream, indent=2)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())


def read(folder: Path) -> Manifest:
    """The manifest of a backup, once all its files were found to be whole. Raises NoBackup, OSError."""
    try:
        facts: Any = json.loads((folder / FILE).read_text("utf-8"))
    except FileNotFoundError:
        raise NoBackup(f"it has no {FILE}: the backup was cut off, or is none") from None
    except (ValueError, RecursionError):
        raise NoBackup(f"its {FILE} is damaged") from None
    if not isinstance(facts, dict):
        raise NoBackup(f"its {FILE} is damaged")
    if facts.get("format") != FORMAT:
        raise NoBackup("another release made it, in a form that this release does not know")
    try:
        tables = {name: Table(one["rows"], tuple(one["columns"])) for name, one in facts.pop("tables").items()}
        manifest = Manifest(tables=tables, **(facts | {"encrypted_by": tuple(facts["encrypted_by"])}))
        files = list(manifest.files.items())
        _ = manifest.written_at  # raises where it is no time
    except (AttributeError, KeyError, TypeError, ValueError):
        raise NoBackup(f"its {FILE} is damaged") from None
    for name, expected in files:
        if Path(name).name != name or not (folder / name).is_file():
            raise NoBackup(f"its file {name} is missing")
        if sha256_of(folder / name) != expected:
            raise NoBackup(f"its file {name} was changed")
    return manifest


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def at(now: datetime) -> str:
    """To the microsecond: whether a file of keys is older than the data is seen by it."""
    return now.isoformat(timespec="microseconds")
