"""Tokens that JWT libraries disagree on: the accepted ones, and the reasons for refusing the others.

FrankieOne's header and claims are not documented. So a token that its key signed is refused only for what is written
in `jwt`, and not because of a claim or a header field that the worker does not read.
"""

import hashlib
import hmac
from datetime import timedelta

from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding_worker.providers.webhooks import frankieone as jwt
from onboarding_worker.providers.webhooks.contract import Delivery
from tests.providers.webhooks.accounts import NOW, frankie, part, pem, token
from tests.suite.cases import differing
from tests.suite.rsa_keys import ANOTHER as OTHER
from tests.suite.rsa_keys import OURS as PRIVATE

KEYS = [PRIVATE.public_key()]
READER = frankie(secret=None, jwt_key=pem(PRIVATE))
SECONDS = int(NOW.timestamp())
RS256 = {"alg": "RS256"}
NO_TOKEN = "it is not a JSON Web Token"
NO_ALGORITHM = "its algorithm is not one of RS256, RS384 and RS512"
NO_KEY = "no key of the account verifies its signature"
REASONS = {
    NO_TOKEN,
    NO_ALGORITHM,
    NO_KEY,
    "it has expired",
    "it is not valid yet",
    "its exp is not a time",
    "its nbf is not a time",
}


def taken(value: str) -> bool:
    """Whether the reader of an account takes a webhook with this token in a header."""
    return READER.refuses(Delivery(b"{}", {"authorization": value}), now=NOW) == ""


def refusal(value: str, keys=KEYS) -> str:
    return jwt.token_refusal(value, keys, now=NOW)


def public_key_forms() -> dict[str, bytes]:
    public, encoding, form = PRIVATE.public_key(), serialization.Encoding, serialization.PublicFormat
    return {
        "PEM": public.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo),
        "PEM without its last line end": public.public_bytes(encoding.PEM, form.SubjectPublicKeyInfo).rstrip(),
        "DER": public.public_bytes(encoding.DER, form.SubjectPublicKeyInfo),
        "PKCS1": public.public_bytes(encoding.PEM, form.PKCS1),
        "ssh": public.public_bytes(encoding.OpenSSH, form.OpenSSH),
        "nothing": b"",
    }


TOO_LONG = "it is good for too long"
HEAD, CLAIMS, SIGNATURE = token().split(".")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# 2,048 bits are 341 characters and two bits of the last one, whose other bits are zero.
SPARE_BITS = f"{HEAD}.{CLAIMS}.{SIGNATURE[:-1]}{LETTERS[LETTERS.index(SIGNATURE[-1]) + 1]}"
GOOD = {
    "a key id that is a number": token({"alg": "RS256", "kid": 7}),
    "a key id that is nothing": token({"alg": "RS256", "kid": None}),
    "a type of its own": token({"alg": "RS256", "typ": ["at+jwt"]}),
    "b64 that nothing makes critical": token({"alg": "RS256", "b64": False}),
    "an audience that is not ours": token(claims={"aud": "https://hooks.example.com"}),
    "an issuer that is a number": token(claims={"iss": 1}),
    "a subject and an id that are numbers": token(claims={"sub": 1, "jti": 2}),
    "issued later than now": token(claims={"iat": SECONDS + 9999}),
    "issued at no time": token(claims={"iat": "yesterday"}),
    "a fraction of a second before its end": token(claims={"exp": SECONDS - 59.5}),
    "an end that no clock reaches": token(claims={"exp": 10**400}),
    "an algorithm written twice, good the second time": token(b'{"alg": "none", "alg": "RS256"}'),
    "a byte order mark": token(RS256, b'\xef\xbb\xbf{"exp":9e12}'),
    "bits that its last letter does not need": SPARE_BITS,
    "white space around it": f" \t{token()} ",
    "bearer in small letters": f"bearer  {token()}",
}


def test_a_token_that_the_key_signed_is_good_with_any_other_header():
    assert [(what, got) for what, value in GOOD.items() if (got := refusal(value)) != ""] == []


