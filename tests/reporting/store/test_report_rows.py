"""Status and report: the numbers add up, and every line of the list is shown in order."""

import itertools
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onboarding_worker.cli.running.work import line_of
from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel, FieldProblem
from onboarding_worker.core.model.endings import Cancel, Hold, Kind, Retry, Snooze
from onboarding_worker.core.model.states import InvitationState, JobState, LineState
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.lines import RefusedLine
from onboarding_worker.providers.webhooks.contract import Key
from onboarding_worker.reporting.store.counts import AccountFacts
from onboarding_worker.reporting.store.outlook import Outlook, outlook_of
from onboarding_worker.reporting.store.report_rows import CHUNK
from tests.stored.shelf import add_lines, customer, line
from tests.stored.statements import statements
from tests.stored.webhook_feed import APPROVED, DENIED, REVIEW, WebhookFeed

names = (f"C{number}" for number in itertools.count())
jobs = st.tuples(
    st.sampled_from(JobState),
    st.sampled_from(Channel),
    st.sampled_from(["kyc", "au", "kyb"]),
    st.sampled_from(["", "approved", "denied", "review"]),
    st.booleans(),  # whether it joins a job of another list instead
)
refusals = st.sampled_from(["rejected", "duplicate"])
lines = st.lists(jobs | refusals, max_size=25)


def filled(shelf, given_lines):
    """A batch with these lines."""
    elsewhere, batch = shelf.batch(), shelf.batch()
    for row, what in enumerate(given_lines, start=2):
        if isinstance(what, str):
            duplicate = RefusedLine(row, "x", duplicate_of=2 if what == "duplicate" else None)
            add_lines(shelf.batches, batch, [duplicate], priority=10, now=shelf.clock())
            continue
        state, channel, account, result, joins = what
        name = next(names)
        if joins:
            shelf.add(customer(name), batch=elsewhere, first_row=row, account="au")
        accepted = line(row, customer(name, channel=channel), account=account)
        add_lines(shelf.batches, batch, [accepted], priority=10, now=shelf.clock())
        leads = (Job.customer_id == name, Job.leader_id.is_(None))
        leased = {"lease_until": shelf.clock()} if state is JobState.WORKING else {}
        shelf.set(Job, *leads, state=state, result=result, **leased)
    return batch


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines)
def test_the_states_add_up_to_the_lines_of_the_list(shelf, given_lines):
    batch = filled(shelf, given_lines)
    counts = shelf.facts.counts(batch)
    lines = list(shelf.facts.lines(batch))
    assert sum(counts.jobs.values()) + counts.rejected + counts.duplicate == len(given_lines) == len(lines)
    assert [one.row for one in lines] == list(range(2, 2 + len(given_lines)))
    for state in (*JobState, LineState.JOINED):
        assert counts.lines.get(state, 0) == sum(one.state == state for one in lines)
    for result in ("approved", "denied", "review"):
        assert counts.results.get(result, 0) == sum(one.result == result for one in lines)
    assert counts.rejected == sum(one.state == "rejected" for one in lines)
    assert counts.duplicate == sum(one.state == "duplicate" for one in lines)
    issued_only = [what for what in given_lines if what[0] is JobState.ISSUED and what[1] is Channel.NONE]
    assert counts.issued_only == len(issued_only)
    assert sum(counts.waiting.values()) == sum(one.state in ("waiting", "working") for one in lines)


def test_an_empty_batch_counts_nothing(shelf):
    counts = shelf.facts.counts(shelf.batch())
    assert (counts.jobs, counts.rejected, counts.duplicate, counts.accounts) == ({}, 0, 0, {})
    assert list(shelf.facts.lines(shelf.batch())) == []


