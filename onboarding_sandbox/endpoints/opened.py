"""A session that the sandbox has opened, stored for the customer who will use it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from onboarding_sandbox.wire import (
    FRANKIEONE_HOSTED,
    FRANKIEONE_V1,
    FRANKIEONE_V2,
    IDENFY_KYB,
    IDENFY_KYC,
    Answer,
    Call,
)

SESSIONS = (IDENFY_KYC, IDENFY_KYB, FRANKIEONE_V1, FRANKIEONE_V2, FRANKIEONE_HOSTED)


@dataclass(slots=True, repr=False)
class Opened:
    """`reference`: the provider's scanRef or entityId, or the externalRef of a form. Times are UTC."""

    endpoint: str
    client: str
    reference: str
    token: str
    external_ref: str | None
    at: datetime
    expires_at: datetime
    company_id: str = ""  # set when the form is submitted
    does: str = ""
    state: str = "waiting"  # waiting, opened, or the name of the last event

    def facts(self) -> dict[str, Any]:
        return {
            "endpoint": self.endpoint,
            "client": self.client,
            "reference": self.reference,
            "token": self.token,
            "opened_at": self.at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
            "does": self.does,
            "state": self.state,
        }


def opened_by(endpoint: str, call: Call, answer: Answer) -> Opened | None:
    """The session in an endpoint's answer; None if the call has opened none."""
    body = answer.body
    if endpoint not in SESSIONS or not answer.processed or isinstance(body, str):
        return None
    client, external_ref = answer.client or "", body.get("externalRef")
    references = {
        IDENFY_KYC: body.get("scanRef"),
        IDENFY_KYB: external_ref or client,
        FRANKIEONE_V2: call.path.get("entityId"),
        FRANKIEONE_V1: answer.reference,
        FRANKIEONE_HOSTED: body.get("entityId"),
    }
    ends = body.get("expiration") or body.get("tokenExpiry") or body.get("urlExpiry")
    if ends is not None:
        expires_at = datetime.fromisoformat(ends).astimezone(UTC)
    else:
        expires_at = call.now + timedelta(seconds=body["expiryTime"])
    return Opened(endpoint, client, str(references[endpoint]), answer.token or "", external_ref, call.now, expires_at)
