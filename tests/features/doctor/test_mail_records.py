"""What a domain publishes about its mail: what is accepted, what is doubtful, and what makes receivers refuse."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from onboarding_worker.cli.feature_checks import Grade
from onboarding_worker.features.doctor.mail_records import DnsFailed, check_domain
from tests.suite import rsa_keys

HERE = "mail.example.com"


def public(key):
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


RSA = {bits: public(key) for bits, key in ((1024, rsa_keys.SHORT), (2048, rsa_keys.OURS))}
GOOD = {
    ("mail.example.com", "MX"): ["10 mx.example.com."],
    ("mail.example.com", "TXT"): ["google-site-verification=1", "v=spf1 include:spf.relay.example -all"],
    ("spf.relay.example", "TXT"): ["v=spf1 ip4:192.0.2.0/24 ~all"],
    ("k1._domainkey.mail.example.com", "TXT"): [f"v=DKIM1; k=rsa; p={RSA[2048]}"],
    ("_dmarc.mail.example.com", "TXT"): ["v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com"],
}


def found(records, *, sender=HERE, envelope=HERE, selector="k1"):
    """By check: grade, and what was found with what to do."""

    def ask(name, kind):
        answer = records.get((name, kind), [])
        if isinstance(answer, Exception):
            raise answer
        return answer

    findings = check_domain(ask, sender=sender, envelope=envelope, selector=selector)
    return {one.what.removeprefix("mail "): (one.grade, f"{one.found}. {one.action}") for one in findings}


def changed(name, *records, kind="TXT"):
    return GOOD | {(name, kind): list(records)}


def test_a_domain_that_publishes_all_is_well():
    assert {what: grade for what, (grade, _) in found(GOOD).items()} == dict.fromkeys(
        ("MX", "SPF", "DKIM", "DMARC", "alignment"), Grade.OK
    )


MANY = " ".join(f"a:h{number}.example" for number in range(10))
CASES = {
    "no MX": (changed(HERE, kind="MX"), "MX", Grade.WARNING, "has none"),
    "a null MX": (changed(HERE, "0 .", kind="MX"), "MX", Grade.FAILURE, "takes no mail"),
    "no SPF": (changed(HERE, "another"), "SPF", Grade.FAILURE, "has no record"),
    "v=spf10 is none": (changed(HERE, "v=spf10 -all"), "SPF", Grade.FAILURE, "has no record"),
    "two SPF": (changed(HERE, "v=spf1 -all", "v=spf1 ~all"), "SPF", Grade.FAILURE, "2 records"),
    "+all": (changed(HERE, "v=spf1 +all"), "SPF", Grade.FAILURE, "every server"),
    "all alone is +all": (changed(HERE, "v=spf1 a ALL"), "SPF", Grade.FAILURE, "every server"),
    "no all": (changed(HERE, "v=spf1 mx"), "SPF", Grade.WARNING, "does not say"),
    "?all": (changed(HERE, "v=spf1 mx ?all"), "SPF", Grade.WARNING, "says nothing"),
    "a redirect": (changed(HERE, "v=spf1 redirect=spf.relay.example"), "SPF", Grade.OK, "v=spf1"),
    "eleven look-ups": (changed(HERE, f"v=spf1 {MANY} mx -all"), "SPF", Grade.FAILURE, "11 names"),
    "a loop": (changed("spf.relay.example", "v=spf1 include:mail.example.com -all"), "SPF", Grade.OK, "v=spf1"),
    "many in an include": (changed("spf.relay.example", f"v=spf1 {MANY} -all"), "SPF", Grade.FAILURE, "11 names"),
    "no key": (changed(f"k1._domainkey.{HERE}"), "DKIM", Grade.FAILURE, "has no key"),
    "a revoked key": (changed(f"k1._domainkey.{HERE}", "v=DKIM1; p="), "DKIM", Grade.FAILURE, "revoked"),
    "a broken key": (changed(f"k1._domainkey.{HERE}", "v=DKIM1; p=MIIB"), "DKIM", Grade.FAILURE, "cannot be read"),
    "not RSA": (
        changed(f"k1._domainkey.{HERE}", f"p={public(ec.generate_private_key(ec.SECP256R1()))}"),
        "DKIM",
        Grade.FAILURE,
        "cannot be read",
    ),
    "a short key": (changed(f"k1._domainkey.{HERE}", f"p={RSA[1024]}"), "DKIM", Grade.WARNING, "1024 bits"),
    "a test key": (changed(f"k1._domainkey.{HERE}", f"t=s:y; p={RSA[2048]}"), "DKIM", Grade.WARNING, "t=y"),
    "Ed25519": (changed(f"k1._domainkey.{HERE}", "k=ed25519; p=MCowBQ=="), "DKIM", Grade.OK, "Ed25519"),
    "no DMARC": (changed(f"_dmarc.{HERE}"), "DMARC", Grade.FAILURE, "has no record"),
    "DMARC above": (
        changed(f"_dmarc.{HERE}") | {("_dmarc.example.com", "TXT"): ["v=DMARC1; p=reject; rua=mailto:x@example.com"]},
        "DMARC",
        Grade.OK,
        "p=reject",
    ),
    "a policy for subdomains": (
        changed(f"_dmarc.{HERE}") | {("_dmarc.example.com", "TXT"): ["v=DMARC1; p=reject; sp=none"]},
        "DMARC",
        Grade.WARNING,
        "p=none",
    ),
    "p=none": (changed(f"_dmarc.{HERE}", "v=DMARC1;p=none"), "DMARC", Grade.WARNING, "p=none"),
    "no policy": (changed(f"_dmarc.{HERE}", "v=DMARC1; rua=mailto:x@y.example"), "DMARC", Grade.FAILURE, "no policy"),
    "two DMARC": (changed(f"_dmarc.{HERE}", *["v=DMARC1; p=none"] * 2), "DMARC", Grade.FAILURE, "2 records"),
    "no reports": (changed(f"_dmarc.{HERE}", "v=DMARC1; p=reject"), "DMARC", Grade.WARNING, "no address gets reports"),
}


def test_each_record_is_judged(subtests):
    for case in CASES:
        with subtests.test(case=case):
            records, what, grade, words = CASES[case]
            graded, said = found(records)[what]
            assert (graded, words in said) == (grade, True), said


def test_without_a_selector_no_key_is_looked_up():
    assert found(GOOD, selector=None)["DKIM"][0] is Grade.WARNING


@pytest.mark.parametrize(
    ("envelope", "grade"),
    [("example.com", Grade.OK), ("b.mail.example.com", Grade.OK), ("relay.example", Grade.FAILURE)],
)
def test_from_and_envelope_must_be_of_one_domain(envelope, grade):
    assert found(GOOD, envelope=envelope)["alignment"][0] is grade


def test_a_dns_that_fails_is_a_failure_of_its_check_and_stops_no_other():
    judged = found(GOOD | {(f"_dmarc.{HERE}", "TXT"): DnsFailed("no answer within 5 s")})
    assert judged["DMARC"] == (Grade.FAILURE, "no answer within 5 s. check the DNS server, or name another one (--dns)")
    assert judged["SPF"][0] is Grade.OK
