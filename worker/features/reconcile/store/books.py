"""Our own book of a batch: the sessions that were opened, the messages that left, the customers; and the scratch that
books are compared in. Reads by chunks."""

import json
import sqlite3
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.encrypted_values import EMAIL, PHONE, Erased, decrypt_line
from onboarding_worker.core.database.job_ids import of_batch
from onboarding_worker.core.database.tables import Attempt, CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.states import InvitationState, SessionState
from onboarding_worker.core.rows.unknown_outcomes import found_by
from onboarding_worker.features.reconcile.columns import Difference, Found

CHUNK = 1000
# Before what is no id of a session or a message, among keys: a customer's id, an external_ref, a hashed address.
CLIENT, EXTERNAL, ADDRESS = "client:", "external:", "address:"
NOT_KEYS = frozenset({"clientId"})  # of a session's references: it names the customer
FINISHED = frozenset({SessionState.COMPLETED, SessionState.FAILED})


# A session or a message: what it is found by, as texts by kind, and its columns, as the scratch has them.
OurRecord = tuple[Mapping[str, Collection[str]], Mapping[str, Any]]
_LEFT = frozenset({InvitationState.SENT, InvitationState.DELIVERED, InvitationState.BOUNCED})
_OPEN = frozenset({InvitationState.WORKING, InvitationState.HELD})


class OurBooks:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    def sessions(self, batch_id: int) -> Iterator[OurRecord]:
        """`stage`: 0 issued, 1 started, 2 finished, as far as we know."""
        columns = (
            *(Job.id.label("job"), Job.row.label("row"), Job.encrypted.label("line"), SessionRow.id),
            *(SessionRow.customer_id, SessionRow.account, SessionRow.reference, SessionRow.references),
            *(SessionRow.company_id, SessionRow.state, SessionRow.result, SessionRow.issued_at),
        )
        query = (
            sa.select(*columns)
            .join(Job, Job.id == SessionRow.job_id)
            .where(of_batch(batch_id), SessionRow.state != SessionState.DEFERRED)
        )
        for row in self._database.in_order(query, SessionRow.id, chunk=CHUNK):
            yield _session(self._keyring, batch_id, row)

    def messages(self, batch_id: int) -> Iterator[OurRecord]:
        """`account`: its channel. `left`: it was handed over, and not refused. `open`: whether it left is not known, or
        it may still leave."""
        read = (
            *(InvitationRow.id, InvitationRow.channel, InvitationRow.state, InvitationRow.reference),
            *(InvitationRow.sent_at, InvitationRow.created_at, InvitationRow.unknown_handovers),
            InvitationRow.lost_handovers,
            *(Job.row.label("row"), Job.customer_id),
        )
        query = sa.select(*read).join(Job, Job.id == InvitationRow.job_id).where(InvitationRow.batch_id == batch_id)
        for row in self._database.in_order(query, InvitationRow.id, chunk=CHUNK):
            keys = {"msg": [*filter(None, (row.id.hex, str(row.id), row.reference))], "to": [row.customer_id]}
            columns = {"row": row.row, "customer": row.customer_id, "account": row.channel, "state": str(row.state)}
            columns |= {"reference": row.id.hex, "at": (row.sent_at or row.created_at).timestamp()}
            is_open = row.state in _OPEN or bool(row.unknown_handovers or row.lost_handovers)
            yield keys, columns | {"left": row.state in _LEFT, "open": is_open}

    def customers(self, batch_id: int) -> Iterator[tuple[str, int, bool, list[str]]]:
        """Each with its row, whether it has a session, and the digests of its email address and phone number."""
        has_session = sa.exists().where(SessionRow.customer_id == Job.customer_id)
        columns = (Job.id, Job.row, Job.customer_id, CustomerRow.email_digest, CustomerRow.phone_digest)
        query = sa.select(*columns, has_session.label("has_session"))
        query = query.join(CustomerRow, CustomerRow.customer_id == Job.customer_id).where(of_batch(batch_id))
        for row in self._database.in_order(query, Job.id, chunk=CHUNK):
            digests = [*filter(None, (row.email_digest, row.phone_digest))]
            yield row.customer_id, row.row, bool(row.has_session), digests

    def orphans(self, batch_id: int) -> Iterator[str]:
        """The references of sessions that exist only at the provider, as far as we know of them."""
        query = sa.select(Attempt.id, Attempt.reconciles, Attempt.found).join(Job, Job.id == Attempt.job_id)
        query = query.where(of_batch(batch_id), Attempt.found != "", Attempt.invitation_id.is_(None))
        for row in self._database.in_order(query, Attempt.id, chunk=CHUNK):
            yield from found_by(row)

    def sessions_elsewhere(self, batch_id: int, keys: Collection[str]) -> set[str]:
        """Which of these are sessions of other batches, or customers or jobs of them."""
        given = list(keys)
        clients = _without(CLIENT, given)
        jobs = [int(one) for one in _without(EXTERNAL, given) if one.isascii() and one.isdecimal() and len(one) < 18]
        of_jobs = sa.select(Job.id, Job.customer_id).where(Job.batch_id != batch_id)
        other = sa.select(SessionRow.reference, SessionRow.company_id).join(Job, Job.id == SessionRow.job_id)
        other = other.where(Job.batch_id != batch_id)
        with self._database.read() as connection:
            found = fetch(connection, other.where(SessionRow.reference.in_(given)))
            found += fetch(connection, other.where(SessionRow.company_id != "", SessionRow.company_id.in_(given)))
            mine = fetch(connection, of_jobs.where(Job.customer_id.in_(clients))) if clients else []
            theirs = fetch(connection, of_jobs.where(Job.id.in_(jobs))) if jobs else []
        known = {key for row in found for key in (row.reference, row.company_id) if key}
        return known | {f"{CLIENT}{row.customer_id}" for row in mine} | {f"{EXTERNAL}{row.id}" for row in theirs}

    def messages_elsewhere(self, batch_id: int, keys: Collection[str]) -> set[str]:
        """Which of these are messages of other batches, or addresses of their customers."""
        digests, ids = _without(ADDRESS, keys), []
        for key in keys:
            with suppress(ValueError):
                ids.append(uuid.UUID(key))
        other = sa.select(InvitationRow.id, InvitationRow.reference).where(InvitationRow.batch_id != batch_id)
        with self._database.read() as connection:
            found = fetch(connection, other.where(InvitationRow.id.in_(ids))) if ids else []
            texts = other.where(
                InvitationRow.channel != "email", InvitationRow.reference != "", InvitationRow.reference.in_(list(keys))
            )
            found += fetch(connection, texts)
            people: set[str] = set()
            for column in (CustomerRow.email_digest, CustomerRow.phone_digest) if digests else ():
                query = sa.select(column).join(Job, Job.customer_id == CustomerRow.customer_id)
                found_here = connection.execute(query.where(Job.batch_id != batch_id, column.in_(digests))).scalars()
                people |= {digest for digest in found_here if digest}
        return {f"{ADDRESS}{one}" for one in people} | {
            key for row in found for key in (row.id.hex, str(row.id), row.reference) if key
        }

    def digests(self, email: str, phone: str) -> tuple[str, ...]:
        """The keyed hashes by which a customer with one of these addresses is stored."""
        found = self._keyring.digests(EMAIL, email) if email else ()
        return (*found, *(self._keyring.digests(PHONE, phone) if phone else ()))


