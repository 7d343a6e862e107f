"""Jobs as they are worked: claimed, with the customer and batch that a session is requested from; and the result."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from onboarding_worker.core.claim.claims import ClaimPolicy
from onboarding_worker.core.claim.flush import CallResult, Claimed
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.sessions import SessionRequest
from onboarding_worker.core.rows.own_links import StableLinks
from onboarding_worker.core.rules.limits import ONE_DAY
from onboarding_worker.core.rules.reissue import ahead_at


@dataclass(frozen=True, kw_only=True)
class JobPolicy(ClaimPolicy):
    """How one account's jobs are claimed and their results stored. Durations in real time."""

    account: str
    provider: str
    reissue_at: Callable[[datetime], datetime]  # the adapter's: from the old session's expiry
    lifetime: timedelta | None = None  # of the account's links; None: the vendor decides
    max_age: timedelta = timedelta(0)  # how old a link may be when it is sent, on the route with the strictest floor
    reminds: bool = False  # reminders follow a text that the provider sends itself; False: we send no texts
    on_click: StableLinks | None = None  # messages with our own links go out, and customers ask for the sessions
    # Why the row may not say to the provider what it says; "": it may. The row is kept back, with the reason.
    forbids: Callable[["ClaimedJob"], str] = lambda _job: ""
    any_age: bool = False  # messages have our own links: the age of a session's link does not matter

    @property
    def claims_for(self) -> str:
        return self.account

    def early_at(self, issued_at: datetime, expires_at: datetime) -> datetime | None:
        """When a link that its customer has not used is replaced before its end; None: it is not."""
        return ahead_at(self.contact, issued_at, expires_at, self.reissue_at(expires_at))


@dataclass(repr=False)
class ClaimedJob(Claimed, SessionRequest):
    """A job under our lease, and what its session is asked for with. `session_id`: of the session that a new one
    replaces."""

    id: int
    channel: Channel
    floor: timedelta  # the freshness floor so far; a new session gets the floor of the routes as they are then
    link_requested_at: datetime | None = None  # the customer stands at the stable link, and waits for the session
    invite_at: datetime | None = None  # until then the customer is in the app, and needs the link there
    traceparent: str | None = None  # of the span that took the job in
    origin: str = ""  # who has brought what of it needs a right (`AcceptedLine.origin`)
    names_account: bool = False  # the row itself does
    ended: bool = False  # the job ended during its call: the call is looked up, and nothing follows for the job

    @property
    def day_of_credit(self) -> date | None:
        return self.call_before.date() - ONE_DAY if self.call_before is not None else None


IssueResult = CallResult[ClaimedJob]
