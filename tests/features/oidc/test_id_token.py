"""ID tokens: one that is good, and all that are not."""

from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from onboarding_worker.features.dashboard.users import Person, Role
from onboarding_worker.features.oidc.id_token import NotProven, UnknownKey, proven
from onboarding_worker.features.oidc.section import Oidc
from tests.conftest import NOON
from tests.features.oidc.issuer import CLIENT, KEYS, none, public

ISSUER, NONCE = "https://login.example.com/", "a" * 64
NOW = int(NOON.timestamp())
OIDC = Oidc(
    issuer=ISSUER,
    client_id=CLIENT,
    base_url="https://onboard.example.com",
    roles={"operator": ["kyc-operators"], "service desk": ["kyc-desk"], "viewer": ["staff"]},
)
RIGHT = {
    "iss": ISSUER,
    "aud": CLIENT,
    "iat": NOW,
    "exp": NOW + 300,
    "nonce": NONCE,
    "preferred_username": "rita",
    "groups": ["staff", "kyc-operators"],
}


def claims_with(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (RIGHT | changes).items() if value is not None}


def signed(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, KEYS["one"], "RS256", headers={"kid": "one"})


def judged(token: str, keys: Any = None, oidc: Oidc = OIDC, **how: Any) -> Person:
    return proven(token, keys or [public("one")], oidc, nonce=NONCE, now=how.get("now", NOON))


CLAIMS = {
    "a nonce of another log-in": {"nonce": "f" * 64},
    "no nonce": {"nonce": None},
    "another audience": {"aud": "other"},
    "several audiences and no party": {"aud": [CLIENT, "other"]},
    "another party": {"aud": [CLIENT, "other"], "azp": "other"},
    "another issuer": {"iss": "https://login.example.com"},
    "expired": {"exp": 1},
    "exp as a text": {"exp": "9999999999"},
    "no exp": {"exp": None},
    "no iat": {"iat": None},
    "made long ago": {"iat": 1},
    "made before all numbers": {"iat": -(10**400)},
    "not valid yet": {"nbf": 9999999999},
    "no name": {"preferred_username": None},
    "a name that is none": {"preferred_username": "oidc:admin\n<b>"},
    "a name that reads as another person's": {"preferred_username": "r\u0456ta"},
    "a name of many letters": {"preferred_username": "a" * 65},
    "no role": {"groups": []},
    "a role that is part of another": {"groups": "kyc-operators-of-another-bank"},
    "groups that are no texts": {"groups": [{"operator": True}, 7, None]},
}


def test_a_token_that_says_something_else_proves_nothing(subtests: pytest.Subtests):
    for what, claims in CLAIMS.items():
        with subtests.test(what=what):
            with pytest.raises(NotProven) as refused:
                judged(signed(claims_with(claims)))
            assert "rita" not in str(refused.value)


TOKENS = {
    "alg none": none,
    "hmac, as if the public key were a secret": lambda claims: none(claims, "HS256") + "c2ln",
    "signed by another key": lambda claims: jwt.encode(claims, KEYS["other"], "RS256", headers={"kid": "one"}),
    "signed by a key of no name": lambda claims: jwt.encode(claims, KEYS["other"], "RS256", headers={"kid": "two"}),
    "crit": lambda claims: jwt.encode(claims, KEYS["one"], "RS256", headers={"kid": "one", "crit": ["b64"]}),
    "not a token": lambda _claims: "a.b",
    "huge": lambda _claims: "a" * 100_000 + ".b.c",
    "claims that are a list": lambda _claims: jwt.PyJWS().encode(b"[1]", KEYS["one"], "RS256", headers={"kid": "one"}),
    "letters of another script": lambda _claims: "é.é.é",
}


def test_a_token_that_the_issuers_keys_have_not_signed_proves_nothing(subtests: pytest.Subtests):
    for what, token in TOKENS.items():
        with subtests.test(what=what), pytest.raises(NotProven):
            judged(token(RIGHT))


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["staff", "kyc-operators", "kyc-desk"], Role.OPERATOR),
        (["kyc-desk", "staff"], Role.SERVICE_DESK),
        ("staff", Role.VIEWER),
    ],
)
def test_the_highest_role_of_a_persons_groups_counts(groups: Any, role: Role):
    assert judged(signed(claims_with({"groups": groups}))) == Person("rita", role)


@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["staff"]}}),
        ("https://example.com/roles", {"https://example.com/roles": ["staff"]}),
    ],
)
def test_a_role_may_be_inside_an_object_or_in_a_claim_with_dots(path: str, claims: dict[str, Any]):
    oidc = OIDC.model_copy(update={"role_claim": path})
    assert judged(signed(RIGHT | claims), oidc=oidc).role is Role.VIEWER
    with pytest.raises(NotProven):
        judged(signed(RIGHT), oidc=oidc)


def test_an_email_names_a_person_unless_the_issuer_says_that_it_is_not_verified():
    oidc = OIDC.model_copy(update={"name_claim": "email"})
    for said in ({}, {"email_verified": True}, {"email_verified": "true"}):
        assert judged(signed(RIGHT | {"email": "rita@example.com"} | said), oidc=oidc).name == "rita@example.com"
    for said in (False, "false", "False", "", None, 0, ["true"]):
        with pytest.raises(NotProven):
            judged(signed(RIGHT | {"email": "rita@example.com", "email_verified": said}), oidc=oidc)


def test_clocks_may_differ_by_a_minute_and_the_time_is_an_argument():
    token = signed(RIGHT)
    for seconds in (-59, 0, 299 + 59):
        assert judged(token, now=NOON + timedelta(seconds=seconds)).name == "rita"
    for seconds in (-62, 361, 3600):
        with pytest.raises(NotProven):
            judged(token, now=NOON + timedelta(seconds=seconds))


def test_several_audiences_are_good_if_the_token_was_made_for_this_client():
    assert judged(signed(RIGHT | {"aud": ["other", CLIENT], "azp": CLIENT})).name == "rita"


def test_keys_of_other_kinds_sign_too_and_keys_for_encryption_and_short_ones_do_not():
    curve = ec.generate_private_key(ec.SECP256R1())
    listed = ECAlgorithm.to_jwk(curve.public_key(), as_dict=True) | {"kid": "ec"}
    token = jwt.encode(RIGHT, curve, "ES256", headers={"kid": "ec"})
    assert judged(token, [public("one"), listed]).name == "rita"
    with pytest.raises(UnknownKey):
        judged(token)
    with pytest.raises(UnknownKey):
        judged(signed(RIGHT), [public("one", use="enc")])
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 -- it must be refused
    weak = RSAAlgorithm.to_jwk(short.public_key(), as_dict=True) | {"kid": "one"}
    payload = jwt.PyJWS().encode(b"{}", KEYS["one"], "RS256", headers={"kid": "one"})
    with pytest.raises(NotProven):
        judged(payload, [weak])


def test_without_a_name_each_key_of_the_kind_is_tried_and_odd_keys_stop_nothing():
    token = jwt.encode(RIGHT, KEYS["one"], "RS256")
    odd = [{"kty": "RSA"}, {"kty": "RSA", "n": "AQAB", "e": "é"}, {"kty": "oct", "k": "c2VjcmV0"}, {}]
    assert judged(token, [*odd, public("other"), public("one")]).name == "rita"
    with pytest.raises(NotProven):
        judged(token, [*odd, public("other")])
