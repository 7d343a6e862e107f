"""Return paths: each mail has its own, which only we can make."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.foundation.keyring import Keyring, new_key
from onboarding_worker.features.bounces.return_path import ReturnPath

PATTERN = "bounces+{token}@bounce.example.com"
OLD, NEW = new_key(), new_key()


def paths(*keys: str) -> ReturnPath:
    ring = Keyring(keys or (NEW,))
    return ReturnPath(PATTERN, ring)


OURS = paths()


@given(st.uuids())
def test_a_mail_is_found_by_its_return_path_whatever_the_case(id_: uuid.UUID):
    address = OURS.of(id_.hex)
    assert len(address.partition("@")[0]) <= 64
    for text in (address, address.upper(), f"<{address}>", f"Bounces <{address}>, other@example.com"):
        assert OURS.key_in(text) == id_.hex


@given(st.uuids(), st.integers(0, 41), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_return_path_with_one_other_letter_is_not_ours(id_: uuid.UUID, place: int, letter: str):
    address = OURS.of(id_.hex)
    at = address.index("+") + 1 + place
    changed = address[:at] + letter + address[at + 1 :]
    found = OURS.key_in(changed)
    # The last letter holds two bits that mean nothing.
    assert found is None or changed == address or place == 41


def test_another_key_signs_other_return_paths_and_a_rotated_one_still_recognises_its_own():
    key = uuid.uuid4().hex
    address = paths(OLD).of(key)
    assert paths(NEW).key_in(address) is None
    assert paths(NEW, OLD).key_in(address) == key
    assert paths(NEW, OLD).of(key) != address


def test_what_only_looks_like_a_return_path_is_none():
    cases = ["x{}", "{}.attacker.example", "", "bounces+@bounce.example.com", "{}x"]
    assert [
        (changed, got)
        for changed in cases
        if (got := OURS.key_in(changed.format(OURS.of(uuid.uuid4().hex)))) is not None
    ] == []


def test_a_return_path_shows_nothing_of_the_customer():
    key = uuid.uuid4().hex
    assert OURS.of(key) == OURS.of(key)
    assert key not in OURS.of(key)
