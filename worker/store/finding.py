"""Which session an event of a provider means."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from worker.keyring import Keyring
from worker.models import SessionRow
from worker.news import Key, Rank, SessionNews
from worker.states import LIVE_SESSIONS
from worker.store import lots
from worker.store.database import fetch

Accounts = frozenset[str]
DIGITS = 18  # of a job's number, which the column holds
# The ids that are one session's alone, and what our own record of it calls them.
_OWN = {Key.SCAN_REF: "scanRef", Key.ENTITY_ID: "entityId"}


@dataclass(frozen=True, repr=False)
class Asked:
    """News, and the accounts whose session it may mean: those that share the address that it came to."""

    id: uuid.UUID
    news: SessionNews
    accounts: frozenset[str]


def find(
    connection: sa.Connection, keyring: Keyring, asked: Sequence[Asked], *, everyone: Accounts = frozenset()
) -> dict[uuid.UUID, sa.Row[Any]]:
    """The session that each means, by the first of its ids that tells; one that means none of ours is left out.

    `everyone` are all accounts: what names a session of one that it does not speak for means nobody else's either. Not
    locked: what is read besides its id, customer and purpose may have changed since.
    """
    found: dict[uuid.UUID, sa.Row[Any]] = {}
    others: set[uuid.UUID] = set()  # what is about sessions of accounts that it does not speak for
    open_ = [one for one in asked if one.news.match]
    for place in range(max((len(one.news.match) for one in open_), default=0)):
        open_ = [one for one in open_ if one.id not in found and one.id not in others and place < len(one.news.match)]
        for key in {one.news.match[place][0] for one in open_}:
            by_key = [one for one in open_ if one.news.match[place][0] is key]
            accounts = frozenset().union(*(one.accounts for one in by_key))
            accounts |= everyone if key is Key.SCAN_REF else frozenset()
            rows = _LOOKS[key](connection, keyring, accounts, [one.news.match[place][1] for one in by_key])
            for one in by_key:
                named = rows.get(one.news.match[place][1], ())
                ours = [row for row in named if row.account in one.accounts]
                session = _chosen(key, one.news, ours)
                if session is not None:
                    found[one.id] = session
                elif key is Key.SCAN_REF and named and not ours:
                    # A copy of what another account was told. Its customer may have a session here too.
                    others.add(one.id)
    return found


def _chosen(key: Key, news: SessionNews, rows: Iterable[sa.Row[Any]]) -> sa.Row[Any] | None:
    rows = [row for row in rows if not _contradicts(key, news, row)]
    if key is Key.ENTITY_ID:
        rows = [row for row in rows if row.state in LIVE_SESSIONS] or rows
    return max(rows, key=lambda row: (row.issued_at, row.id), default=None)


def _contradicts(key: Key, news: SessionNews, row: sa.Row[Any]) -> bool:
    """Whether the event's other ids say that it is about another session, or another customer."""
    said = dict(news.match)
    if key is Key.EXTERNAL_REF and said.get(Key.CLIENT_ID, row.customer_id) != row.customer_id:
        return True  # what a list calls its row may be the number of another's
    if news.rank is Rank.FINAL:
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
_BY_REFERENCE = _FROM.where(lots.among(SessionRow.account, "accounts"), lots.among(SessionRow.reference, "values"))
_BY_JOB = _FROM.where(lots.among(SessionRow.job_id, "values"))
_BY_CUSTOMER = _FROM.where(lots.among(SessionRow.customer_id, "values"))
# In the very words of their partial indexes.
_BY_COMPANY = _FROM.where(SessionRow.company_id != sa.literal_column("''"), lots.among(SessionRow.company_id, "values"))
_BY_TOKEN = _FROM.where(SessionRow.token_digest.is_not(None), lots.among(SessionRow.token_digest, "values"))


def _ask(
    connection: sa.Connection, query: sa.Select[Any], column: str, values: Iterable[Any], **more: str
) -> dict[Any, list[Any]]:
    wanted = list(dict.fromkeys(values))
    found: dict[Any, list[Any]] = {}
    for row in fetch(connection, query, {"values": lots.keys(wanted), **more}) if wanted else ():
        found.setdefault(getattr(row, column), []).append(row)
    return found


def _by_reference(connection: sa.Connection, _keyring: Keyring, accounts: Accounts, values: Sequence[str]) -> Found:
    return _ask(connection, _BY_REFERENCE, "reference", values, accounts=lots.keys(sorted(accounts)))


def _by_entity(connection: sa.Connection, _keyring: Keyring, accounts: Accounts, values: Sequence[str]) -> Found:
    """An entity's id is the same in either case."""
    spelt = {value: {value, value.lower(), value.upper()} for value in values}
    rows = _by_reference(connection, _keyring, accounts, sorted({one for each in spelt.values() for one in each}))
    return {value: [row for one in sorted(each) for row in rows.get(one, ())] for value, each in spelt.items()}


def _by_external_ref(connection: sa.Connection, _keyring: Keyring, accounts: Accounts, values: Sequence[str]) -> Found:
    """What the provider calls the session; else the number of the job, which is sent where the list has none."""
    rows = _by_reference(connection, _keyring, accounts, values)
    numbers = {value: int(value) for value in values if value.isascii() and value.isdigit() and len(value) <= DIGITS}
    jobs = _ask(connection, _BY_JOB, "job_id", numbers.values())
    return {value: rows.get(value) or jobs.get(numbers.get(value), []) for value in values}


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
