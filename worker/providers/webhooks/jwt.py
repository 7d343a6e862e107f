"""JSON Web Tokens with an RSA signature (RFC 7515, 7518, 7519), verified with the account's public keys.

Only three algorithms are accepted: not `none`, and no HMAC, whose "secret" would be the public key itself. PyJWT
verifies the signature. Its `decode` is not used: it reads the clock itself, its rules for JSON and times are looser,
and it refuses tokens that are good for us (docs/decisions/0005-dependencies.md).
"""

import base64
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from worker.providers.bodies import BadAnswer, json_object

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt.algorithms import RSAAlgorithm

LONGEST = 8192  # characters; a signature of 4,096 bits takes 683
LEAST_BITS = 2048
LEEWAY = timedelta(minutes=1)  # for clocks that differ
# The first part is a JSON object: it starts with `{`, then a quote or white space. Checking that is needed because a
# host name (in `Host` and in headers of proxies) and a version have three parts too.
FORM = re.compile(
    r"(?:[Bb][Ee][Aa][Rr][Ee][Rr]\s+)?(e[wy][A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII
)


# PyJWT and what it needs of cryptography are imported in the two functions that use them: each process has the adapters
# of its accounts, and few read tokens.


@cache
def _algorithms() -> "Mapping[str, RSAAlgorithm]":
    from jwt.algorithms import RSAAlgorithm

    hashes = {"RS256": RSAAlgorithm.SHA256, "RS384": RSAAlgorithm.SHA384, "RS512": RSAAlgorithm.SHA512}
    return {name: RSAAlgorithm(hash_) for name, hash_ in hashes.items()}


def public_key(pem: str) -> "rsa.RSAPublicKey":
    """The key in the PEM text. Raises ValueError if it is not a good RSA public key; the error shows no part of it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        key = serialization.load_pem_public_key(pem.encode())
    except Exception:  # cryptography raises several exceptions, some with the PEM text in them
        raise ValueError("expected a public key in PEM form (-----BEGIN PUBLIC KEY-----)") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("expected an RSA key")
    if key.key_size < LEAST_BITS:
        raise ValueError(f"expected a key of at least {LEAST_BITS} bits")
    return key


def may_be_token(value: str) -> bool:
    """True if a header's value may be a token: three parts of base64url, the first of them a JSON object, with or
    without `Bearer` before it."""
    return len(value) <= LONGEST and FORM.fullmatch(value.strip()) is not None


def refusal(
    token: str,
    keys: "Iterable[rsa.RSAPublicKey]",
    *,
    now: datetime,
    audience: str = "",
    longest_life: timedelta | None = None,
) -> str:
    """Why the token is refused; "" if any of the keys verifies it, and it says what is wanted. Never raises, and names
    no value.

    `now` is aware UTC. `exp` and `nbf` are checked if they are there. An empty `audience`: any, or none.
    `longest_life`: how far ahead its `exp` may be; a token without `exp` would be good for ever. None: it may.
    """
    parts = FORM.fullmatch(token.strip()) if len(token) <= LONGEST else None
    if parts is None:
        return "it is not a JSON Web Token"
    try:
        head, claims = (json_object(_bytes(part)) for part in parts.group(1, 2))
        signed, given = f"{parts[1]}.{parts[2]}".encode(), _bytes(parts[3])
    except (BadAnswer, ValueError):
        return "it is not a JSON Web Token"
    name = head.get("alg")
    algorithm = _algorithms().get(name) if isinstance(name, str) else None
    if algorithm is None or "crit" in head:
        return "its algorithm is not one of RS256, RS384 and RS512"
    if not any(algorithm.verify(signed, key, given) for key in keys):
        return "no key of the account verifies its signature"
    return _untimely(claims, now) or _lacking(claims, audience, longest_life, now)


def _untimely(claims: Mapping[str, Any], now: datetime) -> str:
    """Why `exp` or `nbf` refuses the token; "" if neither does. A time that is not readable refuses it too."""
    seconds, leeway = now.timestamp(), LEEWAY.total_seconds()
    for name, late in (("exp", True), ("nbf", False)):
        if name not in claims:
            continue
        given = claims[name]
        if isinstance(given, bool) or not isinstance(given, int | float):
            return f"its {name} is not a time"
        if late and given <= seconds - leeway:
            return "it has expired"
        if not late and given > seconds + leeway:
            return "it is not valid yet"
    return ""


def _lacking(claims: Mapping[str, Any], audience: str, longest_life: timedelta | None, now: datetime) -> str:
    """Why a token that is signed and in time is not the wanted one; "" if it is."""
    if longest_life is not None:
        if "exp" not in claims:
            return "it has no exp, so it would be good for ever"
        if claims["exp"] > (now + longest_life).timestamp():
            return "it is good for too long"
    given = claims.get("aud")
    if audience and audience not in (given if isinstance(given, list) else [given]):
        return "its audience is not jwt_audience"
    return ""


def _bytes(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