BAD = {
    "nothing": ("", NO_TOKEN),
    "text": ("Bearer of bad news", NO_TOKEN),
    "odd base64": ("a.a.a", NO_TOKEN),
    "half a pair alone": ("\ud800.\ud800.\ud800", NO_TOKEN),
    "two parts": (f"{HEAD}.{CLAIMS}", NO_TOKEN),
    "five parts": (f"{token()}.a.b", NO_TOKEN),
    "no JSON": (f"{part(b'x')}.{part(b'y')}.{part(b'z')}", NO_TOKEN),
    "no object": (f"{part([])}.{part({})}.{part(b'z')}", NO_TOKEN),
    "half JSON": (f"{part(b'{{')}.{part({})}.{part(b'z')}", NO_TOKEN),
    "another key": (token(key=OTHER), NO_KEY),
    "changed claims": (f"{HEAD}.{part({'exp': 9e9})}.{SIGNATURE}", NO_KEY),
    "another algorithm": (token({"alg": "PS256"}), NO_ALGORITHM),
    "no word of its algorithm": (token({"typ": "JWT"}), NO_ALGORITHM),
    "an algorithm that is a list": (token({"alg": ["RS256"]}), NO_ALGORITHM),
    "no algorithm and no signature": (f"{part({'alg': 'none'})}.{CLAIMS}.", NO_TOKEN),
    "no algorithm, signed": (token({"alg": "none"}), NO_ALGORITHM),
    "no algorithm, in other letters": (token({"alg": "nOnE"}), NO_ALGORITHM),
    "an empty algorithm": (token({"alg": ""}), NO_ALGORITHM),
    "an algorithm that is null": (token({"alg": None}), NO_ALGORITHM),
    "an algorithm that is an object": (token({"alg": {"RS256": 1}}), NO_ALGORITHM),
    "small letters": (token({"alg": "rs256"}), NO_ALGORITHM),
    "a space after it": (token({"alg": "RS256 "}), NO_ALGORITHM),
    "half a pair as algorithm": (token({"alg": "\ud800"}), NO_TOKEN),
    "an algorithm written twice, bad the second time": (token(b'{"alg": "RS256", "alg": "none"}'), NO_ALGORITHM),
    "an extension that libraries know": (token({"alg": "RS256", "crit": ["b64"], "b64": True}), NO_ALGORITHM),
    "an empty list of extensions": (token({"alg": "RS256", "crit": []}), NO_ALGORITHM),
    "extensions that are null": (token({"alg": "RS256", "crit": None}), NO_ALGORITHM),
    "its own key": (token({"alg": "RS256", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}}, key=OTHER), NO_KEY),
    "the address of its key": (token({"alg": "RS256", "jku": "https://keys.example.com"}, key=OTHER), NO_KEY),
    "the hash of another algorithm": (token({"alg": "RS384"}), NO_KEY),
    "no bytes in its signature that count": (f"{HEAD}.{CLAIMS}.AA", NO_KEY),
    "a signature that is longer": (f"{HEAD}.{CLAIMS}.{part(b'x' * 1024)}", NO_KEY),
    "UTF-16": (token('{"alg": "RS256"}'.encode("utf-16-le")), NO_TOKEN),
    "no UTF-8": (token(b'{"alg": "RS256", "kid": "\xff"}'), NO_TOKEN),
    "NaN in its header": (token(b'{"alg": "RS256", "x": NaN}'), NO_TOKEN),
    "NaN in its claims": (token(claims=b'{"exp": NaN}'), NO_TOKEN),
    "a number with too many digits": (token(claims=b'{"exp": ' + b"9" * 5000 + b"}"), NO_TOKEN),
    "claims that are a list": (token(claims=[["exp", 9e9]]), NO_TOKEN),
    "claims nested without end": (token(claims=b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}"), NO_TOKEN),
    "padding": (".".join(part + "=" * (-len(part) % 4) for part in (HEAD, CLAIMS, SIGNATURE)), NO_TOKEN),
    "padding after its signature": (f"{token()}==", NO_TOKEN),
    "the other alphabet of base64": (f"{HEAD}.{CLAIMS}.{'+/' * 171}", NO_TOKEN),
    "one letter too many": (f"{HEAD}.{CLAIMS}.{'A' * 341}", NO_TOKEN),
    "a line end within": (f"{HEAD}.{CLAIMS}\n.{SIGNATURE}", NO_TOKEN),
    "half a pair after it": (token() + "\ud800", NO_TOKEN),
    "half a pair within": (f"{HEAD}\udfff.{CLAIMS}.{SIGNATURE}", NO_TOKEN),
    "digits of another script": (f"{HEAD}.{CLAIMS}.\u0661{SIGNATURE[1:]}", NO_TOKEN),
    "NUL": (f"{token()}\0", NO_TOKEN),
    "huge": (token(claims={"a": "a" * 1_000_000}), NO_TOKEN),
    "letters without end": ("e" + "y" * 5_000_000, NO_TOKEN),
    "an end that is a text": (token(claims={"exp": str(int(SECONDS) + 9999)}), "its exp is not a time"),
    "an end that is true": (token(claims={"exp": True}), "its exp is not a time"),
    "an end that is null": (token(claims={"exp": None}), "its exp is not a time"),
    "an end that is an object": (token(claims={"exp": {}}), "its exp is not a time"),
    "a start that is null": (token(claims={"nbf": None}), "its nbf is not a time"),
    "a start that is true": (token(claims={"nbf": True}), "its nbf is not a time"),
    "a start that is a list": (token(claims={"nbf": [0]}), "its nbf is not a time"),
    "an end written twice, past the second time": (token(claims=b'{"exp": 9e12, "exp": 0}'), "it has expired"),
    "a fraction of a second after its end": (token(claims={"exp": SECONDS - 60.5}), "it has expired"),
    "a fraction of a second before its start": (token(claims={"nbf": SECONDS + 60.5}), "it is not valid yet"),
    "a start that no clock reaches": (token(claims={"nbf": 10**400}), "it is not valid yet"),
}


