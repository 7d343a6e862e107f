"""What a provider tells us of a session after it was opened, and what becomes of what was known before. Pure.

    webhook --adapter's read--> SessionNews --heard_next--> Heard, or nothing new

Webhooks come late, twice and in any order. So news does not follow what came before it: it has a rank and a time, and
what ranks higher stays. Where rank and time tell, the order of arrival changes nothing. docs/webhooks.md tells
operators the same.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any

from worker.domain.model.states import JobState, SessionState

# For so long what was told is known again by its bytes (`retention`). By what else an older copy is known: see
# `may_be_replay`.
DIGESTS_KEPT = timedelta(days=30)


class Result(StrEnum):
    """What the provider decided about the customer; kept apart from the session's state."""

    APPROVED = "approved"
    DENIED = "denied"
    SUSPECTED = "suspected"  # for our side to decide: no refusal
    REVIEW = "review"  # the customer has done their part, and somebody looks at it
    UNKNOWN = "unknown"  # finished, and the event does not say how


class Key(StrEnum):
    """By what a session may be found, in the provider's own words."""

    SCAN_REF = "scanRef"
    EXTERNAL_REF = "externalRef"
    TOKEN = "token"  # noqa: S105  # the name of a field; its value is as secret as the link
    COMPANY_ID = "companyId"
    CLIENT_ID = "clientId"  # the customer's id: its newest session
    ENTITY_ID = "entityId"  # its newest session that has not ended
    CUSTOMER_REFERENCE = "entityCustomerReference"  # the customer's id


class Rank(IntEnum):
    """How much a piece of news weighs. What ranks lower never replaces what ranks higher, however late it comes."""

    NOTHING = 0  # nothing was heard; our own clock may have called the session expired
    BEGUN = 1
    GONE = 2  # deleted or archived at the provider, which says nothing about how it ended
    ENDED = 3  # expired, or cancelled, and a verdict may still come; or replaced by us
    FINAL = 4  # the provider's last word, until a later one


@dataclass(frozen=True, repr=False)
class SessionUpdate:
    """What one webhook says. Nothing personal of it is kept: no names, documents, images or screening hits.

    `match` are the ids to find the session by, in the order in which to try them; one may be a token, so no repr shows
    them. `state` None changes nothing. `final`: the provider calls it its last word. `happened_at` is aware UTC, None
    where the event does not say. `weight` tells events of the same time apart: the heavier is the later. `note` is for
    people: words of ours alone. `alert`: a person should look at it. `company_id` is to be kept with the session,
    since later events may name nothing else. `vouched`: a person has looked at the provider's, and says that it is so.
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
        return f"SessionNews({self.event}, state={self.state}, result={self.result}, final={self.final})"

    @property
    def rank(self) -> Rank:
        if self.state is None:
            return Rank.NOTHING
        if self.state is SessionState.STARTED:
            return Rank.BEGUN
        if self.gone:
            return Rank.GONE
        # That a session expired is no verdict, whatever the event's flag says: one that comes is believed.
        return Rank.FINAL if self.final and self.state is not SessionState.EXPIRED else Rank.ENDED

    def as_json(self) -> dict[str, Any]:
        """All of it, to be kept until it is applied; `session_update` reads it again."""
        kept: dict[str, Any] = {name: value for name, value in vars(self).items() if value not in (None, "", 0, False)}
        kept["match"] = [[key.value, value] for key, value in self.match]
        if self.happened_at is not None:
            kept["happened_at"] = self.happened_at.isoformat()
        return kept


def session_update(kept: Mapping[str, Any]) -> SessionUpdate:
    """The news that `as_json` gave. Raises KeyError, ValueError for what it never gives."""
    given = dict(kept)
    given["match"] = tuple((Key(key), value) for key, value in kept["match"])
    for name, read in (("state", SessionState), ("result", Result), ("happened_at", datetime.fromisoformat)):
        if name in given:
            given[name] = read(given[name])
    return SessionUpdate(**given)


@dataclass(frozen=True)
class KnownSession:
    """What is known of a session, and from how weighty and how late a piece of news: to be kept with the session.

    A session of which nothing was heard is `KnownSession()`, and one that our own clock calls expired
    `KnownSession(SessionState.EXPIRED)`: what the provider says outweighs both. One that we replaced is `REPLACED`.
    """

    state: SessionState = SessionState.WAITING
    result: Result | None = None
    rank: Rank = Rank.NOTHING
    at: datetime | None = None
    weight: int = 0
    note: str = field(default="", compare=False)


# Only a verdict still counts for it: the customer may have finished with the old link.
REPLACED = KnownSession(SessionState.SUPERSEDED, rank=Rank.ENDED)


def known_after(known: KnownSession, update: SessionUpdate, *, received_at: datetime) -> KnownSession | None:
    """What is known of the session after the news; None where the news changes nothing.

    `received_at` (aware UTC) stands in for the time of an event that names none, or one that lies ahead. Of two pieces
    with the same rank, time and weight the one that came later counts: a provider's second decision may carry the
    time at which the customer finished, like the first. So a webhook that was taken must not be taken again.
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
    """Whether a verdict may be one that was heard before what is known now, brought again.

    It does not say that it is the later one, and would be so by its arrival alone; and the session was opened so long
    ago that not all that was ever told of it is known by its bytes. Times are aware UTC.
    """
    if update.vouched or update.rank is not Rank.FINAL or known.rank is not Rank.FINAL:
        return False
    undecided = update.happened_at is None or (update.happened_at, update.weight) == (known.at, known.weight)
    return undecided and received_at - opened_at >= DIGESTS_KEPT


def known_after_all(known: KnownSession, told: Iterable[tuple[SessionUpdate, datetime]]) -> KnownSession:
    """What is known after all of these, each with the time at which it was received, in order of arrival."""
    for update, received_at in told:
        known = known_after(known, update, received_at=received_at) or known
    return known


def job_state_after(known: KnownSession) -> JobState | None:
    """What becomes of the job whose session it is; None while the customer has neither finished nor failed.

    A refusal is a result like any other, so the job is completed with it. A session that was cancelled or deleted at
    the provider has none: the job has failed, and a person may try it again. An expired one is a reason to reissue.
    """
    if known.state is SessionState.COMPLETED:
        return JobState.COMPLETED
    if known.state is SessionState.FAILED:
        return JobState.COMPLETED if known.result is Result.DENIED else JobState.FAILED
    return None
