"""The result of a call for a session, and what its job and its session get from it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.core.customers.customers import Customer, invitation_channels
from worker.core.messages.contact_times import Hours
from worker.core.model.endings import Done, Ending, Problem
from worker.core.model.sessions import Session
from worker.core.unknown.reconciliation import Found, Listed
from worker.core.work.store import sessions
from worker.core.work.store.job_context import JobPolicy
from worker.core.work.store.open_attempts import OpenedJob


@dataclass(repr=False)  # not frozen: see `customers.customers`
class IssueResult:
    """The result of one opened attempt. `ending` None: the call was not made. A Done has its `session`.

    A session whose ending is not Done is kept, and no message is written for it. `found` is the result of a successful
    look-up. `floor`: the freshness floor of the new session's link. `token_digest`: the hash by which its token is
    known again. `repeats`: another customer has what the answer has, so nothing of it is kept (`repeated_answers`).
    """

    opened: OpenedJob
    began_at: datetime
    ending: Ending | None
    problem: Problem | None = None
    session: Session | None = None
    found: Found | None = None
    floor: timedelta | None = None
    called: bool = True  # False: a look-up that needed no request
    token_digest: str | None = None
    repeats: bool = False
    news: Listed | None = None  # what the provider's list says about the session that the job asks for


def floor_seconds(result: IssueResult) -> int:
    """The job's freshness floor from now on."""
    return int((result.floor if result.floor is not None else result.opened.job.floor).total_seconds())


def entity_id(result: IssueResult) -> str:
    """The provider's entity of the customer. It is sent from now on: otherwise the provider makes another entity."""
    new = result.session.references.get("entityId") if result.session and not result.repeats else None
    return new or result.opened.job.request.entity_id


def new_session(
    policy: JobPolicy,
    result: IssueResult,
    id_: uuid.UUID,
    *,
    priority: int,
    invite_at: datetime | None,
    pressed: bool = False,
    cancelled: bool = False,
    live: bool = False,
) -> sessions.NewSession:
    """The session of a result that has one. `pressed`: the customer stands at the stable link."""
    job = result.opened.job
    assert result.session is not None  # noqa: S101 -- for mypy
    channels = invitation_channels(job.channel) if isinstance(result.ending, Done) else ()
    silent = pressed and bool(channels)
    if silent:
        channels = ()
    return sessions.NewSession(
        id=id_,
        job_id=job.id,
        batch_id=job.batch_id,
        customer_id=job.request.customer.customer_id,
        purpose=job.purpose,
        channels=channels,
        priority=priority,
        account=policy.account,
        issued_at=result.began_at,
        replaces=job.session_id,
        session=result.session,
        invite_at=invite_at,
        cancelled=cancelled,
        live=live,
        silent=silent,
        token_digest=result.token_digest,
        zones=_zones(policy.hours, channels, job.request.customer),
    )


def _zones(hours: Hours, channels: Sequence[str], customer: Customer) -> tuple[str, ...]:
    if not hours.concern(channels):
        return ()
    return hours.zones_of(timezone=customer.timezone, phone=customer.person.phone, country=customer.country)
