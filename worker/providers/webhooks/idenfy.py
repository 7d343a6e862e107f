"""Reads iDenfy's webhooks: about an identity verification (KYC), and about a company's form (KYB). Each event of a form
has its own fields. Facts: docs/reference/webhooks.md.

The signature is lower-case hex HMAC-SHA256 over the raw body. It covers no time, so a copy of a genuine webhook stays
genuine for ever. So the same webhook is stored only once, and an older update does not change newer data.
"""

import hashlib
import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from onboarding_worker.adapters.bodies import BadAnswer, optional_text
from onboarding_worker.core.model.refusals import MOST, code_in_words, codes
from onboarding_worker.core.model.states import Result, SessionState
from onboarding_worker.providers.account import AccountUnusable
from onboarding_worker.providers.webhooks import contract
from onboarding_worker.providers.webhooks.contract import Key, Rank, SessionUpdate, matches

SIGNATURE = "idenfy-signature"
EVENT_TYPE = "idenfy-event-type"
LONGEST_NAME = 64
FORM = re.compile(r"[0-9a-f]{64}")

VERDICTS = {
    "APPROVED": (SessionState.COMPLETED, Result.APPROVED),
    "SUSPECTED": (SessionState.COMPLETED, Result.SUSPECTED),
    "DENIED": (SessionState.FAILED, Result.DENIED),
}
EXPIRIES = ("EXPIRED", "EXPIRED-DELETED")
GONE = ("DELETED", "ARCHIVED")
REVIEWING = "REVIEWING"
LEGACY = "IDENTIFICATION"
AUTO, MANUAL = "IDENTIFICATION_AUTO_FINISHED", "IDENTIFICATION_MANUAL_FINISHED"
RESUBMITTED, EXPIRED = "IDENTIFICATION_RESUBMITTED", "IDENTIFICATION_EXPIRED"
CANCELLED = "IDENTIFICATION_CANCELLED"
# Both finished events carry the time at which the customer finished. The weight makes the manual one the later.
WEIGHTS = {EXPIRED: 0, LEGACY: 1, AUTO: 1, RESUBMITTED: 1, CANCELLED: 2, MANUAL: 3}
# The fields that list codes. Of the face and of the document a person's word replaces the machine's.
LISTS = ("denyReasons", "suspicionReasons", "mismatchTags")
SEEN = (("manualDocument", "autoDocument"), ("manualFace", "autoFace"))
# The company's id is `id` in submissions and in reviews, and `companyId` in the other events.
BY_FORM = (("externalRef", Key.EXTERNAL_REF), ("id", Key.COMPANY_ID), ("clientId", Key.CLIENT_ID))


class SignedByIdenfy(ABC):
    """Webhooks that iDenfy has signed. Its dashboard has one key for each notification: any of ours may match. Raises
    AccountUnusable without a key: then anyone could report a customer as approved."""

    def __init__(self, account: contract.WebhookSettings) -> None:
        if not account.webhook_keys:
            raise AccountUnusable(account.name, "webhook_keys", "needed for webhooks: the key that is set at iDenfy")
        self._keys = account.webhook_keys

    def refuses_unread(self, delivery: contract.Delivery, *, now: datetime) -> str:
        given = delivery.headers.get(SIGNATURE, "")
        if not given:
            return "it is not signed"
        return "" if FORM.fullmatch(given) else "no key of the account verifies its signature"

    def refuses(self, delivery: contract.Delivery, *, now: datetime) -> str:
        if reason := self.refuses_unread(delivery, now=now):
            return reason
        given = delivery.headers[SIGNATURE]
        if len(delivery.body) > contract.LARGEST:
            return "it is too large"
        # Every key is tried, so that the duration does not reveal which one matched.
        verified = [contract.same(given, signature(key.reveal(), delivery.body)) for key in self._keys]
        return "" if any(verified) else "no key of the account verifies its signature"

    def read(self, delivery: contract.Delivery) -> SessionUpdate | contract.Unreadable:
        try:
            return self.update_in(contract.json_content(delivery.body), event_name(delivery))
        except BadAnswer as error:
            # Without a 2xx iDenfy would send it again and again, and it would still be unreadable.
            return contract.Unreadable(str(error))

    @abstractmethod
    def update_in(self, content: Mapping[str, Any], event: str) -> SessionUpdate:
        """The update in a body. `event`: its name, "" if there is none."""