def test_each_other_token_is_refused_for_its_reason():
    assert [(what, got) for what, (value, reason) in BAD.items() if (got := refusal(value)) != reason] == []
    assert [what for what, (value, _) in BAD.items() if taken(value)] == []


def test_the_public_key_in_no_form_is_a_secret(subtests):
    for name in ["HS256", "HS384", "HS512", "RS256"]:
        for what, secret in public_key_forms().items():
            with subtests.test(what=what, name=name):
                signed = f"{part({'alg': name})}.{part({})}"
                digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(name, hashlib.sha256)
                made = f"{signed}.{part(hmac.new(secret, signed.encode(), digest).digest())}"

                assert refusal(made) == (NO_KEY if name == "RS256" else NO_ALGORITHM)
                assert not taken(made)


def test_without_a_key_no_token_is_good():
    assert refusal(token(), keys=[]) == NO_KEY


def test_the_longest_token_is_good_and_one_character_more_is_not():
    room = jwt.LONGEST - len(token(claims={"a": ""}))
    longest = next(
        made for size in range(room // 4 * 3 + 3, 0, -1) if len(made := token(claims={"a": "a" * size})) <= jwt.LONGEST
    )
    filled = longest + " " * (jwt.LONGEST - len(longest))

    assert (len(filled), jwt.may_be_token(filled), refusal(filled)) == (jwt.LONGEST, True, "")
    assert (jwt.may_be_token(filled + " "), refusal(filled + " ")) == (False, NO_TOKEN)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
HEADS = st.dictionaries(
    st.sampled_from(["alg", "kid", "crit", "b64", "typ", "cty", "zip", "jwk", "x5c", "enc"]),
    JSON | st.sampled_from(["RS256", "RS384", "none", "HS256", "DEF", "private-value"]),
)
NAMES = st.sampled_from(["exp", "nbf", "iat", "aud", "iss", "sub", "jti", "private-value"])


@settings(max_examples=150, deadline=None)
@given(HEADS, st.dictionaries(NAMES, JSON), st.booleans())
def test_whatever_is_signed_ends_in_one_of_the_reasons_and_names_no_value(head, claims, ours):
    reason = refusal(token({**RS256, **head}, claims, key=PRIVATE if ours else OTHER))

    assert reason in REASONS | ({""} if ours else set())
    assert "private-value" not in reason


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_changed_token_is_good(data):
    good = token(claims={"exp": int(SECONDS) + 60})
    where = data.draw(st.integers(0, len(good) - 2))  # the last character has bits outside the signature
    letter = data.draw(st.characters().filter(lambda letter: letter != good[where]))
    changed = good[:where] + letter + good[where + 1 :]

    assert refusal(changed) in REASONS


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=40).map(part) | st.text(st.characters(exclude_categories=[]), max_size=20)))
def test_whatever_is_sent_is_refused_and_raises_nothing(parts):
    assert refusal(".".join(parts)) in REASONS
    assert not taken(".".join(parts))


DAY = timedelta(days=1)
WANTED = {
    "no exp": ({}, dict(longest_life=DAY), "it has no exp, so it would be good for ever"),
    "an exp in time": ({"exp": SECONDS + 86_400}, dict(longest_life=DAY), ""),
    "an exp too far": ({"exp": SECONDS + 86_401}, dict(longest_life=DAY), TOO_LONG),
    "an exp beyond all clocks": ({"exp": 10**400}, dict(longest_life=DAY), TOO_LONG),
    "no exp, which may be": ({}, dict(), ""),
    "the audience": ({"aud": "us"}, dict(audience="us"), ""),
    "one of the audiences": ({"aud": ["them", "us"]}, dict(audience="us"), ""),
    "another audience": ({"aud": "us all"}, dict(audience="us"), "its audience is not jwt_audience"),
    "audiences in an object": ({"aud": {"us": 1}}, dict(audience="us"), "its audience is not jwt_audience"),
    "no audience": ({}, dict(audience="us"), "its audience is not jwt_audience"),
}


def test_a_token_must_say_what_the_account_wants():
    of = lambda claims, wanted: jwt.token_refusal(token(claims=claims), KEYS, now=NOW, **wanted)  # noqa: E731
    assert differing(WANTED.values(), of) == []
