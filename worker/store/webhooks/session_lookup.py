"""Which session an event of a provider means."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from worker.domain.model.states import LIVE_SESSIONS
from worker.domain.verification.session_updates import Key, Rank, SessionUpdate
from worker.foundation.keyring import Keyring
from worker.store.base import bulk
from worker.store.base.database import fetch
from worker.store.tables import SessionRow

Accounts = frozenset[str]
DIGITS = 18  # of a job's number, which the column holds
# The ids that are one session's alone, and what our own record of it calls them.
_OWN = {Key.SCAN_REF: "scanRef", Key.ENTITY_ID: "entityId"}
# Given by the provider, and so of one of its accounts alone: the most exact first. The others are ours, and the same
# wherever the customer is sent.
_THEIRS = (Key.SCAN_REF, Key.TOKEN, Key.COMPANY_ID, Key.ENTITY_ID)
# Older than the session by more than this, and it is about another one. What was on its way to another session when
# this one was opened is not: that the customer has finished is true whichever it was.
BEFORE = timedelta(days=1)


@dataclass(frozen=True, repr=False)
class Asked:
    """News, and the accounts whose session it may mean: those that share the address that it came to."""

    id: uuid.UUID
    update: SessionUpdate
    accounts: frozenset[str]


def find(
    connection: sa.Connection, keyring: Keyring, asked: Sequence[Asked], *, everyone: Accounts = frozenset()
) -> dict[uuid.UUID, sa.Row[Any]]:
    """The session that each means, by the first of its ids that tells; one that means none of ours is left out.

    `everyone` are all accounts: what names a session of one that it does not speak for means nobody else's either. Not
    locked: what is read besides its id, customer and purpose may have changed since.
    """
    found: dict[uuid.UUID, sa.Row[Any]] = {}
    named = {key: _named(connection, keyring, key, asked, everyone) for key in _THEIRS}
    is_ours = {one.id: _is_ours(one, named) for one in asked}
    others = {id_ for id_, ours in is_ours.items() if ours is False}
    open_ = [one for one in asked if one.update.match]
    for place in range(max((len(one.update.match) for one in open_), default=0)):
        open_ = [one for one in open_ if one.id not in found and one.id not in others and place < len(one.update.match)]
        for key in {one.update.match[place][0] for one in open_}:
            by_key = [one for one in open_ if one.update.match[place][0] is key]
            rows = named[key] if key in named else _named(connection, keyring, key, by_key, everyone)
            for one in by_key:
                by_value = rows.get(one.update.match[place][1], ())
                ours = [row for row in by_value if row.account in one.accounts]
                session = _chosen(key, one.update, ours)
                if session is not None:
                    found[one.id] = session
                elif (
                    key is Key.EXTERNAL_REF
                    and not ours
                    and is_ours[one.id] is None
                    and _of_its_customer(one.update, by_value)
                ):
                    others.add(one.id)
    return found


def _named(
    connection: sa.Connection, keyring: Keyring, key: Key, asked: Sequence[Asked], everyone: Accounts
) -> "Found":
    """The sessions that the ids of this kind name, whosever they are."""
    given = [(one, value) for one in asked for of, value in one.update.match if of is key]
    accounts = everyone.union(*(one.accounts for one, _ in given))
    return _LOOKS[key](connection, keyring, accounts, [value for _, value in given]) if given else {}


def _is_ours(one: Asked, named: Mapping[Key, "Found"]) -> bool | None:
    """Whether the provider's own ids name a session of the accounts that this one speaks for; None: they name nobody's.

    False is a copy of what another account was told, whose key may be the same. Its customer may have a session here
    too.
    """
    said = dict(one.update.match)
    for key in _THEIRS:
        if rows := named[key].get(said.get(key, ""), ()):
            return any(row.account in one.accounts for row in rows)
    return None


def _of_its_customer(update: SessionUpdate, rows: Iterable[sa.Row[Any]]) -> bool:
    """Whether one of the sessions is the customer's that the event names as well: our own ids are no secret, and what
    a list calls its row may be the number of another's."""
    customer_id = dict(update.match).get(Key.CLIENT_ID)
    return any(row.customer_id == customer_id for row in rows)


def _chosen(key: Key, update: SessionUpdate, rows: Iterable[sa.Row[Any]]) -> sa.Row[Any] | None:
    said = dict(update.match)
    rows = [row for row in rows if not _contradicts(key, update, row)]
    if key is Key.EXTERNAL_REF:
        # What the provider calls the session; else the number of the job, which is sent where the list has none.
        rows = [row for row in rows if row.reference == said[key]] or rows
    if key is Key.ENTITY_ID:
        rows = [row for row in rows if row.state in LIVE_SESSIONS] or rows
    if update.rank is Rank.FINAL and Key.COMPANY_ID in said:
        # A list may call its row as one did before: the verdict is about the company that handed in.
        rows = [row for row in rows if row.company_id == said[Key.COMPANY_ID]] or rows
    return max(rows, key=lambda row: (row.issued_at, row.id), default=None)