def signature(key: str, body: bytes) -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def event_name(delivery: contract.Delivery) -> str:
    """The event's name as the current specification writes it; "" if there is none. The documentation's prose has "ID
    VERIFICATION AUTO FINISHED"; other pages have FINISH and CANCELED."""
    given = "_".join(delivery.headers.get(EVENT_TYPE, "")[: 2 * LONGEST_NAME].upper().split())
    name = "_".join(part for part in given.replace("-", "_").split("_") if part)
    if name.startswith("ID_VERIFICATION"):
        name = "IDENTIFICATION" + name.removeprefix("ID_VERIFICATION")
    if name.endswith("_FINISH"):
        name += "ED"
    if name.endswith("_CANCELED"):
        name = name.removesuffix("_CANCELED") + "_CANCELLED"
    return name if name.isascii() and name.replace("_", "").isalnum() and len(name) <= LONGEST_NAME else ""


def nothing_new(event: str) -> SessionUpdate:
    """The update for an event that is not this endpoint's, or does not concern the session."""
    return SessionUpdate(event or "unnamed", note="nothing that concerns a session")


def meaning(status: str) -> tuple[SessionState | None, Result | None]:
    """The session's state and result; (None, None) where the status says nothing new: it is open, or not known."""
    if status in VERDICTS:
        return VERDICTS[status]
    if status in EXPIRIES:
        return SessionState.EXPIRED, None
    if status in GONE:
        return SessionState.FAILED, None
    return (SessionState.STARTED, Result.REVIEW) if status == REVIEWING else (None, None)


class IdenfyKycWebhooks(SignedByIdenfy):
    """One account's verifications. Raises AccountUnusable without a key."""

    def update_in(self, content: Mapping[str, Any], event: str) -> SessionUpdate:
        event = event or LEGACY  # older notifications send no name
        if event not in WEIGHTS:
            return nothing_new(event)
        if not content.get("scanRef") and not isinstance(content.get("status"), Mapping):
            # The event's name is not signed: a company's body, whose key may be the same, may come with this name.
            return replace(nothing_new(event), note="the event is not about an identification")
        # An owner of a company is not the customer whom externalRef and clientId name.
        is_owner = bool(content.get("beneficiaryId"))
        of_customer = () if is_owner else (("externalRef", Key.EXTERNAL_REF), ("clientId", Key.CLIENT_ID))
        update = SessionUpdate(
            event,
            match=matches(content, ("scanRef", Key.SCAN_REF), *of_customer),
            final=content.get("final") is True,
            happened_at=contract.unix_time(content.get("finishTime")) or contract.unix_time(content.get("startTime")),
            weight=WEIGHTS[event],
        )
        given = content.get("status")
        status: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
        update = _effect(update, contract.upper_text(status, "overall"))
        if update.rank is Rank.FINAL:
            update = replace(update, reasons=_reasons(status))
        return replace(update, alert=update.alert and not is_owner)


def _reasons(status: Mapping[str, Any]) -> tuple[str, ...]:
    """Why the provider decided so: the reasons that it names first, and what it saw."""
    seen = [status.get(manual) or status.get(auto) for manual, auto in SEEN]
    named = [code for name in LISTS for code in _listed(status, name)]
    return codes([*named, *seen], _listed(status, "fraudTags"))


def _listed(status: Mapping[str, Any], name: str) -> list[Any]:
    found = status.get(name)
    return found[:MOST] if isinstance(found, list) else []


def _effect(update: SessionUpdate, overall: str) -> SessionUpdate:
    if update.event == CANCELLED:
        return replace(update, state=SessionState.FAILED, note="cancelled at the provider")
    if update.event == EXPIRED:
        # The customer may have sent enough for a decision, and no other event will come.
        state, result = VERDICTS.get(overall, (SessionState.EXPIRED, None))
        return replace(update, state=state, result=result, final=result is not None)
    if not update.final:
        if update.event == LEGACY and overall in EXPIRIES:
            return replace(update, state=SessionState.EXPIRED)
        return replace(update, state=SessionState.STARTED, result=Result.REVIEW)
    if overall == "ACTIVE":
        return replace(update, note="still open at the provider")
    final_state, result = meaning(overall)
    if final_state is None:
        return replace(update, note="final, with an unknown status", alert=True)
    gone = overall in GONE
    return replace(update, state=final_state, result=result, gone=gone, note="deleted at the provider" if gone else "")


