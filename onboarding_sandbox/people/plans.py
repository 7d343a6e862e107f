"""The events that a provider sends about a customer, for each behaviour, and its webhooks of them. Pure. All people in
them are invented.

Sources: iDenfy's OpenAPI document of its webhooks, each with the fields that it calls required, and its page on signing
them; FrankieOne's pages on notifications, of both API families and in the three editions of their names. FrankieOne
does not sign bodies: the address contains a secret, or a header contains a token. The name of the header is not
documented, so it is `Authorization` here.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from onboarding_sandbox.endpoints.frankieone import ulid
from onboarding_sandbox.endpoints.idenfy_rules import iso
from onboarding_sandbox.options import NEVER
from onboarding_sandbox.wire import FRANKIEONE_V1, IDENFY_KYB, IDENFY_KYC, Opened

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
    if does in VERDICTS:
        return (_identified("AUTO_FINISHED", VERDICTS[does]),)
    if does in ("review", "ask", "review-deny"):
        verdict = "DENIED" if does == "review-deny" else "APPROVED"
        reviewing = _identified("AUTO_FINISHED", "REVIEWING", final=False)
        return reviewing, _identified("MANUAL_FINISHED", verdict, after=review)
    if does == "fail":
        return (_identified("CANCELLED", "ACTIVE", final=False),)
    return (_identified("EXPIRED", "EXPIRED"),)


def _identified(event: str, overall: str, *, final: bool = True, after: timedelta = AT_ONCE) -> Step:
    return Step(
        f"IDENTIFICATION_{event}",
        lambda opened, acted_at, now: identification(opened, overall, final=final, finished_at=acted_at),
        after,
        overall,
    )


# What follows after a form was submitted. It has neither suspicion nor cancelling: `suspect` stays under review, `fail`
# is denied.
FORMS: Mapping[str, tuple[str | None, ...]] = {
    "finish": ("APPROVED",),
    "deny": ("DENIED",),
    "fail": ("DENIED",),
    "suspect": (None,),
    "review": (None, "APPROVED"),
    "review-deny": (None, "DENIED"),
    "ask": ("REQUESTED", "APPROVED"),
}


def _form(does: str, review: timedelta) -> tuple[Step, ...]:
    if does not in FORMS:
        return (_judged("EXPIRED", AT_ONCE),)

    def submitted(opened: Opened, acted_at: datetime, _now: datetime) -> dict[str, Any]:
        who = {"clientId": opened.client, "externalRef": opened.external_ref}
        return {"id": opened.company_id, "submissionTime": iso(acted_at), "soleProprietor": False, **who}

    judged = (_judged(status, review / len(FORMS[does])) for status in FORMS[does])
    return Step("COMPANY_SUBMIT", submitted), *judged


def _judged(status: str | None, after: timedelta) -> Step:

    def asked(opened: Opened, _acted_at: datetime, now: datetime) -> dict[str, Any]:
        """It contains neither the client nor the caller's reference."""
        facts = {"companyId": opened.company_id, "token": opened.token, "date": iso(now), "status": status}
        return facts | {"email": "vita.sample@example.com", "manager": None}

    if status in ("REQUESTED", "EXPIRED"):
        return Step("COMPANY_INFO_REQUEST", asked, after)
    return Step("COMPANY_REVIEW", lambda opened, acted_at, now: company_reviewed(opened, status), after)


def _noted(meaning: str, edition: str, *, good: bool, after: timedelta = AT_ONCE) -> Step:
    return Step(
        EDITIONS[edition][meaning][0 if good else 1],
        lambda opened, acted_at, now: notification(opened, meaning, good=good, edition=edition, at=now),
        after,
    )


PEOPLE = (
    ("VITA", "SAMPLE", "FEMALE", "1990-02-03"),
    ("JONAS", "EXAMPLE", "MALE", "1984-11-30"),
    ("MARIA", "INVENTED", "FEMALE", "2001-07-14"),
    ("OSKAR", "NOBODY", "MALE", "1969-05-09"),
)
SESSION = timedelta(minutes=4)  # from opening the link to the end


def idenfy_headers(event: str, body: bytes, key: str) -> dict[str, str]:
    digest = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "Idenfy-Event-Type": event, "Idenfy-Signature": digest}


