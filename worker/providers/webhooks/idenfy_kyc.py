"""Reads iDenfy's webhooks about an identity verification. Facts: docs/reference/webhooks.md."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.core.lifecycle.session_updates import Key, Result, SessionUpdate
from worker.core.model.states import SessionState
from worker.providers.answers import BadAnswer
from worker.providers.webhooks.contract import (
    Delivery,
    Unreadable,
    json_content,
    matches,
    object_in,
    unix_time,
    upper_text,
)
from worker.providers.webhooks.idenfy import (
    EXPIRIES,
    GONE,
    REVIEWING,
    VERDICTS,
    SignedByIdenfy,
    event_name,
    nothing_new,
    unreadable,
)

LEGACY = "IDENTIFICATION"
AUTO, MANUAL = "IDENTIFICATION_AUTO_FINISHED", "IDENTIFICATION_MANUAL_FINISHED"
RESUBMITTED, EXPIRED = "IDENTIFICATION_RESUBMITTED", "IDENTIFICATION_EXPIRED"
CANCELLED = "IDENTIFICATION_CANCELLED"
# Both finished events carry the time at which the customer finished. The weight makes the manual one the later.
WEIGHTS = {EXPIRED: 0, LEGACY: 1, AUTO: 1, RESUBMITTED: 1, CANCELLED: 2, MANUAL: 3}


class IdenfyKycWebhooks(SignedByIdenfy):
    """One account's verifications. Raises AccountUnusable without a key."""

    def read(self, delivery: Delivery) -> SessionUpdate | Unreadable:
        try:
            content = json_content(delivery.body)
        except BadAnswer as error:
            return unreadable(error)
        event = event_name(delivery) or LEGACY  # older notifications send no name
        if event not in WEIGHTS:
            return nothing_new(event)
        if not content.get("scanRef") and not isinstance(content.get("status"), Mapping):
            # The event's name is not signed: a company's body, whose key may be the same, may come with this name.
            return replace(nothing_new(event), note="the event is not about an identification")
        update = SessionUpdate(
            event,
            match=_match(content),
            final=content.get("final") is True,
            happened_at=unix_time(content.get("finishTime")) or unix_time(content.get("startTime")),
            weight=WEIGHTS[event],
        )
        update = _effect(update, upper_text(object_in(content, "status"), "overall"))
        return replace(update, alert=update.alert and not _is_owner(content))


def _is_owner(content: Mapping[str, Any]) -> bool:
    """True if the person is an owner of a company, not the customer whom externalRef and clientId name."""
    return bool(content.get("beneficiaryId"))


def _match(content: Mapping[str, Any]) -> tuple[tuple[Key, str], ...]:
    if _is_owner(content):
        return matches(content, ("scanRef", Key.SCAN_REF))
    return matches(content, ("scanRef", Key.SCAN_REF), ("externalRef", Key.EXTERNAL_REF), ("clientId", Key.CLIENT_ID))


def _effect(update: SessionUpdate, overall: str) -> SessionUpdate:
    if update.event == CANCELLED:
        return replace(update, state=SessionState.FAILED, note="cancelled at the provider")
    if update.event == EXPIRED:
        # The customer may have sent enough for a decision, and no other event will come.
        state, result = VERDICTS.get(overall, (SessionState.EXPIRED, None))
        return replace(update, state=state, result=result, final=result is not None)
    if update.final:
        return _final_status(update, overall)
    if update.event == LEGACY and overall in EXPIRIES:
        return replace(update, state=SessionState.EXPIRED)
    return replace(update, state=SessionState.STARTED, result=Result.REVIEW)


def _final_status(update: SessionUpdate, overall: str) -> SessionUpdate:
    if overall in VERDICTS:
        state, result = VERDICTS[overall]
        return replace(update, state=state, result=result)
    if overall == REVIEWING:
        return replace(update, state=SessionState.STARTED, result=Result.REVIEW)
    if overall in EXPIRIES:
        return replace(update, state=SessionState.EXPIRED)
    if overall in GONE:
        return replace(update, state=SessionState.FAILED, gone=True, note="deleted at the provider")
    if overall == "ACTIVE":
        return replace(update, note="still open at the provider")
    return replace(update, note="final, with an unknown status", alert=True)
