"""The events that a provider sends about a customer, for each behaviour. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from onboarding_sandbox.behaviour import NEVER
from onboarding_sandbox.endpoints.opened import Opened
from onboarding_sandbox.people import webhooks_frankieone, webhooks_idenfy
from onboarding_sandbox.wire import IDENFY_KYB, IDENFY_KYC

AT_ONCE = timedelta(0)
# Customers who cause no event before the end of the session.
IDLE = ("open", "expire")


@dataclass(frozen=True)
class Step:
    """One event, and how long it comes after the event before. `body` gets the session, the time at which the customer
    acted, and the time of the event. `status` is the session's status in the provider's listing from then on."""

    event: str
    body: Callable[[Opened, datetime, datetime], Mapping[str, Any]]
    after: timedelta = AT_ONCE
    status: str = ""


def steps(endpoint: str, does: str, *, review: timedelta, edition: str) -> tuple[Step, ...]:
    """`review` is how long a review takes, `edition` is FrankieOne's. A customer who never comes has no steps."""
    if does == NEVER:
        return ()
    if endpoint == IDENFY_KYC:
        return _verification(does, review)
    if endpoint == IDENFY_KYB:
        return _form(does, review)
    if does in IDLE:  # FrankieOne reports no expired link, and no verdict
        return ()
    later = review if does in ("review", "review-deny", "ask") else AT_ONCE
    return _noted("ocr", edition, good=True), _noted("results", edition, good=does != "fail", after=later)


VERDICTS = {"finish": "APPROVED", "deny": "DENIED", "suspect": "SUSPECTED"}


def _verification(does: str, review: timedelta) -> tuple[Step, ...]:
    match does:
        case "finish" | "deny" | "suspect":
            return (_identified("AUTO_FINISHED", VERDICTS[does]),)
        case "review" | "ask" | "review-deny":
            verdict = "DENIED" if does == "review-deny" else "APPROVED"
            reviewing = _identified("AUTO_FINISHED", "REVIEWING", final=False)
            return reviewing, _identified("MANUAL_FINISHED", verdict, after=review)
        case "fail":
            return (_identified("CANCELLED", "ACTIVE", final=False),)
        case _:
            return (_identified("EXPIRED", "EXPIRED"),)


def _identified(event: str, overall: str, *, final: bool = True, after: timedelta = AT_ONCE) -> Step:
    def body(opened: Opened, acted_at: datetime, now: datetime) -> Mapping[str, Any]:
        return webhooks_idenfy.identification(opened, overall, final=final, finished_at=acted_at)

    return Step(f"IDENTIFICATION_{event}", body, after, overall)


def _form(does: str, review: timedelta) -> tuple[Step, ...]:
    """A form has neither suspicion nor cancelling: `suspect` stays under review, `fail` is denied."""
    submitted = Step(
        "COMPANY_SUBMIT", lambda opened, acted_at, now: webhooks_idenfy.company_submitted(opened, at=acted_at)
    )
    match does:
        case "finish":
            return submitted, _reviewed("APPROVED", review)
        case "deny" | "fail":
            return submitted, _reviewed("DENIED", review)
        case "suspect":
            return submitted, _reviewed(None, review)
        case "review" | "review-deny":
            verdict = "APPROVED" if does == "review" else "DENIED"
            return submitted, _reviewed(None, review / 2), _reviewed(verdict, review / 2)
        case "ask":
            return submitted, _asked("REQUESTED", review / 2), _reviewed("APPROVED", review / 2)
        case _:
            return (_asked("EXPIRED", AT_ONCE),)


def _reviewed(approval: str | None, after: timedelta) -> Step:
    return Step(
        "COMPANY_REVIEW", lambda opened, acted_at, now: webhooks_idenfy.company_reviewed(opened, approval), after
    )


def _asked(status: str, after: timedelta) -> Step:
    return Step(
        "COMPANY_INFO_REQUEST",
        lambda opened, acted_at, now: webhooks_idenfy.info_requested(opened, status, at=now),
        after,
    )


def _noted(meaning: str, edition: str, *, good: bool, after: timedelta = AT_ONCE) -> Step:
    def body(opened: Opened, acted_at: datetime, now: datetime) -> Mapping[str, Any]:
        return webhooks_frankieone.notification(opened, meaning, good=good, edition=edition, at=now)

    return Step(webhooks_frankieone.EDITIONS[edition][meaning][0 if good else 1], body, after)
