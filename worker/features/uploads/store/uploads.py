"""Uploaded lists: their bytes, encrypted, what people decide about them, and which process has one."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import Act, note
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.encrypted_values import ERASED, context_of_uploaded_list, context_of_uploaded_part
from onboarding_worker.core.database.tables import UploadedList as Row
from onboarding_worker.core.database.tables import UploadedPart as Part
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.features.dashboard.users import Person, is_one_person
from onboarding_worker.features.uploads.agreeing import Agreeing
from onboarding_worker.features.uploads.uploaded import AGREED, ENDED, FOR_PROCESSES, OPEN, How, Upload, UploadState
from onboarding_worker.lists.store.taken import FREE, Ending, TakenLists

LIST, PROBLEMS = "list", "problems"
DROPS = Act("uploads", "approve list")
FEWER = "more must agree now"
NO_MORE = "the person was removed or changed since, or agreed by [oidc] more than 12 hours ago"
_COLUMNS = [getattr(Row, name) for name in Upload._fields]
_INSERT_PART = sa.insert(Part)


class Uploads(TakenLists[Upload]):
    """`database`: whose changes the audit log ascribes to who decides."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        super().__init__(database, Row, lambda one: (Row.id == one.id, Row.version == one.version))
        self._keyring = keyring

    def begin(self, name: str, *, by: str, now: datetime) -> int:
        """A list whose bytes are coming; returns its number."""
        values = {"name": name[:255], "uploaded_by": by[:200], "uploaded_at": now, "state": UploadState.ARRIVING}
        empty = {"digest": "", "size": 0, "version": 1, "agreed": [], "encrypted": ERASED, "reason": "", "tries": 0}
        with self._database.write() as connection:
            made = connection.execute(sa.insert(Row).values(**values, **empty, **FREE).returning(Row.id)).scalar_one()
            return int(made)

    def add(self, list_id: int, number: int, content: bytes) -> None:
        """Keep the next part of its bytes."""
        self._database.change(_INSERT_PART, [self._part(list_id, number, content, LIST)])

    def arrived(self, list_id: int, *, digest: str, size: int, now: datetime) -> None:
        """All of its bytes are here: it waits for its check."""
        how = self._sealed(list_id, How(), None)
        with self._database.write() as connection:
            values = {"digest": digest, "size": size, "state": UploadState.ARRIVED, "encrypted": how}
            here = (Row.id == list_id, Row.state == UploadState.ARRIVING)
            connection.execute(sa.update(Row).where(*here).values(**values))
            note(connection, f"uploaded list {list_id}", now=now, reason=f"{size} bytes")

    def all(self, *, most: int, after: int = 0) -> tuple[list[Upload], int]:
        """The lists from the newest on, without the first `after`; and how many there are."""
        query = sa.select(*_COLUMNS).order_by(Row.id.desc()).limit(most).offset(after)
        with self._database.read() as connection:
            number = connection.execute(sa.select(sa.func.count()).select_from(Row)).scalar_one()
            return [_upload(row) for row in fetch(connection, query)], number

    def find(self, list_id: int, agreeing: Agreeing, *, now: datetime) -> Upload | None:
        """The list, with the agreements that count."""
        with self._database.read() as connection:
            rows = fetch(connection, sa.select(*_COLUMNS, Row.encrypted).where(Row.id == list_id))
            return self._judged(connection, rows[0], agreeing, now) if rows else None

    def how_and_found(self, list_id: int) -> tuple[How, dict[str, Any] | None]:
        """How it is read, and what the check of that has found: None before it, and once the list has ended."""
        kept = self._database.value(sa.select(Row.encrypted).where(Row.id == list_id))
        if not kept:
            return How(), None
        given = self._opened(list_id, kept)
        return How.of_json(given["how"]), given["found"]

    def content(self, list_id: int, what: str = LIST) -> Iterator[bytes]:
        """Its bytes, a part at a time."""
        number = 0
        while True:
            query = sa.select(Part.encrypted).where(Part.list_id == list_id, Part.what == what, Part.number == number)
            kept = self._database.value(query)
            if kept is None:
                return
            context = context_of_uploaded_part(list_id, what, number)
            yield base64.b64decode(self._keyring.decrypt(kept, context=context)["bytes"])
            number += 1

    def take(self, one: Upload, *, owner: str, until: datetime, now: datetime) -> bool:
        """Take a list that waits for a process; whether this one has it now."""
        waits = (Row.state == one.state, Row.state.in_(FOR_PROCESSES))
        return self._taken(one, *waits, now=now, owner=owner, until=until, tries=Row.tries + 1)

    def checked(
        self, one: Upload, *, owner: str, how: How, found: Mapping[str, Any], problems: Iterator[bytes]
    ) -> None:
        """Write the file of all problems, a part at a time, and then what the check has found. Nobody can agree to a
        list without a row to send: it is refused. Raises Ending."""
        with self._ours(one, owner) as connection:
            connection.execute(sa.delete(Part).where(Part.list_id == one.id, Part.what == PROBLEMS))
        # Made between transactions: meanwhile others write.
        for number, content in enumerate(problems):
            with self._ours(one, owner) as connection:
                connection.execute(_INSERT_PART, [self._part(one.id, number, content, PROBLEMS)])
        rows = found.get("rows") or {"accepted": 0}
        why = "it cannot be read" if found.get("refused") else "" if rows["accepted"] else "no row of it is accepted"
        state = UploadState.REFUSED if why else UploadState.CHECKED
        values = {"state": state, "tries": 0, "reason": why, "encrypted": self._sealed(one.id, how, found)}
        with self._ours(one, owner) as connection:
            connection.execute(sa.update(Row).where(Row.id == one.id).values(**values, **FREE))

    def read_otherwise(self, list_id: int, version: int, how: How, *, now: datetime) -> bool:
        """A person reads the list in another way: it is checked again, and who has agreed must agree again. False: it
        was changed, or decided, meanwhile."""
        with self._database.write() as connection:
            here = (Row.id == list_id, Row.version == version, Row.state.in_(OPEN))
            values = {"state": UploadState.ARRIVED, "version": version + 1, "agreed": [], "tries": 0, "reason": ""}
            sealed = self._sealed(list_id, how, None)
            changed = sa.update(Row).where(*here).values(**values, encrypted=sealed, **FREE).returning(Row.id)
            if connection.execute(changed).first() is None:
                return False
            note(connection, f"uploaded list {list_id}", now=now, reason="read in another way")
            return True

    def agree(
        self, list_id: int, version: int, agreeing: Agreeing, *, by: Person | None, now: datetime
    ) -> Upload | None:
        """A person agrees to this version: with so many of them it is approved. A person counts once, and gets
        the list as it is now. None: it was changed, or decided, meanwhile. What counts no more of who has agreed is
        taken back before, also without a person: an approved list then waits for people again, unless it is being
        imported."""
        with self._database.write() as connection:
            here = (Row.id == list_id, Row.version == version)
            rows = fetch(connection, sa.select(*_COLUMNS, Row.encrypted).where(*here).with_for_update())
            if not rows:
                return None
            one = self._judged(connection, rows[0], agreeing, now)
            if one != _upload(rows[0]):
                connection.execute(sa.update(Row).where(*here).values(_decided(one)))
                note(connection, f"uploaded list {list_id}", now=now, reason=one.reason or FEWER, act=DROPS)
            if by is None or (one.state in AGREED and one.has_agreed(by.actor)):
                return one
            if one.state is not UploadState.CHECKED:
                return None
            one = one._replace(agreed=(*one.agreed, by.actor))
            if len(one.agreed) >= agreeing.needed:
                one = one._replace(state=UploadState.APPROVED, reason="")
            given = self._opened(list_id, rows[0].encrypted)
            given["agreed"] = given.get("agreed", {}) | {by.actor: [agreeing.entry(by), written(now)]}
            sealed = self._keyring.encrypt(given, context=context_of_uploaded_list(list_id))
            connection.execute(sa.update(Row).where(*here).values(**_decided(one), tries=0, encrypted=sealed))
            told = f"{len(one.agreed)} of {agreeing.needed} agreed"
            note(connection, f"uploaded list {list_id}", now=now, reason=told)
            return one

    def discard(self, list_id: int, *, now: datetime, why: str = "") -> bool:
        """Discard a list that was not approved, with its bytes. False: it was approved, or has ended."""
        return self._end(list_id, (UploadState.ARRIVING, *OPEN), UploadState.DISCARDED, now=now, reason=why)

    def imported(self, one: Upload, *, owner: str, batch_id: int, now: datetime) -> None:
        """It is a batch; its bytes go. Raises Ending."""
        with self._ours(one, owner) as connection:
            connection.execute(sa.update(Row).where(Row.id == one.id).values(batch_id=batch_id, tries=0))
        self._end(one.id, (UploadState.APPROVED,), UploadState.IMPORTED, now=now, reason=f"batch {batch_id}")

    def refuse(self, one: Upload, *, owner: str, why: str) -> None:
        """It cannot be checked or imported; a person may read it otherwise, or discard it."""
        reason = " ".join(why.split())[:400]
        self._write(one, owner, state=UploadState.REFUSED, reason=reason, agreed=[], tries=0, **FREE)

    def _end(
        self, list_id: int, states: tuple[UploadState, ...], end: UploadState, *, now: datetime, reason: str
    ) -> bool:
        with self._database.write() as connection:
            values = {"state": end, "encrypted": ERASED, **FREE}
            ended = sa.update(Row).where(Row.id == list_id, Row.state.in_(states)).values(**values).returning(Row.id)
            if connection.execute(ended).first() is None:
                return False
            connection.execute(sa.delete(Part).where(Part.list_id == list_id))
            note(connection, f"uploaded list {list_id}", now=now, reason=reason or end.value)
            return True

    def _judged(self, connection: sa.Connection, row: Any, agreeing: Agreeing, now: datetime) -> Upload:
        """The list, without the agreements that count no more."""
        one = _upload(row)
        if one.state is not UploadState.CHECKED and not (one.state is UploadState.APPROVED and one.is_due(now)):
            return one
        try:
            proofs = self._opened(one.id, row.encrypted).get("agreed", {})
        except CannotDecrypt:
            proofs = {}
        kept: tuple[str, ...] = ()
        for by in one.agreed:
            entry, since = proofs.get(by, ("", ""))  # none: another program wrote it
            once = entry and not any(is_one_person(by, other) for other in kept)
            if once and agreeing.counts(connection, by, entry, since=datetime.fromisoformat(since), now=now):
                kept = (*kept, by)
        if kept != one.agreed:
            gone = " and ".join(by for by in one.agreed if by not in kept) or "one person twice"
            one = one._replace(agreed=kept, reason=f"{gone} agreed, which counts no more: {NO_MORE}"[:400])
        return one if len(kept) >= agreeing.needed else one._replace(state=UploadState.CHECKED)

    @contextmanager
    def _ours(self, one: Upload, owner: str) -> Iterator[sa.Connection]:
        """A transaction about a list that this process has. Raises Ending if it has it no more."""
        query = sa.select(Row.id).where(*self._which(one), Row.owner == owner).with_for_update()
        with self._database.write() as connection:
            if connection.execute(query).first() is None:
                raise Ending
            yield connection

    def _part(self, list_id: int, number: int, content: bytes, what: str) -> dict[str, Any]:
        value = {"bytes": base64.b64encode(content).decode()}
        sealed = self._keyring.encrypt(value, context=context_of_uploaded_part(list_id, what, number))
        return {"list_id": list_id, "what": what, "number": number, "encrypted": sealed}

    def _opened(self, list_id: int, kept: bytes) -> dict[str, Any]:
        return self._keyring.decrypt(kept, context=context_of_uploaded_list(list_id))

    def _sealed(self, list_id: int, how: How, found: Mapping[str, Any] | None) -> bytes:
        value = {"how": asdict(how), "found": found}
        return self._keyring.encrypt(value, context=context_of_uploaded_list(list_id))


def undecided(database: Database) -> list[Upload]:
    """The lists that have not ended, the oldest first."""
    query = sa.select(*_COLUMNS).where(Row.state.not_in(ENDED)).order_by(Row.id)
    return [_upload(row) for row in database.rows(query)]


def _decided(one: Upload) -> dict[str, Any]:
    return {"agreed": list(one.agreed), "state": one.state, "reason": one.reason}


def _upload(row: Any) -> Upload:
    values = {name: getattr(row, name) for name in Upload._fields}
    return Upload(**values | {"state": UploadState(row.state), "agreed": tuple(row.agreed)})