def _contradicts(key: Key, update: SessionUpdate, row: sa.Row[Any]) -> bool:
    """Whether the event's time or its other ids say that it is about another session, or another customer."""
    said = dict(update.match)
    if key is Key.EXTERNAL_REF and said.get(Key.CLIENT_ID, row.customer_id) != row.customer_id:
        return True  # what a list calls its row may be the number of another's
    if key in (Key.EXTERNAL_REF, Key.CLIENT_ID):
        if update.happened_at is not None and update.happened_at + BEFORE < row.issued_at:
            return True
        if update.rank is Rank.FINAL and row.company_id and said.get(Key.COMPANY_ID, row.company_id) != row.company_id:
            return True
    if update.rank is Rank.FINAL:
        # The customer has finished, if not with the session that we know of.
        return False
    return any(
        own in said and name in row.references and said[own].lower() != str(row.references[name]).lower()
        for own, name in _OWN.items()
    )


Found = Mapping[str, Sequence[sa.Row[Any]]]
_COLUMNS = (
    SessionRow.id,
    SessionRow.customer_id,
    SessionRow.purpose,
    SessionRow.job_id,
    SessionRow.account,
    SessionRow.reference,
    SessionRow.references,
    SessionRow.state,
    SessionRow.issued_at,
    SessionRow.company_id,
    SessionRow.token_digest,
)
_FROM = sa.select(*_COLUMNS)
# By account too: references are only told apart, and indexed, within one.
_BY_REFERENCE = _FROM.where(bulk.among(SessionRow.account, "accounts"), bulk.among(SessionRow.reference, "values"))
_BY_JOB = _FROM.where(bulk.among(SessionRow.job_id, "values"))
_BY_CUSTOMER = _FROM.where(bulk.among(SessionRow.customer_id, "values"))
# In the very words of their partial indexes.
_BY_COMPANY = _FROM.where(SessionRow.company_id != sa.literal_column("''"), bulk.among(SessionRow.company_id, "values"))
_BY_TOKEN = _FROM.where(SessionRow.token_digest.is_not(None), bulk.among(SessionRow.token_digest, "values"))


def _ask(
    connection: sa.Connection, query: sa.Select[Any], column: str, values: Iterable[Any], **more: str
) -> dict[Any, list[Any]]:
    wanted = list(dict.fromkeys(values))
    found: dict[Any, list[Any]] = {}
    for row in fetch(connection, query, {"values": bulk.keys(wanted), **more}) if wanted else ():
        found.setdefault(getattr(row, column), []).append(row)
    return found


def _by_reference(connection: sa.Connection, _keyring: Keyring, accounts: Accounts, values: Sequence[str]) -> Found:
    return _ask(connection, _BY_REFERENCE, "reference", values, accounts=bulk.keys(sorted(accounts)))


def _by_entity(connection: sa.Connection, _keyring: Keyring, accounts: Accounts, values: Sequence[str]) -> Found:
    """An entity's id is the same in either case."""
    spelt = {value: {value, value.lower(), value.upper()} for value in values}
    rows = _by_reference(connection, _keyring, accounts, sorted({one for each in spelt.values() for one in each}))
    return {value: [row for one in sorted(each) for row in rows.get(one, ())] for value, each in spelt.items()}


def _by_external_ref(connection: sa.Connection, _keyring: Keyring, accounts: Accounts, values: Sequence[str]) -> Found:
    """What the provider calls the session, and the number of the job: which of them counts, `_chosen` says."""
    rows = _by_reference(connection, _keyring, accounts, values)
    numbers = {value: int(value) for value in values if value.isascii() and value.isdigit() and len(value) <= DIGITS}
    jobs = _ask(connection, _BY_JOB, "job_id", numbers.values())
    return {value: [*rows.get(value, ()), *jobs.get(numbers.get(value), ())] for value in values}


def _by_customer(connection: sa.Connection, _keyring: Keyring, _accounts: Accounts, values: Sequence[str]) -> Found:
    return _ask(connection, _BY_CUSTOMER, "customer_id", values)


def _by_company(connection: sa.Connection, _keyring: Keyring, _accounts: Accounts, values: Sequence[str]) -> Found:
    return _ask(connection, _BY_COMPANY, "company_id", values)


def _by_token(connection: sa.Connection, keyring: Keyring, _accounts: Accounts, values: Sequence[str]) -> Found:
    digests = {value: keyring.digests(value) for value in values}
    rows = _ask(connection, _BY_TOKEN, "token_digest", (one for each in digests.values() for one in each))
    return {value: [row for one in each for row in rows.get(one, ())] for value, each in digests.items()}


_LOOKS: Mapping[Key, Callable[[sa.Connection, Keyring, Accounts, Sequence[str]], Found]] = {
    Key.SCAN_REF: _by_reference,
    Key.EXTERNAL_REF: _by_external_ref,
    Key.TOKEN: _by_token,
    Key.COMPANY_ID: _by_company,
    Key.CLIENT_ID: _by_customer,
    Key.ENTITY_ID: _by_entity,
    Key.CUSTOMER_REFERENCE: _by_customer,
}