def test_one_batchs_numbers_hold_nothing_of_anothers(shelf):
    one = shelf.add(customer("Ona"), refused=[RefusedLine(3, "x")])
    shelf.issue()
    shelf.send()
    other = shelf.add(customer("Jonas"))
    assert shelf.facts.counts(other).jobs == {JobState.WAITING: 1}
    assert shelf.facts.counts(other).invitations == {}
    assert shelf.facts.counts(one).invitations == {InvitationState.SENT: 1}
    assert [line.customer_id for line in shelf.facts.lines(one)] == ["Ona", "x"]


def test_sessions_count_those_that_were_opened_and_no_held_or_failed_calls(shelf):
    batch = shelf.add(*(customer(name) for name in ("Ona", "Jonas", "Rūta", "Ieva")))
    done, first, second = shelf.open(shelf.claim(most=3))
    shelf.finish(shelf.got(done))
    shelf.finish(shelf.failed(first, Kind.UNKNOWN, Hold("unknown", "")))
    shelf.finish(shelf.failed(second, Kind.BAD_INPUT, Cancel("refused", "")))
    counts = shelf.facts.counts(batch)
    assert counts.sessions == 1
    assert line_of(counts) == "0 of 4 out, 1 session · 1 held, 1 failed"


def test_requests_count_every_call_made_refused_ones_too(shelf):
    batch = shelf.add(*(customer(f"C{number}") for number in range(7)))
    opened = shelf.open(shelf.claim())
    now = shelf.clock()
    shelf.finish(
        shelf.got(opened[0]),
        shelf.failed(opened[1], Kind.RATE_LIMITED, Snooze(now, "rate_limited", "")),
        shelf.failed(opened[2], Kind.TRANSIENT, Retry(now, "transient", "")),
        shelf.failed(opened[3], Kind.UNKNOWN, Hold("unknown", "")),
        shelf.failed(opened[4], Kind.BAD_INPUT, Cancel("bad_input", "")),
        CallResult(opened[5], now, None),  # released: not made
    )
    # opened[6] is still out
    assert shelf.facts.counts(batch).accounts == {"kyc": AccountFacts(requests=6, issued=1, rate_limited=1, errors=3)}


def test_a_session_that_came_too_late_counts_as_opened(shelf):
    batch = shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim())
    shelf.set(Job, fence=9)
    shelf.finish(shelf.got(opened))
    assert shelf.facts.counts(batch).accounts == {"kyc": AccountFacts(requests=1, issued=1, late=1)}


def test_hand_overs_are_no_requests_of_an_account(shelf):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    assert shelf.facts.counts(batch).accounts == {"kyc": AccountFacts(requests=1, issued=1)}


def test_an_account_that_has_not_been_called_is_shown_with_nothing(shelf):
    batch = shelf.add(customer("Ona"), account="au")
    assert shelf.facts.counts(batch).accounts == {"au": AccountFacts()}
    assert shelf.facts.counts(batch).waiting == {"au": 1}


def test_the_longest_review_of_a_batch_is_known_until_its_verdict(shelf):
    others, batch = (shelf.add(customer(name)) for name in ("Rūta", "Ona"))
    shelf.add(customer("Jonas"), batch=batch, first_row=3)
    shelf.issue()
    feed, since = WebhookFeed(shelf), {}
    for row in sorted(shelf.rows(SessionRow), key=lambda row: row.customer_id, reverse=True):  # Rūta, Ona, Jonas
        feed.receive(replace(REVIEW, match=((Key.SCAN_REF, row.reference),)))
        since[row.customer_id] = (shelf.clock(), row.reference)
        shelf.clock.advance(days=3)

    def in_review_since():
        return [shelf.facts.counts(each).in_review_since for each in (others, batch)]

    assert in_review_since() == [since["Rūta"][0], since["Ona"][0]]
    feed.receive(replace(APPROVED, match=((Key.SCAN_REF, since["Ona"][1]),)))
    assert in_review_since() == [since["Rūta"][0], since["Jonas"][0]]
    feed.receive(replace(DENIED, match=((Key.SCAN_REF, since["Jonas"][1]),)))
    assert in_review_since() == [since["Rūta"][0], None]


