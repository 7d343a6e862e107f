"""Refused keys and signatures: counted and logged by the machine that they came from, which is slowed."""

import ipaddress
import logging

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.web import strangers
from onboarding_worker.web.middlewares import UNKNOWN, peer_of
from onboarding_worker.web.strangers import FORGET_SECONDS, FREE, LONGEST_DELAY, Standing, Strangers, Who, delay_of
from tests.web.site import KEYS, SECOND

TRUSTED = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "fd00::/8")]


def test_a_proxy_is_believed_if_it_is_trusted(subtests):
    for remote, forwarded, peer in [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.9"], "203.0.113.7"),  # whoever it is, it is no proxy of ours
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.9, 203.0.113.7"], "203.0.113.7"),  # only the last is the proxy's own word
        ("10.0.0.1", ["198.51.100.9", "203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, nonsense"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["[2001:db8:1:2:3::4]"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["203.0.113.7:50000, [fd00::2]:443"], "203.0.113.7"),  # as some balancers write it
        ("10.0.0.1", ["[2001:db8:1:2:3::4]:50000"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["203.0.113.7, [fd00::2]x"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7, 10.0.0.2:port"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7, " + ", ".join(["10.0.0.2"] * 800)], "10.0.0.2"),  # no chain is that long
        ("fe80::1%eth0", [], "fe80::/64"),
        (None, [], UNKNOWN),
    ]:
        with subtests.test(remote=remote, forwarded=forwarded, peer=peer):
            assert peer_of(remote, forwarded, TRUSTED) == peer


@given(st.lists(st.text()))
def test_a_peer_is_never_text_of_the_request(forwarded):
    ipaddress.ip_network(peer_of("10.0.0.1", forwarded, TRUSTED))


def test_refusals_are_logged_once_a_minute_with_the_addresses(caplog):
    counted = Strangers(logging.getLogger("refused"))
    with caplog.at_level(logging.WARNING):
        for second in range(0, 120, 2):
            counted.note(f"192.0.2.{second % 8}", f"kyc: why {second % 4}", second)
        counted.write(120)
        counted.write(180)
    first, second, third = [record.getMessage() for record in caplog.records]
    assert first == "1 refused (1 from 192.0.2.0); the last for kyc: why 0"
    assert second.startswith("30 refused (8 from ")
    assert second.endswith("; the last for kyc: why 0")
    assert third.startswith("29 refused (")


def test_a_machine_that_goes_on_is_slowed_and_others_are_not():
    standing = Standing()
    one, other = (Who(f"192.0.2.{number}", "192.0.2.0/24") for number in (1, 2))
    delays = [delay_of(standing.refused(one, 0.0)) for _ in range(FREE + 20)]
    assert (delays[FREE - 1], delays[FREE], delays[FREE + 1], delays[-1]) == (0.0, 0.25, 0.5, LONGEST_DELAY)
    assert delay_of(standing.refused(other, 0.0)) == 0.0
    assert delay_of(standing.refused(one, FORGET_SECONDS + 1)) == 0.0


async def test_a_wrong_key_is_answered_later_each_time_and_a_right_one_at_once(start, sqlite_url, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    site = await start(sqlite_url, keys=KEYS + '[web]\ntrusted_proxies = ["127.0.0.1"]')
    monkeypatch.setattr(strangers, "wait", sleep)
    for _ in range(FREE + 2):
        assert (await site.post(key="wrong", X_Forwarded_For="203.0.113.7")).problem(401)
    await site.post(key="wrong", X_Forwarded_For="203.0.113.8")
    assert (await site.post(key=SECOND, X_Forwarded_For="203.0.113.7")).status == 202
    assert slept == [0.25, 0.5]


async def test_a_stranger_cannot_name_another_address_and_its_key_is_not_logged(start, sqlite_url, monkeypatch, caplog):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    site = await start(sqlite_url, keys=KEYS)  # no proxy is trusted
    monkeypatch.setattr(strangers, "wait", sleep)
    for number in range(FREE + 1):
        await site.post(
            key="a-wrong-key-of-thirty-two-letters", X_Forwarded_For=f"203.0.113.{number}, 198.51.100.{number}"
        )
    assert slept == [0.25]  # all are one peer's
    assert (await site.post(key=SECOND, X_Forwarded_For="203.0.113.1")).status == 202
    assert slept == [0.25]
    await site.app.cleanup()
    warned = [record.getMessage() for record in caplog.records if " refused (" in record.message]
    assert [line.partition(" refused (")[2].partition(")")[0] for line in warned] == [
        "1 from 127.0.0.1",
        "10 from 127.0.0.1",
    ]
    assert "a-wrong-key" not in caplog.text
    assert "203.0.113" not in caplog.text
