"""Stored values: the ring decrypts them for their own row, unchanged, and they show nothing."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.foundation.keyring import (
    KEY_ID_BYTES,
    NONCE_BYTES,
    CannotDecrypt,
    Keyring,
    derived_digest_key,
    key_id_of,
    key_id_of_value,
    new_key,
)

OLD, NEW = new_key(), new_key()
RING = Keyring([NEW])
PERSON = {"email": "maria@example.org", "name": "María Österberg"}
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5)


@given(st.dictionaries(st.text(), JSON), st.text())
def test_an_encrypted_value_can_be_decrypted(value, context):
    assert RING.decrypt(RING.encrypt(value, context=context), context=context) == value


def test_a_number_of_any_length_stays_as_it_is(subtests):
    for number in [2**63, 2**64, -(2**64), 10**18 + 1, 10**30 + 1]:
        with subtests.test(number=number):
            value = {"questionnaire": [number]}
            assert RING.decrypt(RING.encrypt(value, context="line 1:1"), context="line 1:1") == value


def test_no_part_of_the_plain_value_is_in_the_encrypted_one():
    encrypted = RING.encrypt(PERSON, context="customer C-1")
    plain = json.dumps(PERSON, ensure_ascii=False).encode()
    for start in range(len(plain) - 5):
        assert plain[start : start + 6] not in encrypted


def test_the_same_value_is_never_encrypted_alike_twice():
    encrypted = {RING.encrypt(PERSON, context="customer C-1") for _ in range(100)}
    assert len({value[5 : 5 + NONCE_BYTES] for value in encrypted}) == 100


def test_the_first_key_encrypts_and_all_of_them_decrypt():
    before, during, after = Keyring([OLD]), Keyring([NEW, OLD]), Keyring([NEW])
    old = before.encrypt(PERSON, context="customer C-1")
    assert during.decrypt(old, context="customer C-1") == PERSON
    encrypted_again = during.encrypt(PERSON, context="customer C-1")
    assert after.decrypt(encrypted_again, context="customer C-1") == PERSON


def test_a_key_that_was_removed_too_early_is_named_as_the_likely_cause():
    encrypted = Keyring([OLD]).encrypt(PERSON, context="customer C-1")
    with pytest.raises(CannotDecrypt, match=r"customer C-1.*older key missing"):
        RING.decrypt(encrypted, context="customer C-1")


def test_the_key_that_a_value_needs_is_known_from_its_start_without_any_key(subtests):
    ring, encrypted = Keyring([NEW, OLD]), Keyring([OLD]).encrypt(PERSON, context="customer C-1")
    start = encrypted[:KEY_ID_BYTES]
    assert key_id_of_value(start) == key_id_of_value(encrypted) == ring.ids[1]
    assert (ring.is_current(start), Keyring([OLD, NEW]).is_current(start)) == (False, True)
    for damaged in (start[:-1], b"\x02" + start[1:], b""):
        with subtests.test(damaged=damaged):
            assert key_id_of_value(damaged) == ""
    for value, needed in ((encrypted, ring.ids[1]), (b"\x02" + encrypted[1:], "?")):
        with pytest.raises(CannotDecrypt) as error:
            RING.decrypt(value, context="customer C-1")
        for text in (str(error.value), error.value.for_logs):
            assert f"it needs the key {needed};" in text
        assert "C-1" not in error.value.for_logs


def test_a_value_copied_into_another_row_cannot_be_decrypted_there():
    encrypted = RING.encrypt(PERSON, context="customer C-1")
    with pytest.raises(CannotDecrypt, match="customer C-2 was changed or belongs to another row"):
        RING.decrypt(encrypted, context="customer C-2")


def test_a_value_changed_by_one_bit_cannot_be_decrypted(subtests):
    for at in [0, 1, 4, 5, 16, 17, 30, -1]:
        with subtests.test(at=at):
            encrypted = bytearray(RING.encrypt(PERSON, context="customer C-1"))
            encrypted[at] ^= 1
            with pytest.raises(CannotDecrypt):
                RING.decrypt(bytes(encrypted), context="customer C-1")


def test_a_value_that_was_cut_off_cannot_be_decrypted(subtests):
    for length in [0, 1, 4, 5, 8, 16, 17, 20, 33]:
        with subtests.test(length=length):
            encrypted = RING.encrypt(PERSON, context="customer C-1")[:length]
            with pytest.raises(CannotDecrypt):
                RING.decrypt(encrypted, context="customer C-1")


def test_no_error_holds_a_part_of_the_value_or_of_a_key():
    encrypted = RING.encrypt(PERSON, context="customer C-1")
    texts = []
    for ring, value, context in (
        (Keyring([OLD]), encrypted, "customer C-1"),
        (RING, encrypted, "customer C-2"),
        (RING, encrypted[:-1] + bytes([encrypted[-1] ^ 1]), "customer C-1"),
    ):
        with pytest.raises(CannotDecrypt) as error:
            ring.decrypt(value, context=context)
        texts.append(f"{error.value!r} {error.value.__cause__!r}")
    for secret in ("maria", NEW, OLD):
        assert secret not in " ".join(texts)


@pytest.mark.parametrize("keys", [[""], ["short"], ["not base64 ☃"], [base64.urlsafe_b64encode(b"k" * 31).decode()]])
def test_a_malformed_key_is_refused_without_being_shown(keys):
    with pytest.raises(ValueError, match="32 bytes") as error:
        Keyring(keys)
    assert not keys[0] or keys[0] not in str(error.value)


def test_a_digest_begins_with_the_id_of_its_key_and_shows_neither_text_nor_key():
    (digest,) = RING.digests("address", "maria@example.org")
    assert key_id_of(digest) == RING.digest_ids[0]
    assert len(digest) == 64
    assert "maria" not in digest


def test_a_digest_key_of_its_own_outlives_the_encryption_keys():
    digest_key = new_key()
    before, after = Keyring([OLD], [digest_key]), Keyring([NEW], [digest_key])
    assert before.digests("address", "maria@example.org") == after.digests("address", "maria@example.org")
    assert (before.derives_digest_keys, Keyring([OLD]).derives_digest_keys) == (False, True)


def test_the_derived_digest_key_may_be_written_as_a_digest_key_and_changes_nothing():
    written = Keyring([NEW], [derived_digest_key(OLD)])
    assert written.digests("address", "maria@example.org") == Keyring([OLD]).digests("address", "maria@example.org")


def test_the_first_digest_key_hashes_and_all_of_them_recognise():
    first, second = new_key(), new_key()
    ring = Keyring([NEW], [second, first])
    assert Keyring([NEW], [first]).digests("token", "t")[0] == ring.digests("token", "t")[1]


def test_the_same_text_has_another_digest_for_another_purpose():
    assert set(RING.digests("address", "t")).isdisjoint(RING.digests("token", "t"))


def test_an_empty_ring_is_refused():
    with pytest.raises(ValueError, match="no encryption key"):
        Keyring([])


def test_a_new_key_is_one_that_a_ring_takes_and_each_is_another():
    assert len({new_key() for _ in range(20)}) == 20
    assert len(base64.urlsafe_b64decode(new_key())) == 32
