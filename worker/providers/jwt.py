"""JSON Web Tokens with an RSA signature (RFC 7515, 7518, 7519), verified with the account's public keys.

Three algorithms and nothing else: not `none`, and no HMAC, whose "secret" would be the public key itself. PyJWT
verifies the signature. Its `decode` is not used: it reads the clock itself, its rules for JSON and times are looser,
and it refuses tokens that are good here (docs/decisions/0025-pyjwt-verifies-tokens.md).
"""

import base64
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from worker.http.messages import BadAnswer, json_object

ALGORITHMS: Mapping[str, RSAAlgorithm] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
}
LONGEST = 8192  # characters; a signature of 4,096 bits takes 683
LEAST_BITS = 2048
LEEWAY = timedelta(minutes=1)  # for clocks that differ
# The first part is a JSON object, and so are its first letters: `{`, then a quote or white space.
# The name of a host (in `Host`, and in what proxies add) and a version have three parts too.
FORM = re.compile(
    r"(?:[Bb][Ee][Aa][Rr][Ee][Rr]\s+)?(e[wy][A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII
)


def public_key(pem: str) -> rsa.RSAPublicKey:
    """The key in the PEM text. Raises ValueError, which shows nothing of it, for anything but a good RSA public key."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except Exception:  # cryptography raises of several kinds, some with the text in them
        raise ValueError("expected a public key in PEM form (-----BEGIN PUBLIC KEY-----)") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("expected an RSA key")
    if key.key_size < LEAST_BITS:
        raise ValueError(f"expected a key of {LEAST_BITS} bits at least")
    return key


def looks_like_one(value: str) -> bool:
    """Whether a header's value may be a token: three parts of base64url, the first of them of an object, after
    `Bearer` or alone."""
    return len(value) <= LONGEST and FORM.fullmatch(value.strip()) is not None


def refusal(token: str, keys: Iterable[rsa.RSAPublicKey], *, now: datetime) -> str:
    """Why the token is not good; "" where it is, by any of the keys. Never raises, and names no value.

    `now` is aware UTC. `exp` and `nbf` count where they are there.
    """
    parts = FORM.fullmatch(token.strip()) if len(token) <= LONGEST else None
    if parts is None:
        return "it is no token"
    try:
        head, claims = (json_object(_bytes(part)) for part in parts.group(1, 2))
        signed, given = f"{parts[1]}.{parts[2]}".encode(), _bytes(parts[3])
    except (BadAnswer, ValueError):
        return "it is no token"
    name = head.get("alg")
    algorithm = ALGORITHMS.get(name) if isinstance(name, str) else None
    if algorithm is None or "crit" in head:
        return "its algorithm is not one of RS256, RS384 and RS512"
    if not any(algorithm.verify(signed, key, given) for key in keys):
        return "its signature is of no key of the account"
    return _untimely(claims, now)


def _untimely(claims: Mapping[str, Any], now: datetime) -> str:
    """A time that is there and cannot be read is no reason to believe the token."""
    seconds, leeway = now.timestamp(), LEEWAY.total_seconds()
    for name, late in (("exp", True), ("nbf", False)):
        if name not in claims:
            continue
        given = claims[name]
        if isinstance(given, bool) or not isinstance(given, int | float):
            return f"its {name} is no time"
        if late and given <= seconds - leeway:
            return "it has expired"
        if not late and given > seconds + leeway:
            return "it is not valid yet"
    return ""


def _bytes(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
