"""Signs what providers have decided about customers, when their webhooks are applied. Who writes to the database and
has no digest key can make no verdict that is signed, and change none unseen.

The digest covers the session, its customer and purpose, the state, the result and the time. An earlier verdict of the
same session can be put back with its digest: the audit log has both.
"""

import uuid
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.job_ids import Key
from onboarding_worker.core.database.tables import Job, SessionRow
from onboarding_worker.core.foundation.keyring import Keyring, key_id_of
from onboarding_worker.core.model.states import JobState, Result, SessionState

CHUNK = 1000


class Verdict(StrEnum):
    """Whether a verdict is what a webhook has said."""

    NONE = ""
    SIGNED = "signed"
    NOT_SIGNED = "not signed"
    CHANGED = "changed"
    NO_KEY = "its key is missing"

    @property
    def doubt(self) -> str:
        """In words; "": there is none."""
        return _DOUBTS.get(self, "")


_DOUBTS = {
    Verdict.NOT_SIGNED: (
        "the result is not signed: it is from before results were signed, its session was purged, or no webhook has"
        " brought it"
    ),
    Verdict.CHANGED: "the result was changed in the database: it is not what the provider's webhook said",
    Verdict.NO_KEY: "the result cannot be checked: the digest key that signed it is missing",
}


def is_verdict(state: SessionState, result: str) -> bool:
    """As `KnownSession.has_verdict`."""
    return state is SessionState.COMPLETED or (state is SessionState.FAILED and result == Result.DENIED)


def _digests(
    keyring: Keyring, id_: uuid.UUID, customer_id: str, purpose: str, state: str, result: str, at: datetime | None
) -> tuple[str, ...]:
    when = at.astimezone(UTC).isoformat(timespec="microseconds") if at is not None else ""
    return keyring.digests("verdict", "\0".join((id_.hex, customer_id, purpose, state, result, when)))


def signature(keyring: Keyring, key: Key, id_: uuid.UUID, state: SessionState, result: str, at: datetime | None) -> str:
    """What `session.verdict_digest` is for these values; "" where they are no verdict. `key`: customer and purpose."""
    return _digests(keyring, id_, *key, state.value, result, at)[0] if is_verdict(state, result) else ""


def verdict_of(keyring: Keyring, row: Any) -> Verdict:
    """Of a session's row."""
    if not is_verdict(row.state, row.result):
        return Verdict.NONE
    if not row.verdict_digest:
        return Verdict.NOT_SIGNED
    if key_id_of(row.verdict_digest) not in keyring.digest_ids:
        return Verdict.NO_KEY
    good = _digests(keyring, row.id, row.customer_id, row.purpose, row.state.value, row.result, row.update_at)
    return Verdict.SIGNED if row.verdict_digest in good else Verdict.CHANGED


_OF_SESSIONS = sa.select(
    *(SessionRow.id, SessionRow.customer_id, SessionRow.purpose, SessionRow.state, SessionRow.result),
    *(SessionRow.update_at, SessionRow.verdict_digest),
).where(SessionRow.state.in_([SessionState.COMPLETED, SessionState.FAILED]))
_OF_CUSTOMERS = _OF_SESSIONS.where(bulk.among(SessionRow.customer_id, "customers"))
Verdicts = dict[tuple[str, str, str], Verdict]  # by customer, purpose and result, the best of several
_BEST = (Verdict.SIGNED, Verdict.NO_KEY, Verdict.CHANGED, Verdict.NOT_SIGNED)


def verdicts_of(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str]) -> Verdicts:
    """What the sessions of these customers say. What no session says is not in it: a row that says it is not signed."""
    found: Verdicts = {}
    for row in fetch(connection, _OF_CUSTOMERS, {"customers": bulk.keys(set(customer_ids))}) if customer_ids else ():
        verdict, key = verdict_of(keyring, row), (row.customer_id, row.purpose, row.result)
        if verdict:
            found[key] = min(verdict, found.get(key, verdict), key=_BEST.index)
    return found


def verdict_of_row(verdicts: Verdicts, customer_id: str, row: Any) -> Verdict:
    """Of a list's row of this customer: it says what a session has said, which is of another row if it was skipped."""
    if row.state != JobState.COMPLETED or not row.result:
        return Verdict.NONE
    return verdicts.get((customer_id, row.purpose, row.result), Verdict.NOT_SIGNED)


class Checked:
    """What a check of all verdicts has found: how many sessions have which, and the customers of what was changed, in a
    session or in a row."""

    def __init__(self) -> None:
        self.numbers, self.changed = Counter[Verdict](), dict[str, None]()


def check(database: Database, keyring: Keyring) -> Checked:
    """Check each verdict, and whether the rows say what their sessions do."""
    found = Checked()
    for row in database.in_order(_OF_SESSIONS, SessionRow.id, chunk=CHUNK):
        verdict = verdict_of(keyring, row)
        found.numbers[verdict] += 1
        if verdict is Verdict.CHANGED:
            found.changed[row.customer_id] = None
    for row in database.in_order(_OTHERWISE, Job.id, chunk=CHUNK):
        found.changed[row.customer_id] = None
    return found


_OTHERWISE = (
    sa.select(Job.id, Job.customer_id)
    .join(SessionRow, SessionRow.id == Job.session_id)
    .where(Job.state == JobState.COMPLETED, Job.result != SessionRow.result)
)


def sign_anew(connection: sa.Connection, keyring: Keyring, ids: Collection[uuid.UUID]) -> tuple[int, int]:
    """Sign these verdicts by the first key, where they are well signed by another one; returns how many were, and how
    many are not well signed. A row that another transaction is changing is left for the next time."""
    rows = fetch(connection, _LOCKED, {"sessions": bulk.keys(ids)})
    signed = [
        {
            "id_": row.id,
            "new_verdict_digest": signature(
                keyring, (row.customer_id, row.purpose), row.id, row.state, row.result, row.update_at
            ),
        }
        for row in rows
        if verdict_of(keyring, row) is Verdict.SIGNED
    ]
    _SIGN.run(connection, signed)
    return len(signed), len(rows) - len(signed)


_LOCKED = (
    _OF_SESSIONS.where(bulk.among(SessionRow.id, "sessions"))
    .order_by(SessionRow.id)
    .with_for_update(key_share=True, skip_locked=True)
)
_SIGN = bulk.Change(SessionRow.id, bulk.new("verdict_digest"), by="id_")
