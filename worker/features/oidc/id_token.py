"""Judges an ID token (OpenID Connect Core 1.0, 3.1.3.7): its signature, whom it is for, when, and whom it names. Pure.
PyJWT verifies the signature; the rest is decided here, with the time as an argument (docs/decisions/0005)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from jwt import PyJWK, PyJWS, PyJWTError

from onboarding_worker.adapters.bodies import BadAnswer, json_object
from onboarding_worker.features.dashboard.users import NAME, Person, Role
from onboarding_worker.features.oidc.section import Oidc

# Signatures by keys that the issuer publishes. Not `none`, and no HMAC: its key would be the client's secret.
ALGORITHMS: Mapping[str, str] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
PUBLIC = ("kty", "n", "e", "crv", "x", "y")  # the members of a key that are read
LONGEST = 16 * 1024  # characters
LEAST_BITS = 2048  # of an RSA key
LEEWAY = timedelta(minutes=1)  # for clocks that differ
# A token is made when the browser comes back: an older one was made for another log-in.
OLDEST = timedelta(minutes=10)
# Some issuers write `email_verified` as a text, also "false". Others never write it: what they name is believed.
VERIFIED = (True, "true")
_SIGNATURES = PyJWS()


class NotProven(Exception):
    """The token does not show who the person is. `args[0]` says why, and names no value."""


class UnknownKey(NotProven):
    """No key of these has the name that the token gives, or none of those that fit has signed it: the issuer may have a
    newer one. Not each issuer names its keys, and one may keep the name."""


def proven(token: str, keys: Sequence[Mapping[str, Any]], oidc: Oidc, *, nonce: str, now: datetime) -> Person:
    """The person whom the token names. `keys` are the issuer's, as JSON Web Keys. Raises NotProven."""
    payload = _payload(token, keys)
    try:
        claims = json_object(payload)
    except BadAnswer:
        raise NotProven("its claims are not a JSON object") from None
    if claims.get("iss") != oidc.issuer:
        raise NotProven("its issuer is another one")
    audience = claims.get("aud")
    audience = audience if isinstance(audience, list) else [audience]
    if oidc.client_id not in audience:
        raise NotProven("it is for another client")
    party = claims.get("azp")
    if (len(audience) > 1 or party is not None) and party != oidc.client_id:
        raise NotProven("it was made for another client (azp)")
    _check_times(claims, now)
    if claims.get("nonce") != nonce:
        raise NotProven("its nonce is not of this log-in")
    name = claims.get(oidc.name_claim)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise NotProven("its name_claim is missing, or is not up to 64 letters (a to z), digits and . _ @ + -")
    if oidc.name_claim == "email" and claims.get("email_verified", True) not in VERIFIED:
        raise NotProven("its email is not verified")
    values = _values(claims, oidc.role_claim)
    given = [role for role in Role if not values.isdisjoint(oidc.roles.get(role, ()))]
    if not given:
        raise NotProven("its role_claim gives no role")
    return Person(name, given[-1])  # the highest


def _payload(token: str, keys: Sequence[Mapping[str, Any]]) -> bytes:
    """What is signed, if a key of the issuer has signed it."""
    if len(token) > LONGEST or not token.isascii() or token.count(".") != 2:
        raise NotProven("it is not a JSON Web Token")
    try:
        head = _SIGNATURES.get_unverified_header(token)
    except PyJWTError:
        raise NotProven("it is not a JSON Web Token") from None
    algorithm, name = head.get("alg"), head.get("kid")
    kind = ALGORITHMS.get(algorithm) if isinstance(algorithm, str) else None
    if algorithm is None or kind is None or "crit" in head:
        raise NotProven("its algorithm is not one of those that are accepted")
    fit = [key for key in keys if key.get("kty") == kind and key.get("use", "sig") == "sig"]
    fit = [key for key in fit if key.get("alg", algorithm) == algorithm]
    if name is not None:
        fit = [key for key in fit if key.get("kid") == name]
    if not fit:
        raise UnknownKey("the issuer has no key of this name and kind")
    for key in fit:
        try:
            made = PyJWK({name: key[name] for name in PUBLIC if name in key}, algorithm)
            if getattr(made.key, "key_size", LEAST_BITS) < LEAST_BITS and kind == "RSA":
                continue
            payload: bytes = _SIGNATURES.decode_complete(token, made, algorithms=[algorithm])["payload"]
            return payload
        except (PyJWTError, ValueError, TypeError):  # an odd key, or another one
            continue
    raise UnknownKey("no key of the issuer verifies its signature")


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    seconds, leeway = now.timestamp(), LEEWAY.total_seconds()
    if seconds - leeway >= _time(claims, "exp"):
        raise NotProven("it has expired")
    made = _time(claims, "iat")
    if made > seconds + leeway or ("nbf" in claims and _time(claims, "nbf") > seconds + leeway):
        raise NotProven("it is not valid yet")
    if made < seconds - OLDEST.total_seconds():  # compared only: a number of 400 digits is no float
        raise NotProven("it is too old for this log-in")


def _time(claims: Mapping[str, Any], name: str) -> float:
    given = claims.get(name)
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise NotProven(f"its {name} is missing, or not a time")
    return given


def _values(claims: Mapping[str, Any], path: str) -> set[str]:
    """The texts at the claim of this name, or else inside objects, at each dot one level deeper."""
    found: Any = claims.get(path)
    if path not in claims:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
    listed = found if isinstance(found, list) else [found]
    return {one for one in listed if isinstance(one, str)}
