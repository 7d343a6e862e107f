"""The short code of a link's page."""

import base64
from datetime import UTC, datetime, timedelta

from worker.domain.links.page_code import LETTERS, PURPOSE, WINDOW, changes_at, code_of, texts
from worker.foundation.keyring import Keyring, new_key

NOW = datetime(2026, 11, 22, 12, 3, tzinfo=UTC)
RING = Keyring([new_key()])


def code(secret: str, now: datetime, *, before: bool = False, ring: Keyring = RING) -> str:
    return code_of(ring.digests(PURPOSE, texts(secret, now)[before])[0])


def test_a_code_is_the_same_within_its_window_and_another_in_the_next():
    assert code("link", NOW) == code("link", changes_at(NOW) - timedelta(microseconds=1))
    assert code("link", NOW) != code("link", changes_at(NOW))


def test_a_page_that_was_opened_in_the_window_before_still_matches():
    assert code("link", NOW + WINDOW, before=True) == code("link", NOW)
    assert code("link", NOW + 2 * WINDOW, before=True) != code("link", NOW)


def test_each_link_and_each_key_has_codes_of_its_own():
    assert code("link", NOW) != code("other", NOW)
    assert code("link", NOW) != code("link", NOW, ring=Keyring([new_key()]))


def test_a_code_has_no_letter_that_looks_like_another_and_makes_no_word():
    # Always by the same key: by a random one, two of 2,000 codes are equal once in 120 runs.
    ring = Keyring([base64.urlsafe_b64encode(bytes(range(32))).decode()])
    found = {code(str(number), NOW, ring=ring) for number in range(2000)}

    assert len(found) == 2000
    assert {len(one) for one in found} == {7}
    assert set("".join(found)) - {"-"} == set(LETTERS)
    assert not set(LETTERS) & set("01AEIOULBSZ")
