"""What a provider said of one session, in our words: by a webhook, or in its list. Pure.

Updates come late, twice and in any order, so each has a rank. What they do to the customer's sessions and jobs:
`web.webhooks.session_chain`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum

from worker.core.model.states import Result, SessionState
from worker.core.unknown.reconciliation import Listed

LOOK_UP = "LOOK-UP"  # the name of the event where the provider's list was read


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


LISTED = -1  # the weight of what a provider's list says


@dataclass(frozen=True, repr=False)
class SessionUpdate:
    """The content of one webhook. Nothing personal is stored: no names, documents, images or screening hits.

    `match` holds the ids to find the session by, in the order in which to try them; an id may be a token, so no repr
    shows them. `state` None changes nothing. `final`: the provider marks it as final. `happened_at` is aware UTC, None
    where the event has no time. `weight` orders events of the same time: the heavier is the later. `note` is a text of
    ours for operators. `alert`: an operator should look at it. `company_id` is stored with the session, because later
    events may have no other id. `vouched`: an operator has checked the update at the provider. `reasons`: its codes of
    why it decided so (`model.refusals`).
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
    reasons: tuple[str, ...] = ()

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
        weight=LISTED,
        gone=entry.state is SessionState.FAILED and not entry.result,
    )
