"""`onboard doctor --mail` asks a DNS server, here one of its own, and says what receivers of the mails read there."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from tests.desk.desk import Desk, Ended
from tests.features.doctor.test_command import findings
from tests.suite.of_features import needs

ZONE = {
    ("example.com.", "MX"): "10 mx.example.com.",
    # A long text comes in parts.
    ("example.com.", "TXT"): '"v=spf1 ip4:192.0.2.1 " "ip4:192.0.2.2 -all"',
    ("_dmarc.example.com.", "TXT"): '"v=DMARC1; p=none"',
}


@contextmanager
def serving(zone: dict[tuple[str, str], str], *, silent: str = "") -> Iterator[int]:
    """A DNS server on loopback that knows these names; it refuses to answer about `silent`. Yields its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                data, peer = sock.recvfrom(4096)
                if not data:
                    return
                query = dns.message.from_wire(data)
                (question,) = query.question
                name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
                answer = dns.message.make_response(query)
                answer.flags |= dns.flags.AA
                if name == silent:
                    answer.set_rcode(dns.rcode.SERVFAIL)
                elif (name, kind) in zone:
                    answer.answer.append(dns.rrset.from_text(name, 60, "IN", kind, zone[name, kind]))
                elif not any(known == name for known, _ in zone):
                    answer.set_rcode(dns.rcode.NXDOMAIN)
                sock.sendto(answer.to_wire(), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", sock.getsockname())
            thread.join()


def asked(desk: Desk, zone: dict[tuple[str, str], str]) -> Ended:
    with serving(zone) as port:
        return desk.onboard("doctor", "--mail", "--dns", f"127.0.0.1:{port}", "--json")


def test_what_the_dns_says_is_one_line_a_record(desk: Desk):
    ended = asked(desk, ZONE)
    by = findings(ended)
    assert {what: found[0][0] for what, found in by.items()} == {
        "mail MX": "ok",
        "mail SPF": "ok",
        "mail DKIM": "warning",
        "mail DMARC": "warning",
        "mail alignment": "ok",
    }
    assert by["mail SPF"][0][1] == "example.com: v=spf1 ip4:192.0.2.1 ip4:192.0.2.2 -all"
    assert ended.code == 0


def test_what_the_dns_says_does_not_draw_on_the_terminal(desk: Desk):
    drawing = r'"v=spf1 \027[2J\027]0;owned\007 \226\128\174 -all"'  # bytes, as zone files write them
    ended = asked(desk, ZONE | {("example.com.", "TXT"): drawing})
    assert findings(ended)["mail SPF"][0][1] == "example.com: v=spf1 [2J ]0;owned -all"


def test_a_missing_key_is_a_failure_and_a_server_that_fails_too(desk: Desk):
    with serving(ZONE, silent="_dmarc.example.com.") as port:
        ended = desk.onboard("doctor", "--mail", "--dkim", "k1", "--dns", f"127.0.0.1:{port}")
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert "failure  mail DKIM: k1._domainkey.example.com has no key" in lines
    assert any(
        "mail DMARC: the DNS does not say what _dmarc.example.com has (its servers fail" in line for line in lines
    )
    assert lines[-1] == "5 checks: 2 failures, 0 warnings"


@pytest.mark.parametrize(
    "given",
    [
        ["--dns", "127.0.0.1"],
        ["--dkim", "k1"],
        ["--mail", "--dkim", "k 1"],
        ["--mail", "--egress"],
        ["--mail", "--dns", "localhost"],
    ],
)
def test_what_does_not_go_together_is_refused(desk: Desk, given: list[str]):
    assert desk.onboard("doctor", *given).code == 2


@needs("bounces")
def test_the_domain_that_mails_come_back_to_is_the_one_whose_spf_counts(desk: Desk):
    desk.add('[brand.nova]\nname = "Nova"\nfrom = "Nova <hello@nova.example>"')
    desk.add('[bounces]\nreturn_path = "b+{token}@bounce.example.com"')
    by = findings(asked(desk, ZONE | {("bounce.example.com.", "MX"): "10 mx.example.com."}))
    assert [(grade, words.split()[0].rstrip(":")) for grade, words in (one[:2] for one in by["mail SPF"])] == [
        ("failure", "bounce.example.com")
    ]
    assert [words for _, words in (one[:2] for one in by["mail MX"])] == ["bounce.example.com: mx.example.com"]
    assert [grade for grade, *_ in by["mail alignment"]] == ["ok", "failure"]  # of example.com, of nova.example


def test_the_domain_of_each_brand_is_looked_at_once(desk: Desk):
    for name, of in (("nova", "nova.example"), ("luna", "nova.example"), ("plain", "")):
        sender = f'from = "{name} <hello@{of}>"\n' if of else ""
        desk.add(f'[brand.{name}]\nname = "{name}"\n{sender}')
    ended = asked(desk, ZONE | {("nova.example.", "MX"): "10 mx.example.com."})
    by = findings(ended)
    assert [(grade, words.split()[0].rstrip(":")) for grade, words in (one[:2] for one in by["mail SPF"])] == [
        ("ok", "example.com"),
        ("failure", "nova.example"),
    ]
    assert [len(found) for found in by.values()] == [2] * 5
    assert ended.code == 1
