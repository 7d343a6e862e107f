"""Finds the session that a provider's webhook is about."""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.encrypted_values import TOKEN
from onboarding_worker.core.database.tables import SessionRow
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.states import LIVE_SESSIONS, SessionState
from onboarding_worker.providers.webhooks.contract import Key, Rank, SessionUpdate

Accounts = frozenset[str]
Found = Mapping[str, Sequence[sa.Row[Any]]]  # sessions, of whatever account, by an id
DIGITS = 18  # of a job's number, which the column holds
# The ids that belong to one session only, and their names in our stored references.
_OWN = {Key.SCAN_REF: "scanRef", Key.ENTITY_ID: "entityId"}
# Ids given by the provider, so each belongs to one of its accounts only; the most exact first. All other ids are ours,
# and the same at every provider.
_THEIRS = (Key.SCAN_REF, Key.TOKEN, Key.COMPANY_ID, Key.ENTITY_ID)
# A webhook that is older than the session by more than this is about another session. A younger one may have been on
# its way for the previous session when this one was opened: it counts, because the customer has finished either way.
BEFORE = timedelta(days=1)


def find(
    connection: sa.Connection,
    keyring: Keyring,
    updates: Mapping[uuid.UUID, tuple[SessionUpdate, Accounts]],
    *,
    all_accounts: Accounts = frozenset(),
) -> dict[uuid.UUID, sa.Row[Any]]:
    """The session of each update, by the first of its ids that matches; an update without a match is left out. Each has
    the accounts whose session it may be about: those that share the webhook's address.

    `all_accounts`: an update that names a session of an account outside its own accounts matches no other session
    either. The rows are not locked: all columns but id, customer and purpose may have changed since.
    """

    @cache  # each kind of id is read once, when it is first asked for: most updates name their session by the first
    def named(key: Key) -> Found:
        given = [(theirs, value) for update, theirs in updates.values() for of, value in update.match if of is key]
        accounts = all_accounts.union(*(theirs for theirs, _ in given))
        return _named_by(connection, keyring, key, accounts, [value for _, value in given])

    found = {id_: _session_of(update, accounts, named) for id_, (update, accounts) in updates.items()}
    return {id_: session for id_, session in found.items() if session is not None}


def _session_of(update: SessionUpdate, accounts: Accounts, named: Callable[[Key], Found]) -> sa.Row[Any] | None:
    is_ours = _is_ours(update, accounts, named)
    if is_ours is False:
        return None
    for key, value in update.match:
        rows = named(key).get(value, ())
        ours = [row for row in rows if row.account in accounts]
        session = _chosen(key, update, ours)
        if session is not None:
            return session
        if key is Key.EXTERNAL_REF and is_ours is None and not ours:
            # Our own ids are not secret, and a list's `external_ref` may equal the number of another job.
            customer_id = dict(update.match).get(Key.CLIENT_ID)
            if any(row.customer_id == customer_id for row in rows):
                return None  # it is about another account's session of this customer
    return None


def _is_ours(update: SessionUpdate, accounts: Accounts, named: Callable[[Key], Found]) -> bool | None:
    """True if the provider's ids name a session of the update's accounts; None: they name no session. False is a copy
    of another account's webhook, whose key may be the same. Its customer may have a session here too."""
    ids = dict(update.match)
    for key in _THEIRS:
        if key in ids and (rows := named(key).get(ids[key], ())):
            return any(row.account in accounts for row in rows)
    return None


def _chosen(key: Key, update: SessionUpdate, rows: Iterable[sa.Row[Any]]) -> sa.Row[Any] | None:
    ids = dict(update.match)
    rows = [row for row in rows if not _contradicts(key, update, row)]
    if key is Key.EXTERNAL_REF:
        # The session's reference first; else the number of the job, which is sent where the list has no external_ref.
        rows = [row for row in rows if row.reference == ids[key]] or rows
    if key is Key.ENTITY_ID:
        rows = [row for row in rows if row.state in LIVE_SESSIONS] or rows
    if update.rank is Rank.FINAL and Key.COMPANY_ID in ids:
        # Two lists may use the same external_ref: the verdict is about the company that has submitted.
        rows = [row for row in rows if row.company_id == ids[Key.COMPANY_ID]] or rows
    return max(rows, key=lambda row: (row.issued_at, row.id), default=None)


