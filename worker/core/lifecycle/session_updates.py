"""A provider's updates on an open session, and what is known of the session after each. Pure.

    webhook --adapter's read--> SessionUpdate --known_after--> KnownSession, or no change

Webhooks come late, twice and in any order. So an update has a rank and a time, and what ranks higher stays. Where rank
or time differ, the order of arrival does not matter. docs/reference/webhooks.md describes the same for operators.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any

from worker.core.model.states import JobState, SessionState
from worker.core.unknown.reconciliation import Listed

# For this long a copy of a webhook is recognised by the digest of its bytes (`retention`). For older copies see
# `may_be_replay`.
DIGESTS_KEPT = timedelta(days=30)


LOOK_UP = "LOOK-UP"  # the name of the event where the provider's list was read


class Result(StrEnum):
    """What the provider decided about the customer; kept apart from the session's state."""

    APPROVED = "approved"
    DENIED = "denied"
    SUSPECTED = "suspected"  # not a refusal: our side decides
    REVIEW = "review"  # the customer has submitted, and a person reviews it
    UNKNOWN = "unknown"  # finished, but the event does not name the result


class Key(StrEnum):
    """The ids by which a session can be found, under the provider's names."""

    SCAN_REF = "scanRef"
    EXTERNAL_REF = "externalRef"
    TOKEN = "token"  # noqa: S105  # the name of a field; its value is as secret as the link
    COMPANY_ID = "companyId"
    CLIENT_ID = "clientId"  # the customer's id: its newest session
    ENTITY_ID = "entityId"  # its newest session that has not ended
    CUSTOMER_REFERENCE = "entityCustomerReference"  # the customer's id


class Rank(IntEnum):
    """The rank of an update. An update with a lower rank never replaces one with a higher rank, however late it is."""

    NOTHING = 0  # no update yet; our own clock may have called the session expired
    BEGUN = 1
    GONE = 2  # deleted or archived at the provider, which does not show how the session ended
    ENDED = 3  # expired or cancelled, and a verdict may still come; or replaced by us
    FINAL = 4  # a verdict, which only a later verdict replaces


@dataclass(frozen=True, repr=False)
class SessionUpdate:
    """The content of one webhook. Nothing personal is stored: no names, documents, images or screening hits.

    `match` holds the ids to find the session by, in the order in which to try them; an id may be a token, so no repr
    shows them. `state` None changes nothing. `final`: the provider marks it as final. `happened_at` is aware UTC, None
    where the event has no time. `weight` orders events of the same time: the heavier is the later. `note` is a text of
    ours for operators. `alert`: an operator should look at it. `company_id` is stored with the session, because later
    events may have no other id. `vouched`: an operator has checked the update at the provider.
    """

    event: str
    match: tuple[tuple[Key, str], ...] = ()
    state: SessionState | None = None
    final: bool = False
    result: Result | None = None
    happened_at: datetime | None = None
    weight: int = 0
    gone: bool = False
    note: str = ""
    alert: bool = False
    company_id: str = ""
    vouched: bool = False

    def __repr__(self) -> str:
        return f"SessionUpdate({self.event}, state={self.state}, result={self.result}, final={self.final})"

    @property
    def rank(self) -> Rank:
        if self.state is None:
            return Rank.NOTHING
        if self.state is SessionState.STARTED:
            return Rank.BEGUN
        if self.gone:
            return Rank.GONE
        # An expiry is not a verdict, even if the event is marked final: a verdict that comes later still counts.
        return Rank.FINAL if self.final and self.state is not SessionState.EXPIRED else Rank.ENDED

    def as_json(self) -> dict[str, Any]:
        """The whole update as JSON, to be stored until it is applied; `session_update` reads it."""
        kept: dict[str, Any] = {name: value for name, value in vars(self).items() if value not in (None, "", 0, False)}
        kept["match"] = [[key.value, value] for key, value in self.match]
        if self.happened_at is not None:
            kept["happened_at"] = self.happened_at.isoformat()
        return kept


def update_of_listed(entry: Listed) -> SessionUpdate | None:
    """What an entry of the provider's list says, as an update; None: nothing new."""
    if entry.state is None:
        return None
    return SessionUpdate(
        LOOK_UP,
        match=((Key.SCAN_REF, entry.reference),),
        state=entry.state,
        final=entry.has_verdict,
        result=Result(entry.result) if entry.result else None,
        gone=entry.state is SessionState.FAILED and not entry.result,
    )


def session_update(kept: Mapping[str, Any]) -> SessionUpdate:
    """The update from the output of `as_json`. Raises KeyError or ValueError for anything else."""
    given = dict(kept)
    given["match"] = tuple((Key(key), value) for key, value in kept["match"])
    for name, read in (("state", SessionState), ("result", Result), ("happened_at", datetime.fromisoformat)):
        if name in given:
            given[name] = read(given[name])
    return SessionUpdate(**given)


@dataclass(frozen=True)
class KnownSession:
    """What is known of a session, with the rank, time and weight of the last update: stored with the session.

    A session without an update is `KnownSession()`, and a session that our own clock calls expired is
    `KnownSession(SessionState.EXPIRED)`: any update of the provider outweighs both. A session that we replaced is
    `REPLACED`.
    """

    state: SessionState = SessionState.WAITING
    result: Result | None = None
    rank: Rank = Rank.NOTHING
    at: datetime | None = None
    weight: int = 0
    note: str = field(default="", compare=False)


# For a replaced session only a verdict still counts: the customer may have finished with the old link.
REPLACED = KnownSession(SessionState.SUPERSEDED, rank=Rank.ENDED)


def known_after(known: KnownSession, update: SessionUpdate, *, received_at: datetime) -> KnownSession | None:
    """What is known of the session after the update; None where the update changes nothing.

    `received_at` (aware UTC) replaces the time of an event that has none, or has one in the future. Of two updates with
    the same rank, time and weight the one that came later counts: a provider's second decision may have the time at
    which the customer finished, like the first. So a webhook must never be applied twice.
    """
    if update.state is None:
        return None
    at = min(update.happened_at or received_at, received_at)
    if known.state is SessionState.SUPERSEDED and update.rank <= known.rank:
        return None
    if (update.rank, at, update.weight) < (known.rank, known.at or at, known.weight):
        return None
    following = KnownSession(update.state, update.result, update.rank, at, update.weight, update.note)
    return None if following == known else following


def may_be_replay(known: KnownSession, update: SessionUpdate, *, opened_at: datetime, received_at: datetime) -> bool:
    """True if this verdict may be a replay of one that we applied before the known one.

    Two things must hold: the verdict does not show that it is the later one, so that only its arrival would decide; and
    the session is so old that copies of its first webhooks are no longer recognised by digest. Times are aware UTC.
    """
    if update.vouched or update.rank is not Rank.FINAL or known.rank is not Rank.FINAL:
        return False
    undecided = update.happened_at is None or (update.happened_at, update.weight) == (known.at, known.weight)
    return undecided and received_at - opened_at >= DIGESTS_KEPT


def job_state_of_session(known: KnownSession) -> JobState | None:
    """The state of the session's job; None while the customer has neither finished nor failed.

    A refusal is a result, so it completes the job. A session that was cancelled or deleted at the provider has no
    result: the job fails, and an operator may retry it. An expired session is a reason for a reissue.
    """
    if known.state is SessionState.COMPLETED:
        return JobState.COMPLETED
    if known.state is SessionState.FAILED:
        return JobState.COMPLETED if known.result is Result.DENIED else JobState.FAILED
    return None