def _session(keyring: Keyring, batch_id: int, found: Any) -> OurRecord:
    client, external = [found.customer_id], [str(found.job)]
    references = [value for name, value in found.references.items() if name not in NOT_KEYS and isinstance(value, str)]
    ref = [*filter(None, [found.reference, found.company_id, *references])]
    keys = {"ref": ref, "ext": external, "client": client}
    try:
        external += filter(None, [decrypt_line(keyring, batch_id, found.row, found.line).external_ref])
    except Erased:  # with its customer, external_ref too
        keys["erased"] = client
    except CannotDecrypt:
        pass
    stage = 2 if found.state in FINISHED else 1 if found.state == SessionState.STARTED or found.result else 0
    columns = {"row": found.row, "customer": found.customer_id, "account": found.account, "stage": stage}
    return keys, columns | {"reference": found.reference, "at": found.issued_at.timestamp()}


def _without(start: str, keys: Collection[str]) -> list[str]:
    return [key.removeprefix(start) for key in keys if key.startswith(start)]


_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE session (
    id INTEGER PRIMARY KEY, row INTEGER, customer TEXT, account TEXT, reference TEXT, at REAL, stage INTEGER,
    listed INTEGER DEFAULT 0, charges INTEGER DEFAULT 0
);
CREATE TABLE message (
    id INTEGER PRIMARY KEY, row INTEGER, customer TEXT, account TEXT, reference TEXT, state TEXT, left INTEGER,
    open INTEGER, at REAL, listed INTEGER DEFAULT 0, sendings INTEGER DEFAULT 0,
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

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._directory.cleanup()

    def run(self, statement: str, *given: Any) -> list[sqlite3.Row]:
        """A statement of this package's callers; values are bound."""
        return self.rows(statement, *given).fetchall()

    def rows(self, statement: str, *given: Any) -> sqlite3.Cursor:
        """The same, for more rows than memory should hold."""
        return self._connection.execute(statement, given)

    def add(self, table: str, keys: Mapping[str, Collection[str]], columns: Mapping[str, Any]) -> None:
        """A row of `session` or `message`, found by these keys: by kind, their texts."""
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 -- names of ours
        id_ = self._connection.execute(statement, tuple(columns.values())).lastrowid
        named = [(kind, text, id_) for kind, texts in keys.items() for text in texts]
        self._connection.executemany("INSERT OR IGNORE INTO key VALUES (?, ?, ?)", named)

    def ids(self, kind: str, text: str) -> list[int]:
        """The rows with this key."""
        return [row["id"] for row in self.run("SELECT id FROM key WHERE kind = ? AND text = ?", kind, text)]

    def find(self, found: Found) -> None:
        """Keep a difference."""
        self.counts[found.kind] += 1
        self._connection.execute("INSERT INTO difference VALUES (?, ?, ?, ?, ?, ?, ?)", found)

    def differences(self, kind: Difference, most: int) -> Iterator[Found]:
        """The differences of a kind, in the order of the rows."""
        query = "SELECT * FROM difference WHERE kind = ? ORDER BY file, row, rowid LIMIT ?"
        return map(_found, self.rows(query, kind, most))

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