class IdenfyKybWebhooks(SignedByIdenfy):
    """One account's forms. Raises AccountUnusable without a key."""

    def update_in(self, content: Mapping[str, Any], event: str) -> SessionUpdate:
        reading = READINGS.get(event)
        return reading(SessionUpdate(event), content) if reading else nothing_new(event)


def _of_form(update: SessionUpdate, content: Mapping[str, Any]) -> SessionUpdate:
    company_id = optional_text(content, "id", most=contract.LONGEST_REFERENCE)
    return replace(update, match=matches(content, *BY_FORM), company_id=company_id)


def _submitted(update: SessionUpdate, content: Mapping[str, Any]) -> SessionUpdate:
    at = contract.iso_time(content.get("submissionTime"))
    return replace(_of_form(update, content), state=SessionState.STARTED, result=Result.REVIEW, happened_at=at)


def _reviewed(update: SessionUpdate, content: Mapping[str, Any]) -> SessionUpdate:
    """The event has no time, so its receipt counts. The reason of a denial is free text: only a code is kept."""
    update = _of_form(update, content)
    match contract.upper_text(content, "approvalStatus"):
        case "APPROVED":
            return replace(update, state=SessionState.COMPLETED, result=Result.APPROVED, final=True)
        case "DENIED":
            why = code_in_words(optional_text(content, "denyReason", most=64))
            return replace(update, state=SessionState.FAILED, result=Result.DENIED, final=True, reasons=why)
        case "" if "approvalStatus" not in content:
            # The event's name is not signed: the body of another event, even of KYC, may come with this name.
            return replace(update, company_id="", note="a review without a status")
        case "" if content["approvalStatus"] is None:
            return replace(update, state=SessionState.STARTED, result=Result.REVIEW)
        case _:
            return replace(update, note="reviewed, with an unknown status", alert=True)


def _info_requested(update: SessionUpdate, content: Mapping[str, Any]) -> SessionUpdate:
    """The event names neither the customer nor our reference: only the form's token and the company."""
    update = replace(
        update,
        match=matches(content, ("token", Key.TOKEN), ("companyId", Key.COMPANY_ID)),
        happened_at=contract.iso_time(content.get("date")),
        company_id=optional_text(content, "companyId", most=contract.LONGEST_REFERENCE),
    )
    match contract.upper_text(content, "status"):
        case "REQUESTED":
            # The company must act again: without a result, it may be reminded.
            return replace(update, state=SessionState.STARTED, note="the provider asks for more")
        case "CANCELED" | "CANCELLED":
            return replace(update, state=SessionState.STARTED, note="the provider asks for nothing more")
        case "EXPIRED":
            return replace(update, state=SessionState.EXPIRED)
        case _:
            return replace(update, note="a request with an unknown status", alert=True)


def _due_again(update: SessionUpdate, content: Mapping[str, Any]) -> SessionUpdate:
    """The event is about a company that was approved long ago, not about a link."""
    note = "the company is due to be verified again"
    return replace(update, match=matches(content, ("id", Key.COMPANY_ID)), note=note, alert=True)


def _deleted(update: SessionUpdate, content: Mapping[str, Any]) -> SessionUpdate:
    at, note = contract.iso_time(content.get("date")), "the company was deleted at the provider"
    return replace(update, match=matches(content, ("companyId", Key.COMPANY_ID)), happened_at=at, note=note)


READINGS: Mapping[str, Callable[[SessionUpdate, Mapping[str, Any]], SessionUpdate]] = {
    "COMPANY_SUBMIT": _submitted,
    "COMPANY_REVIEW": _reviewed,
    "COMPANY_INFO_REQUEST": _info_requested,
    "COMPANY_EXPIRATION": _due_again,
    "COMPANY_DELETE": _deleted,
}