def test_what_has_not_left_is_counted_by_channel(shelf):
    batch = shelf.add(customer("Ona", channel=Channel.BOTH), customer("Jonas"))
    shelf.issue()
    assert shelf.facts.counts(batch).unsent == {"email": 2, "sms": 1}
    shelf.claim_messages()
    assert shelf.facts.counts(batch).unsent == {"email": 2, "sms": 1}
    shelf.hand_over(shelf.claim_messages(channel="sms"), channel="sms")
    assert shelf.facts.counts(batch).unsent == {"email": 2}


def test_a_line_shows_the_result_of_its_row(shelf):
    refused = RefusedLine(
        4, "Rūta", (FieldProblem("email", "9 characters", "check it"), FieldProblem("phone", "x", ""))
    )
    duplicate = RefusedLine(5, "Ona", duplicate_of=2)
    batch = shelf.add(customer("Ona"), customer("Jonas"), refused=[refused, duplicate])
    ona, jonas = shelf.open(shelf.claim())
    session = shelf.session(reference="scan-1")
    hold = Hold("unknown", "connection reset")
    shelf.finish(shelf.got(ona, session), shelf.failed(jonas, Kind.UNKNOWN, hold, detail="connection reset"))
    shelf.send()
    first, second, third, fourth = shelf.facts.lines(batch)
    assert (first.row, first.state, first.invitation, first.reference) == (2, "invited", "sent", "scan-1")
    assert (first.issued_at, first.expires_at, first.opening.link) == (shelf.clock(), session.expires_at, "")
    assert (first.account, first.route, first.attempts) == ("kyc", "the first route", 1)
    assert (second.state, second.invitation, second.reason, second.detail) == (
        "held",
        "none",
        "unknown",
        "connection reset",
    )
    assert (third.state, third.customer_id, third.detail) == ("rejected", "Rūta", "email: 9 characters; phone: x")
    assert (fourth.state, fourth.detail) == ("duplicate", "the same customer as row 2")
    assert "verify.test" not in repr([first, second, third, fourth])


@pytest.mark.both_databases
def test_a_rejected_row_waits_for_a_correction_until_a_later_row_has_its_customer(shelf):
    refused = [RefusedLine(3, "Jonas", (FieldProblem("email", "x", ""),)), RefusedLine(4, "", ())]
    shelf.add(customer("Jonas"))
    shelf.clock.advance(minutes=1)
    batch = shelf.add(customer("Ona"), refused=refused)

    def later() -> list[str]:
        found = [one.later for one in shelf.facts.lines(batch)]
        assert shelf.facts.counts(batch).corrected == sum(map(bool, found))
        return found

    assert later() == ["", "", ""]  # the row of an earlier list corrects nothing
    shelf.clock.advance(minutes=1)
    corrected = shelf.add(customer("Jonas"), first_row=7)
    assert later() == ["", f"row 7 of batch {corrected}", ""]
    shelf.set(Job, Job.batch_id == corrected, state=JobState.CANCELLED)
    assert later() == ["", "", ""]


@pytest.mark.both_databases
def test_a_link_is_shown_only_when_asked_for_and_is_the_one_that_was_sent(shelf):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    (message,) = shelf.send()
    (line,) = shelf.facts.lines(batch, with_links=True)
    assert line.opening.link == message.opening.link
    assert "verify.test" not in repr(line)
    shelf.set(Job, state=JobState.CANCELLED)
    (line,) = shelf.facts.lines(batch, with_links=True)
    assert (line.reference != "", line.opening.link) == (True, "")


@pytest.mark.parametrize(
    ("states", "word"),
    [
        (["waiting"], "waiting"),
        (["working"], "waiting"),
        (["superseded"], "none"),
        (["failed", "sent"], "sent"),
        (["sent", "delivered"], "delivered"),
        (["held", "failed"], "held"),
        (["waiting", "sent"], "sent"),
        (["bounced", "suppressed"], "bounced"),
    ],
)
def test_the_line_shows_the_message_that_got_furthest(shelf, states, word):
    batch = shelf.add(customer("Ona", channel=Channel.BOTH if len(states) == 2 else Channel.EMAIL))
    shelf.issue()
    for row, state in zip(shelf.rows(InvitationRow), states, strict=True):
        shelf.set(InvitationRow, InvitationRow.id == row.id, state=InvitationState(state))
    (line,) = shelf.facts.lines(batch)
    assert line.invitation == word


