"""Reads iDenfy's webhooks about a company's form. Each event has its own fields. Facts: docs/reference/webhooks.md."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from worker.core.lifecycle.session_updates import Key, Result, SessionUpdate
from worker.core.model.states import SessionState
from worker.providers.answers import BadAnswer, optional_text
from worker.providers.webhooks.contract import (
    LONGEST_REFERENCE,
    Delivery,
    Unreadable,
    iso_time,
    json_content,
    matches,
    upper_text,
)
from worker.providers.webhooks.idenfy import SignedByIdenfy, event_name, nothing_new, unreadable

# The company's id is `id` in submissions and in reviews, and `companyId` in the other events.
BY_FORM = (("externalRef", Key.EXTERNAL_REF), ("id", Key.COMPANY_ID), ("clientId", Key.CLIENT_ID))


class IdenfyKybWebhooks(SignedByIdenfy):
    """One account's forms. Raises AccountUnusable without a key."""

    def read(self, delivery: Delivery) -> SessionUpdate | Unreadable:
        try:
            content = json_content(delivery.body)
        except BadAnswer as error:
            return unreadable(error)
        event = event_name(delivery)
        reading = READINGS.get(event)
        return reading(SessionUpdate(event), content) if reading else nothing_new(event)


def _submitted(update: SessionUpdate, content: Mapping[str, Any]) -> SessionUpdate:
    return replace(
        update,
        match=matches(content, *BY_FORM),
        state=SessionState.STARTED,
        result=Result.REVIEW,
        happened_at=iso_time(content.get("submissionTime")),
        company_id=optional_text(content, "id", most=LONGEST_REFERENCE),
    )


def _reviewed(update: SessionUpdate, content: Mapping[str, Any]) -> SessionUpdate:
    """The event has no time, so the time of its receipt counts. The reason of a denial is free text and is not kept."""
    update = replace(
        update, match=matches(content, *BY_FORM), company_id=optional_text(content, "id", most=LONGEST_REFERENCE)
    )
    match upper_text(content, "approvalStatus"):
        case "APPROVED":
            return replace(update, state=SessionState.COMPLETED, result=Result.APPROVED, final=True)
        case "DENIED":
            return replace(update, state=SessionState.FAILED, result=Result.DENIED, final=True)
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
        happened_at=iso_time(content.get("date")),
        company_id=optional_text(content, "companyId", most=LONGEST_REFERENCE),
    )
    match upper_text(content, "status"):
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
    return replace(
        update,
        match=matches(content, ("companyId", Key.COMPANY_ID)),
        happened_at=iso_time(content.get("date")),
        note="the company was deleted at the provider",
    )


READINGS: Mapping[str, Callable[[SessionUpdate, Mapping[str, Any]], SessionUpdate]] = {
    "COMPANY_SUBMIT": _submitted,
    "COMPANY_REVIEW": _reviewed,
    "COMPANY_INFO_REQUEST": _info_requested,
    "COMPANY_EXPIRATION": _due_again,
    "COMPANY_DELETE": _deleted,
}
