"""A provider's codes of refusals: which are kept, which are followed by one more session, and what they ask for."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.refusals import (
    FRAUD,
    KNOWN,
    LONGEST,
    MOST,
    STORED_LENGTH,
    Advice,
    advice_of,
    asks_again,
    code_in_words,
    codes,
    plain,
    stored,
)

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "refused.md"
ANYTHING = st.one_of(st.text(max_size=80), st.none(), st.integers(), st.lists(st.text()), st.sampled_from([*KNOWN]))


@given(st.lists(ANYTHING, max_size=40), st.lists(ANYTHING, max_size=40))
def test_whatever_comes_few_short_codes_of_plain_letters_are_kept(listed, fraud):
    kept = codes(listed, fraud)
    assert len(kept) <= MOST
    assert len(stored(kept)) <= STORED_LENGTH
    assert all(plain(one).replace("_", "").isalnum() and one.isascii() and len(one) <= LONGEST for one in kept)
    assert " " not in "".join(kept)


@pytest.mark.parametrize(
    ("listed", "fraud", "kept"),
    [
        (["NAME", "SEX", "NAME"], [], ("NAME", "SEX")),
        (["FACE_MATCH", "DOC_EXPIRED"], ["DOC_VALIDATED"], ("DOC_EXPIRED",)),
        (["NAME", "DOC_FAKE"], ["SOMETHING_NEW"], ("fraud:SOMETHING_NEW", "NAME", "fraud:DOC_FAKE")),
        (["Name", "MARIA KAZ", "1_CODE", "X"], ["OF FRAUD"], ()),
    ],
)
def test_what_says_that_all_is_well_is_not_kept_and_fraud_is_marked_wherever_it_stands(listed, fraud, kept):
    assert codes(listed, fraud) == kept


def test_as_many_codes_are_kept_as_fit_and_none_in_part():
    assert (MOST, LONGEST, STORED_LENGTH) == (12, 48, 588)
    longest = "A" * (LONGEST - len(FRAUD))
    assert codes([f"{longest}A", longest, "A" * 9_999]) == (longest,)
    assert codes(f"CODE_{number}" for number in range(MOST + 1)) == tuple(f"CODE_{number}" for number in range(MOST))


@pytest.mark.parametrize(
    ("reasons", "again"),
    [
        ((), False),
        (("DOC_EXPIRED",), False),
        (("DOC_EXPIRED", "NAME"), True),
        (("NAME", "fraud:VIRTUAL_CAMERA"), False),
        (("NAME", "fraud:DOC_FAKE"), True),
        (("fraud:DOC_FAKE",), True),
        (("NAMES",), False),
    ],
)
def test_one_named_reason_is_enough_and_an_unnamed_tag_of_fraud_is_too_much(reasons, again):
    assert asks_again(reasons, {"NAME", "DOC_FAKE"}) is again


@pytest.mark.parametrize(
    ("text", "kept"), [("SOMETHING_NEW", ("SOMETHING_NEW",)), ("NAME", ("NAME",)), ("MARIA", ()), ("MARIA KAZ", ())]
)
def test_a_single_word_that_is_no_known_code_may_be_a_name_and_is_not_kept(text, kept):
    assert code_in_words(text) == kept


def test_each_thing_to_do_is_said_once_and_of_a_code_that_is_not_known_nothing():
    assert advice_of(("NAME", "DOC_GLARED", "DOC_TOO_BLURRY", "SOMETHING_NEW")) == "photo details"


def test_the_page_says_of_every_code_what_it_asks_for():
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    asked = [*Advice, Advice.NONE]
    found = [(one, advice) for advice, (_, listed) in zip(asked, rows[1:], strict=True) for one in listed.split(", ")]
    assert sorted(found) == sorted((f"`{plain(code)}`", advice) for code, advice in KNOWN.items())
    fraud = {f"{FRAUD}{code.strip('`')}" for code in rows[-1][1].split(", ")}
    assert fraud == {code for code in KNOWN if code.startswith(FRAUD)}