def test_a_session_that_no_message_is_about_shows_the_message_that_came_before_it(shelf):
    batch = shelf.add(customer("Ona"))
    shelf.issue()
    shelf.set(InvitationRow, state=InvitationState.SENT, session_id=uuid.uuid4())
    (line,) = shelf.facts.lines(batch)
    assert line.invitation == "sent"


def test_earlier_messages_are_not_looked_for_where_the_rows_have_no_channel(shelf, database):
    batch = shelf.add(customer("Ona", channel=Channel.NONE))
    shelf.issue()
    with statements(database) as made:
        (line,) = shelf.facts.lines(batch)
    assert line.invitation == "none"
    assert [text for text in made if "WHERE invitation.job_id IN" in text] == []


@pytest.mark.both_databases
def test_a_list_longer_than_a_chunk_is_shown_whole_and_in_order(shelf):
    batch = shelf.batch()
    odd = [line(row, customer(f"C{row}")) for row in range(3, CHUNK + 300, 2)]
    even = [RefusedLine(row, f"C{row}") for row in range(2, CHUNK + 300, 2)]
    add_lines(shelf.batches, batch, [*odd, *even, RefusedLine(5 * CHUNK, "last")], priority=10, now=shelf.clock())
    rows = [line.row for line in shelf.facts.lines(batch)]
    assert rows == [*range(2, CHUNK + 300), 5 * CHUNK]


@pytest.mark.both_databases
def test_the_outlook_has_when_the_first_of_each_account_and_channel_is_due(shelf):
    batch = shelf.add(customer("Ona"), customer("Jonas"))
    soon, later = shelf.clock() + timedelta(minutes=5), shelf.clock() + timedelta(hours=5)
    shelf.set(Job, Job.customer_id == "Jonas", due_at=later)
    assert outlook_of(shelf.database, batch) == Outlook({"kyc": shelf.clock()}, {}, False)
    shelf.issue()
    assert outlook_of(shelf.database, batch) == Outlook({"kyc": later}, {"email": shelf.clock()}, False)
    shelf.set(InvitationRow, due_at=soon)
    assert outlook_of(shelf.database, batch).channels == {"email": soon}
    shelf.claim_messages()
    assert not outlook_of(shelf.database, batch).under_way  # not due yet
    shelf.set(InvitationRow, due_at=shelf.clock())
    shelf.claim_messages()
    assert outlook_of(shelf.database, batch) == Outlook({"kyc": later}, {}, True)
    shelf.set(InvitationRow, state=InvitationState.SENT)
    shelf.set(Job, state=JobState.HELD)
    assert outlook_of(shelf.database, batch) == Outlook({}, {}, False)


def test_the_outlook_of_a_list_that_joined_another_is_that_of_the_other(shelf):
    first, second = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    later = shelf.clock() + timedelta(hours=5)
    shelf.set(Job, Job.batch_id == first, due_at=later)
    assert outlook_of(shelf.database, second) == Outlook({"kyc": later}, {}, False)
    shelf.set(Job, Job.batch_id == first, due_at=shelf.clock())
    shelf.issue()
    assert outlook_of(shelf.database, second) == Outlook({}, {"email": shelf.clock()}, False)


def test_nothing_of_a_paused_batch_is_in_the_outlook_of_those_who_joined_it(shelf):
    first, second = shelf.add(customer("Ona")), shelf.add(customer("Ona"))
    Decisions(shelf.database).pause(first, by="ann", now=shelf.clock())
    assert outlook_of(shelf.database, first) == outlook_of(shelf.database, second) == Outlook({}, {}, False)
