"""Durations and numbers as people write and read them."""

from datetime import timedelta

import pytest

from onboarding_worker.core.foundation.notation import (
    are,
    counted,
    listed_in_words,
    parse_duration,
    plain,
    printable,
    show_duration,
)


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("7 days", 604_800, "7 days"),
        ("1 week", 604_800, "7 days"),
        ("1day", 86_400, "1 day"),
        (" 36 hours ", 129_600, "36 hours"),
        ("1.5 h", 5400, "90 minutes"),
        ("90 s", 90, "90 s"),
        ("1 min", 60, "1 minute"),
        ("10 minutes", 600, "10 minutes"),
        ("3 sec", 3, "3 s"),
        ("1 second", 1, "1 s"),
        ("2 d", 172_800, "2 days"),
        ("250 ms", 0.25, "0.25 s"),
        ("0 s", 0, "0 s"),
    ],
)
def test_a_duration_is_read_in_any_unit_and_shown_in_the_largest_that_divides_it(text, seconds, shown):
    span = parse_duration(text)
    assert (span, parse_duration(span)) == (timedelta(seconds=seconds), span)
    assert show_duration(span) == shown


@pytest.mark.parametrize("given", ["", "7", "days", "-1 day", "7 moons", "999999999 weeks", "1 day 2 hours", 7, None])
def test_what_is_no_duration_is_refused(given):
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(given)


def test_numbers_and_names_read_as_in_a_sentence():
    assert [counted(number, "row") for number in (0, 1, 1000)] == ["0 rows", "1 row", "1,000 rows"]
    assert [counted(number, "entry", "entries") for number in (1, 2)] == ["1 entry", "2 entries"]
    assert [are(number) for number in (0, 1, 2)] == ["are", "is", "are"]
    assert [listed_in_words("abc"[:most]) for most in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_a_text_of_others_is_one_line_of_visible_characters_and_no_longer_than_asked():
    assert plain(" a\n\tb\u202e\u200bc\x1b ", most=5) == "a bc"
    assert plain("abcde", most=5) == "abcde"
    assert plain("abc defghij", most=5) == "abc…"
    assert printable("a\nb\u202ec", 4) == "a?b?"