def _contradicts(key: Key, update: SessionUpdate, row: sa.Row[Any]) -> bool:
    """True if the webhook's time or its other ids show that it is about another session or customer."""
    ids = dict(update.match)
    if key is Key.EXTERNAL_REF and ids.get(Key.CLIENT_ID, row.customer_id) != row.customer_id:
        return True  # a list's external_ref may equal the number of another job
    if key in (Key.EXTERNAL_REF, Key.CLIENT_ID):
        if update.happened_at is not None and update.happened_at + BEFORE < row.issued_at:
            return True
        if update.rank is Rank.FINAL and row.company_id and ids.get(Key.COMPANY_ID, row.company_id) != row.company_id:
            return True
    if update.rank is Rank.FINAL and not row.past:
        # The customer has finished, even if with another session than the stored one. Before a renewal that was long
        # ago: then it is about a session that is still being stored.
        return False
    return any(
        own in ids and name in row.references and ids[own].lower() != str(row.references[name]).lower()
        for own, name in _OWN.items()
    )


_COLUMNS = (
    *(SessionRow.id, SessionRow.customer_id, SessionRow.purpose, SessionRow.job_id, SessionRow.company_id),
    *(SessionRow.account, SessionRow.reference, SessionRow.references, SessionRow.token_digest),
    *(SessionRow.state, SessionRow.issued_at, SessionRow.past),
)
# A deferred session is none of the provider's.
_FROM = sa.select(*_COLUMNS).where(SessionRow.state != bulk.fixed(SessionState.DEFERRED))
# By account too: references are unique, and indexed, only within one account.
_BY_REFERENCE = _FROM.where(bulk.among(SessionRow.account, "accounts"), bulk.among(SessionRow.reference, "values"))
_BY_JOB = _FROM.where(bulk.among(SessionRow.job_id, "values"))
_BY_CUSTOMER = _FROM.where(bulk.among(SessionRow.customer_id, "values"))
# Spelled exactly as in their partial indexes.
_BY_COMPANY = _FROM.where(SessionRow.company_id != sa.literal_column("''"), bulk.among(SessionRow.company_id, "values"))
_BY_TOKEN = _FROM.where(SessionRow.token_digest.is_not(None), bulk.among(SessionRow.token_digest, "values"))


def _rows_by(
    connection: sa.Connection, query: sa.Select[Any], column: str, values: Iterable[Any], **more: str
) -> dict[Any, list[Any]]:
    wanted = list(dict.fromkeys(values))
    found: dict[Any, list[Any]] = {}
    for row in fetch(connection, query, {"values": bulk.keys(wanted), **more}) if wanted else ():
        found.setdefault(getattr(row, column), []).append(row)
    return found


def _named_by(
    connection: sa.Connection, keyring: Keyring, key: Key, accounts: Accounts, values: Sequence[str]
) -> Found:
    """The sessions that these ids of one kind name."""

    def by_reference(references: Iterable[str]) -> dict[str, list[Any]]:
        return _rows_by(connection, _BY_REFERENCE, "reference", references, accounts=bulk.keys(sorted(accounts)))

    match key:
        case Key.SCAN_REF:
            return by_reference(values)
        case Key.CLIENT_ID | Key.CUSTOMER_REFERENCE:
            return _rows_by(connection, _BY_CUSTOMER, "customer_id", values)
        case Key.COMPANY_ID:
            return _rows_by(connection, _BY_COMPANY, "company_id", values)
        case Key.TOKEN:
            digests = {value: keyring.digests(TOKEN, value) for value in values}
            rows = _rows_by(connection, _BY_TOKEN, "token_digest", (one for each in digests.values() for one in each))
            return {value: [row for one in each for row in rows.get(one, ())] for value, each in digests.items()}
        case Key.ENTITY_ID:  # the same in upper and lower case
            spellings = {value: sorted({value, value.lower(), value.upper()}) for value in values}
            rows = by_reference(sorted({one for each in spellings.values() for one in each}))
            return {value: [row for one in each for row in rows.get(one, ())] for value, each in spellings.items()}
        case Key.EXTERNAL_REF:  # or the number of the job; `_chosen` decides between the two
            rows = by_reference(values)
            numbers = {
                value: int(value) for value in values if value.isascii() and value.isdigit() and len(value) <= DIGITS
            }
            jobs = _rows_by(connection, _BY_JOB, "job_id", numbers.values())
            return {value: [*rows.get(value, ()), *jobs.get(numbers.get(value), ())] for value in values}
