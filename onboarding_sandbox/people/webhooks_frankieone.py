"""FrankieOne's webhooks, of both API families and in the three editions of their names.

Source: the provider's pages on notifications. Bodies are not signed: the address contains a secret, or a header
contains a token. The name of the header is not documented, so it is `Authorization` here.
"""

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from onboarding_sandbox.endpoints.frankieone import ulid
from onboarding_sandbox.endpoints.opened import Opened
from onboarding_sandbox.wire import FRANKIEONE_V1

# By meaning, in each edition: the name of a success, and of an error.
EDITIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "current": {"ocr": ("OCR_PROCESSED", "OCR_PROCESSED"), "results": ("RESULTS_RETRIEVED", "RESULTS_RETRIEVED")},
    "idv": {
        "ocr": ("IDVOCRProcessing", "IDVOCRProcessing"),
        "results": ("IDVResultsRetrieved", "IDVResultsRetrieved"),
    },
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


def token(key: rsa.RSAPrivateKey, request_id: str, *, at: datetime) -> str:
    """A JSON Web Token, RS256."""
    claims = {
        "iss": "sandbox",
        "requestId": request_id,
        "iat": int(at.timestamp()),
        "exp": int((at + VALID).timestamp()),
    }
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    return f"{signed}.{_base64(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
