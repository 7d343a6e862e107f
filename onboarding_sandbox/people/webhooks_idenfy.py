"""iDenfy's webhooks: of verifications, and of companies' forms. All people in them are invented.

Source: the provider's OpenAPI document of its webhooks, each with the fields that it calls required, and the page on
signing them.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from onboarding_sandbox.endpoints.idenfy_rules import iso
from onboarding_sandbox.endpoints.opened import Opened

PEOPLE = (
    ("VITA", "SAMPLE", "FEMALE", "1990-02-03"),
    ("JONAS", "EXAMPLE", "MALE", "1984-11-30"),
    ("MARIA", "INVENTED", "FEMALE", "2001-07-14"),
    ("OSKAR", "NOBODY", "MALE", "1969-05-09"),
)
SESSION = timedelta(minutes=4)  # from opening the link to the end


def headers(event: str, body: bytes, key: str) -> dict[str, str]:
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
        "fileUrls": {"FRONT": _file(opened, "FRONT"), "FACE": _file(opened, "FACE")} if seen else {},
        "additionalStepPdfUrls": {},
        "AML": [],
        "LID": [],
        "scanRef": opened.reference,
        "externalRef": opened.external_ref,
        "clientId": opened.client,
        "companyId": "",
        "beneficiaryId": "",
        "startTime": int((finished_at - SESSION).timestamp()),
        "finishTime": int(finished_at.timestamp()),
        "clientIp": "192.0.2.7" if seen else None,
        "clientIpCountry": "LT" if seen else None,
        "clientLocation": "Kaunas, Lithuania" if seen else None,
        "manualAddress": None,
        "manualAddressMatch": False,
        "registryCenterCheck": None,
        "questionnaireAnswers": None,
    }


def _file(opened: Opened, side: str) -> str:
    return f"https://files.sandbox.example/{opened.reference}/{side}.png?Signature=invented"


def _data(opened: Opened) -> dict[str, Any]:
    first, last, sex, born = PEOPLE[sum(opened.client.encode()) % len(PEOPLE)]
    empty = (
        "docPersonalCode birthPlace authority address docTemporaryAddress mothersMaidenName docBirthName "
        "driverLicenseCategory orgNationality orgBirthPlace orgAuthority orgAddress orgTemporaryAddress "
        "orgMothersMaidenName orgPatronymic orgBirthName duplicateFaces duplicateDocFaces additionalData"
    )
    return {
        **dict.fromkeys(empty.split()),
        "docFirstName": first,
        "docLastName": last,
        "docNumber": "X0000000",
        "docExpiry": "2034-01-31",
        "docDob": born,
        "docDateOfIssue": "2024-01-31",
        "docType": "ID_CARD",
        "docSex": sex,
        "docNationality": "LT",
        "docIssuingCountry": "LT",
        "manuallyDataChanged": False,
        "fullName": f"{first} {last}",
        "selectedCountry": "LT",
        "orgFirstName": first,
        "orgLastName": last,
        "ageEstimate": "OVER_25",
        "clientIpProxyRiskLevel": "LOW",
    }


def company_submitted(opened: Opened, *, at: datetime) -> dict[str, Any]:
    return {
        "id": _company(opened),
        "submissionTime": iso(at),
        "soleProprietor": False,
        "clientId": opened.client,
        "externalRef": opened.external_ref,
    }


def company_reviewed(opened: Opened, approval: str | None) -> dict[str, Any]:
    """The event of a review. Its fields contain no time."""
    return {
        "id": _company(opened),
        "companyName": "Paper Harbour UAB",
        "registrationNumber": "300000001",
        "approvalStatus": approval,
        "denyReason": "Documents are missing" if approval == "DENIED" else None,
        "statusChangedBy": None,
        "soleProprietor": False,
        "sanctionsStatusSetBy": None,
        "newsStatusSetBy": None,
        "amlCheck": {"overallStatus": "NO_FLAGS", "statusSetAt": None, "adverseMedia": [], "amlCheck": []},
        "companyCheck": None,
        "beneficiaries": [],
        "shareholderCheck": [],
        "negativeNewsCheck": [],
        "clientId": opened.client,
        "externalRef": opened.external_ref,
        "relatedClientScanRefs": [],
    }


def info_requested(opened: Opened, status: str, *, at: datetime) -> dict[str, Any]:
    """The event contains neither the client nor the caller's reference."""
    return {
        "companyId": _company(opened),
        "token": opened.token,
        "date": iso(at),
        "email": "vita.sample@example.com",
        "manager": None,
        "status": status,
    }


def _company(opened: Opened) -> str:
    if not opened.company_id:
        opened.company_id = secrets.token_hex(12)
    return opened.company_id