def encoded(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


def identification(opened: Opened, overall: str, *, final: bool, finished_at: datetime) -> dict[str, Any]:
    """A verification. The manual event has the times of the automatic event: those of the customer's session."""
    deny_reason = opened.deny_reason
    seen = overall in ("APPROVED", "DENIED", "SUSPECTED", "REVIEWING")
    good = overall in ("APPROVED", "SUSPECTED")
    of_face, of_document = "FACE" in deny_reason.split("_"), deny_reason.startswith(("DOC", "MRZ", "BARCODE"))
    face = "FACE_MATCH" if good else deny_reason if of_face and not of_document else "FACE_NOT_ANALYSED"
    document = "DOC_VALIDATED" if good or not of_document else deny_reason
    denied = [deny_reason] if overall == "DENIED" else []
    files = f"https://files.sandbox.example/{opened.reference}"
    return {
        "final": final,
        "platform": "MOBILE",
        "status": {
            "overall": overall,
            "fraudTags": ["DUPLICATE_FACE"] if overall == "SUSPECTED" else [],
            "mismatchTags": [] if of_face or of_document else denied,
            "suspicionReasons": ["DUPLICATE_FACE"] if overall == "SUSPECTED" else [],
            "denyReasons": denied,
            "autoFace": face if seen else None,
            "manualFace": face if final and seen else None,
            "autoDocument": document if seen else None,
            "manualDocument": document if final and seen else None,
            "additionalSteps": None,
        },
        "data": _data(opened) if seen else dict.fromkeys(_data(opened)),
        "fileUrls": {side: f"{files}/{side}.png?Signature=invented" for side in ("FRONT", "FACE")} if seen else {},
        "additionalStepPdfUrls": {},
        "AML": [],
        "LID": [],
        "scanRef": opened.reference,
        "externalRef": opened.external_ref,
        "clientId": opened.client,
        **dict.fromkeys(("companyId", "beneficiaryId"), ""),
        "startTime": int((finished_at - SESSION).timestamp()),
        "finishTime": int(finished_at.timestamp()),
        "clientIp": "192.0.2.7" if seen else None,
        "clientIpCountry": "LT" if seen else None,
        "clientLocation": "Kaunas, Lithuania" if seen else None,
        "manualAddressMatch": False,
        **dict.fromkeys(("manualAddress", "registryCenterCheck", "questionnaireAnswers")),
    }


def _data(opened: Opened) -> dict[str, Any]:
    first, last, sex, born = PEOPLE[sum(opened.client.encode()) % len(PEOPLE)]
    empty = (
        "docPersonalCode birthPlace authority address docTemporaryAddress mothersMaidenName docBirthName "
        "driverLicenseCategory orgNationality orgBirthPlace orgAuthority orgAddress orgTemporaryAddress "
        "orgMothersMaidenName orgPatronymic orgBirthName duplicateFaces duplicateDocFaces additionalData"
    )
    return {
        **dict.fromkeys(empty.split()),
        **dict.fromkeys(("docFirstName", "orgFirstName"), first),
        **dict.fromkeys(("docLastName", "orgLastName"), last),
        "docNumber": "X0000000",
        "docExpiry": "2034-01-31",
        "docDob": born,
        "docDateOfIssue": "2024-01-31",
        "docType": "ID_CARD",
        "docSex": sex,
        **dict.fromkeys(("docNationality", "docIssuingCountry", "selectedCountry"), "LT"),
        "manuallyDataChanged": False,
        "fullName": f"{first} {last}",
        "ageEstimate": "OVER_25",
        "clientIpProxyRiskLevel": "LOW",
    }


def company_reviewed(opened: Opened, approval: str | None) -> dict[str, Any]:
    """The event of a review. Its fields contain no time."""
    return {
        "id": opened.company_id,
        "companyName": "Paper Harbour UAB",
        "registrationNumber": "300000001",
        "approvalStatus": approval,
        "denyReason": "Documents are missing" if approval == "DENIED" else None,
        "soleProprietor": False,
        **dict.fromkeys(("statusChangedBy", "sanctionsStatusSetBy", "newsStatusSetBy", "companyCheck")),
        "amlCheck": {"overallStatus": "NO_FLAGS", "statusSetAt": None, "adverseMedia": [], "amlCheck": []},
        **{name: [] for name in ("beneficiaries", "shareholderCheck", "negativeNewsCheck", "relatedClientScanRefs")},
        "clientId": opened.client,
        "externalRef": opened.external_ref,
    }


# By meaning, in each edition: the name of a success, and of an error.
EDITIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "current": {"ocr": ("OCR_PROCESSED", "OCR_PROCESSED"), "results": ("RESULTS_RETRIEVED", "RESULTS_RETRIEVED")},
    "idv": {"ocr": ("IDVOCRProcessing", "IDVOCRProcessing"), "results": ("IDVResultsRetrieved", "IDVResultsRetrieved")},
    "v2.0.0": {"ocr": ("OCR_PROCESSED", "OCR_ERROR"), "results": ("RESULTS_RETRIEVED", "RESULTS_ERROR")},
}
VALID = timedelta(minutes=5)


def notification(opened: Opened, meaning: str, *, good: bool, edition: str, at: datetime) -> dict[str, Any]:
    """The body of a webhook. The two families have the same fields, and spell success differently."""
    first = opened.endpoint == FRANKIEONE_V1
    function = EDITIONS[edition][meaning][0 if good else 1]
    body: dict[str, Any] = {
        "entityId": opened.reference,
        "function": function,
        "functionResult": ("COMPLETED" if first else "SUCCESS") if good else "FAILED",
        "notificationType": "EVENT",
        "message": f"{function} for the entity",
        "requestId": ulid(at),
    }
    if first:
        return {**body, "version": "1.0.0", "entityCustomerReference": opened.client, "username": "sandbox"}
    return {**body, "version": "2.0.0", "entityType": "INDIVIDUAL"}


def private_key(pem: str) -> rsa.RSAPrivateKey:
    """Read a key. Raises ValueError for anything but an RSA private key in PEM."""
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (TypeError, ValueError):
        raise ValueError("expected an RSA private key in PEM form, without a password") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("expected an RSA private key")
    return key


def frankieone_token(key: rsa.RSAPrivateKey, request_id: str, *, at: datetime) -> str:
    """A JSON Web Token, RS256."""
    return jwt.encode({"iss": "sandbox", "requestId": request_id, "iat": at, "exp": at + VALID}, key, algorithm="RS256")
