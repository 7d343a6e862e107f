"""Answers that open a session and have one wrong value, for every provider."""

from typing import Any

from onboarding_sandbox.wire import Answer

LONG_AGO = "2020-01-01T00:00:00Z"
STRANGE = "https://phishing.example/verify?session=1"
# The wrong value, under each provider's name of the field.
WRONG: dict[str, dict[str, Any]] = {
    "past-expiry": {"expiration": LONG_AGO, "tokenExpiry": LONG_AGO, "urlExpiry": LONG_AGO, "expiryTime": -3600},
    "strange-link": {
        "redirectUrl": STRANGE,
        "sessionUrl": STRANGE,
        "url": STRANGE,
        "vendorParameters": {"tokenURL": STRANGE},
    },
    "wrong-token": {"authToken": 12345, "tokenString": {"value": "t"}, "token": ["t"], "url": ["t"]},
}


def spoilt(kind: str, answer: Answer) -> Answer:
    """The answer with the wrong value of this `kind`. A refusal stays as it is."""
    if not isinstance(answer.body, dict) or answer.status >= 300:
        return answer
    wrong = {name: value for name, value in WRONG[kind].items() if name in answer.body}
    return Answer(answer.status, {**answer.body, **wrong}, dict(answer.headers))
