"""Updates on a customer's sessions lead to the same job, in any order and however often they come."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import LIVE_SESSIONS, OPEN_JOBS, JobState, Result, SessionState
from onboarding_worker.providers.webhooks.contract import Rank, SessionUpdate
from onboarding_worker.web.webhooks.session_chain import FOR_THE_END, Again, Chain, JobNow, KnownSession, Link

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FIRST, SECOND = uuid.UUID(int=1), uuid.UUID(int=2)
STARTED, COMPLETED, FAILED = SessionState.STARTED, SessionState.COMPLETED, SessionState.FAILED
EXPIRED, WAITING, SUPERSEDED = SessionState.EXPIRED, SessionState.WAITING, SessionState.SUPERSEDED
LATER = NOON + timedelta(days=1)
INVITED = JobNow(7, JobState.INVITED, FIRST, message_out=True)


def link(id_=FIRST, state=WAITING, *, result=None, day=0, past=False, **known):
    issued_at = NOON + timedelta(days=day)
    end = issued_at + timedelta(days=7)
    return Link(id_, 7, issued_at, end, end + timedelta(minutes=15), KnownSession(state, result, **known), past)


def chain(job=INVITED, *links):
    links = links or (link(),)
    return Chain({one.id: replace(one, job_id=job.id) for one in links}, {job.id: job})


def update_of(state, result=None, *, minute=None, final=None, **more):
    final = result is not None and result is not Result.REVIEW if final is None else final
    at = None if minute is None else NOON + timedelta(minutes=minute)
    return SessionUpdate("EVENT", (), state, final=final, result=result, happened_at=at, **more)


def apply(of, *update, session=FIRST, now=NOON + timedelta(days=1)):
    for one in update:
        of.apply(session, one, again=Again(3), received_at=now, now=now)
    return of


def end(of):
    (job,) = of.jobs.values()
    return job.state, job.result, job.reason, [(one.known.state, one.known.result) for one in of.links.values()]


# One verification's: begun, decided by a machine, then by a person, and what else may come around them.
EVENTS = [
    update_of(STARTED, Result.REVIEW, minute=5, weight=1),
    update_of(COMPLETED, Result.SUSPECTED, minute=5, weight=1),
    update_of(FAILED, Result.DENIED, minute=5, weight=3),
    update_of(COMPLETED, Result.APPROVED, minute=9, weight=3),
    update_of(EXPIRED, minute=6),
    update_of(FAILED, minute=7, weight=2, final=False, note="cancelled at the provider"),
    update_of(FAILED, minute=8, gone=True, note="deleted at the provider"),
    update_of(STARTED, minute=4),
    update_of(None, alert=True),
]


@given(
    st.lists(st.sampled_from(EVENTS), min_size=1, unique_by=id).flatmap(
        lambda message_out: st.tuples(st.just(message_out), st.permutations(message_out + message_out[:3]))
    )
)
def test_orders_and_doubles_of_a_verifications_events_end_alike(updates_and_orders):
    message_out, order = updates_and_orders
    assert end(apply(chain(), *order)) == end(apply(chain(), *message_out))


REFUSED = [
    update_of(FAILED, Result.DENIED, minute=3, weight=1, reasons=("NAME",)),
    update_of(FAILED, Result.DENIED, minute=4, weight=3, reasons=("DOC_EXPIRED",)),
    update_of(FAILED, Result.DENIED, minute=11, weight=3, reasons=("NAME", "DOC_FAKE")),
    update_of(STARTED, Result.REVIEW, minute=6, weight=1, reasons=("NAME",)),
]


def renewed(state=JobState.INVITED):
    """The chain of a customer who was approved long ago and is asked to renew."""
    before = link(state=COMPLETED, result=Result.APPROVED, rank=Rank.FINAL, at=NOON, past=True)
    of = chain(JobNow(9, state, SECOND, message_out=True), before, link(SECOND, day=700))
    of.jobs[7] = JobNow(7, JobState.COMPLETED, FIRST, result="approved")
    of.links[FIRST] = replace(before, job_id=7)
    return of


@pytest.mark.parametrize("said", [update_of(FAILED, Result.DENIED, minute=9), update_of(FAILED, gone=True), EVENTS[4]])
def test_whatever_is_said_of_the_session_before_a_renewal_the_renewal_goes_on(said):
    of = apply(renewed(), said)
    assert (of.jobs[9].state, of.jobs[9].result, of.links[SECOND].known.state) == (JobState.INVITED, "", WAITING)


def test_a_renewal_is_decided_by_its_own_verdict_though_the_one_before_is_changed_later():
    of = apply(renewed(), update_of(COMPLETED, Result.SUSPECTED, minute=2_000_000))
    apply(of, update_of(FAILED, Result.DENIED, minute=1_900_000), session=SECOND)
    assert (of.jobs[9].state, of.jobs[9].result, of.jobs[9].session_id) == (JobState.COMPLETED, "denied", SECOND)
    assert of.jobs[7].result == "suspected"


@pytest.mark.parametrize("said", EVENTS)
@pytest.mark.parametrize("first", [JobState.CANCELLED, JobState.LAPSED])
def test_the_verdict_of_a_person_who_had_the_id_before_decides_nothing_for_the_other_one(said, first):
    of = chain(JobNow(7, first, FIRST, cancelled=True), link(past=True))
    of.jobs[9] = JobNow(9, JobState.WAITING, None, reason=Reason.SESSION_ENDS_FIRST, due_at=LATER + timedelta(days=9))
    apply(of, said)
    over = of.links[FIRST].known.state not in LIVE_SESSIONS
    waits = replace(of.jobs[9], due_at=None) == JobNow(9, JobState.WAITING, None, reason=Reason.SESSION_ENDS_FIRST)
    assert (waits, of.jobs[9].due_at == LATER) == (True, over)


def test_a_row_that_a_report_gave_to_another_person_has_no_verdict_of_the_first_ones_session():
    of = apply(chain(JobNow(7, JobState.LAPSED, None), link(past=True)), update_of(COMPLETED, Result.APPROVED))
    assert of.jobs[7].state is JobState.LAPSED


@given(
    st.lists(st.sampled_from([*EVENTS, *REFUSED]), min_size=1, unique_by=id).flatmap(
        lambda given: st.tuples(st.just(given), st.permutations(given + given[:3]))
    )
)
def test_orders_and_doubles_of_refusals_ask_once_more_alike(updates_and_orders):
    def after(updates):
        of = chain()
        for one in updates:
            of.apply(FIRST, one, again=Again(3, refused_for=frozenset({"NAME"})), received_at=LATER, now=LATER)
        (job,) = of.jobs.values()
        return *end(of), job.asks_again and of.links[FIRST].check_at == LATER

    given, order = updates_and_orders
    assert after(order) == after(given)


STATES = st.sampled_from(list(JobState))
# What can be known of a session in each state.
RANKS = {
    WAITING: [Rank.NOTHING],
    STARTED: [Rank.BEGUN],
    COMPLETED: [Rank.FINAL],
    FAILED: [Rank.GONE, Rank.ENDED, Rank.FINAL],
    EXPIRED: [Rank.NOTHING, Rank.BEGUN, Rank.ENDED],
    SUPERSEDED: [Rank.NOTHING, Rank.BEGUN],
}
ENDS = [Result.APPROVED, Result.SUSPECTED, Result.UNKNOWN]
RESULTS = {STARTED: [None, Result.REVIEW], COMPLETED: ENDS, FAILED: [None, Result.DENIED]}
LINKS = st.one_of(
    *(
        st.builds(
            link, state=st.just(state), result=st.sampled_from(RESULTS.get(state, [None])), rank=st.sampled_from(ranks)
        )
        for state, ranks in RANKS.items()
    )
)


@given(
    STATES,
    st.sampled_from(["", "session_failed", "second_session"]),
    st.booleans(),
    st.sampled_from([None, FIRST, SECOND]),
    LINKS,
    LINKS,
    st.lists(st.tuples(st.sampled_from([FIRST, SECOND]), st.sampled_from(EVENTS)), min_size=1),
)
def test_whatever_comes_no_two_sessions_live_and_what_was_cancelled_stays_so(
    state, reason, message_out, current, first, second, known
):
    if first.known.state in LIVE_SESSIONS and second.known.state in LIVE_SESSIONS:
        first = replace(first, known=KnownSession(SUPERSEDED))
    job = JobNow(7, state, current, reason=reason, message_out=message_out)
    of = chain(job, first, replace(second, id=SECOND, issued_at=NOON + timedelta(days=8)))
    for session, update in known:
        apply(of, update, session=session)
        assert sum(one.known.state in LIVE_SESSIONS for one in of.links.values()) <= 1
    now = of.jobs[7]
    if state is JobState.CANCELLED:
        assert now == job
    if now.state is JobState.WAITING and state is not JobState.WAITING:
        assert now.due_at is not None
    if now.state is JobState.COMPLETED and state is not JobState.COMPLETED:
        assert now.result in {"approved", "denied", "suspected", "unknown"}
        assert (now.due_at, now.unknown_attempt) == (None, None)


def test_of_a_link_that_was_replaced_only_a_verdict_counts(subtests):
    for state, rank in [(EXPIRED, 0), (SUPERSEDED, 0), (SUPERSEDED, Rank.BEGUN)]:
        for newest in [WAITING, EXPIRED]:
            with subtests.test(newest=newest, state=state, rank=rank):
                of = chain(INVITED, link(state=state, rank=Rank(rank)), link(SECOND, state=newest, day=8))
                before = of.copy()
                less = [update for update in EVENTS if update.rank < Rank.FINAL and update.result is None]
                assert {update.rank for update in less} == {Rank.NOTHING, Rank.BEGUN, Rank.GONE, Rank.ENDED}
                assert apply(of, *less, *less) == before
                assert apply(of, update_of(COMPLETED, Result.APPROVED, minute=5)).jobs[7].state is JobState.COMPLETED


@pytest.mark.parametrize("newest", [WAITING, EXPIRED])
@pytest.mark.parametrize("before", [EXPIRED, SUPERSEDED])
def test_that_a_link_that_was_replaced_is_reviewed_or_no_longer_is_kept_with_it_and_nothing_else(before, newest):
    of = chain(INVITED, link(state=before), link(SECOND, state=newest, day=8))
    jobs, new = dict(of.jobs), of.links[SECOND]
    for update, result in [
        (update_of(STARTED, Result.REVIEW, minute=5), Result.REVIEW),
        (update_of(STARTED, minute=4), Result.REVIEW),  # it came before
        (update_of(STARTED, minute=6), None),
        (update_of(STARTED, Result.REVIEW, minute=7), Result.REVIEW),
        (update_of(EXPIRED, minute=8), None),
    ]:
        apply(of, update)
        assert (of.links[FIRST].known.state, of.links[FIRST].known.result) == (before, result)
    assert (of.jobs, of.links[SECOND]) == (jobs, new)


def test_a_review_is_known_of_a_link_that_is_to_be_replaced_and_whose_successor_is_not_bought_yet():
    of = chain(JobNow(7, JobState.WAITING, FIRST, message_out=True), link(state=SUPERSEDED))
    apply(of, update_of(STARTED, Result.REVIEW, minute=5))
    assert (of.links[FIRST].known.state, of.links[FIRST].known.result) == (SUPERSEDED, Result.REVIEW)


def test_an_unsent_session_is_not_replaced_while_the_one_before_is_in_review():
    job = JobNow(7, JobState.ISSUED, SECOND)
    of = chain(job, link(state=EXPIRED, result=Result.REVIEW), link(SECOND, day=8))
    assert apply(of, update_of(EXPIRED, minute=9), session=SECOND).jobs[7] == job
    apply(of, update_of(EXPIRED, minute=10))  # the review ended without a verdict: the check decides again
    assert apply(of.copy(), update_of(STARTED), session=SECOND).jobs[7] == job


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_links_verdicts_the_providers_last_counts(order):
    of = chain(INVITED, link(state=EXPIRED), link(SECOND, day=8))
    message_out = [
        (FIRST, update_of(FAILED, Result.DENIED, minute=5)),
        (SECOND, update_of(COMPLETED, Result.APPROVED, minute=9)),
    ]
    for place in order:
        session, update = message_out[place]
        apply(of, update, session=session)
    assert (of.jobs[7].result, of.jobs[7].session_id) == ("approved", SECOND)


def test_a_session_that_failed_without_a_verdict_ends_the_job_that_waits_for_it(subtests):
    cases = [
        (JobNow(7, JobState.ISSUED, FIRST), JobState.FAILED),
        (JobNow(7, JobState.WAITING, FIRST), JobState.FAILED),
        (JobNow(7, JobState.HELD, FIRST, reason="template"), JobState.FAILED),
        # The updated session is not the session that the job waits for, or is held for.
        (JobNow(7, JobState.WAITING, SECOND), JobState.WAITING),
        (JobNow(7, JobState.WAITING, FIRST, unknown_attempt=SECOND), JobState.WAITING),
        (JobNow(7, JobState.HELD, FIRST, unknown_attempt=SECOND), JobState.HELD),
        (JobNow(7, JobState.HELD, FIRST, reason="conflict"), JobState.HELD),
        (JobNow(7, JobState.WORKING, FIRST), JobState.WORKING),
        (JobNow(7, JobState.LAPSED, FIRST), JobState.LAPSED),
    ]
    for job, becomes in cases:
        with subtests.test(job=job):
            of = apply(chain(job), update_of(FAILED, minute=5, final=False, note="cancelled at the provider"))
            assert of.jobs[7].state is becomes


def test_a_job_that_a_person_put_back_does_not_fail_again_for_the_session_that_it_failed_with():
    of = apply(chain(), update_of(FAILED, minute=5, final=False))
    assert of.jobs[7].state is JobState.FAILED
    of.jobs[7] = replace(of.jobs[7], state=JobState.WAITING, reason="", due_at=NOON)
    assert apply(of, update_of(FAILED, minute=6, final=False)).jobs[7].state is JobState.WAITING


def test_a_verdict_ends_a_job_in_any_state(subtests):
    for state in [*OPEN_JOBS, JobState.LAPSED, JobState.FAILED]:
        with subtests.test(state=state):
            job = JobNow(
                7, state, SECOND, unknown_attempt=SECOND, reason="session_expired", due_at=NOON, message_out=True
            )
            of = apply(chain(job, link(state=EXPIRED)), update_of(COMPLETED, Result.APPROVED, minute=5))
            # The job keeps the call that is to be looked up: it may have opened a session, which was paid for.
            completed = JobNow(
                7, JobState.COMPLETED, FIRST, result="approved", message_out=True, unknown_attempt=SECOND
            )
            assert of.jobs[7] == completed


def test_what_failed_does_not_come_back_to_life_while_another_list_serves_the_customer():
    job = JobNow(7, JobState.FAILED, FIRST, reason="session_failed", message_out=True)
    of = chain(job, link(state=FAILED, rank=Rank.GONE))
    of.jobs[8] = JobNow(8, JobState.WAITING, None)
    assert apply(of, update_of(EXPIRED)).jobs[7] == job


def test_the_time_of_the_next_check_follows_from_the_update(subtests):
    cases = [
        (link(), update_of(STARTED), "unchanged"),
        (link(), update_of(STARTED, Result.REVIEW), "in a day"),
        (link(), update_of(EXPIRED), "now"),
        (link(), update_of(COMPLETED, Result.APPROVED), None),
        (link(state=STARTED, result=Result.REVIEW), update_of(STARTED), "its end"),
        (link(state=EXPIRED), update_of(STARTED), "its end"),
    ]
    for before, update, check_at in cases:
        with subtests.test(before=before, update=update, check_at=check_at):
            now = NOON + timedelta(days=1)
            wanted = {
                "unchanged": before.check_at,
                "now": now,
                "in a day": now + timedelta(days=1),
                "its end": before.expires_at + timedelta(minutes=15),
                None: None,
            }
            assert apply(chain(INVITED, before), update).links[FIRST].check_at == wanted[check_at]


def test_a_job_that_waits_for_a_sessions_end_is_due_when_that_comes_early_and_no_other_job_is(subtests):
    in_a_week = NOON + timedelta(days=7)
    back_off = JobNow(7, JobState.WAITING, FIRST, reason=Reason.TRANSIENT, due_at=in_a_week)
    moved = {}
    for reason in (*FOR_THE_END, Reason.TRANSIENT, Reason.RATE_LIMITED):
        (job,) = apply(chain(replace(back_off, reason=reason)), update_of(EXPIRED)).jobs.values()
        moved[reason] = job.due_at < in_a_week
    assert moved == {**dict.fromkeys(FOR_THE_END, True), Reason.TRANSIENT: False, Reason.RATE_LIMITED: False}

    with subtests.test("the session has not ended"):
        (job,) = apply(chain(replace(back_off, reason=FOR_THE_END[0])), update_of(STARTED)).jobs.values()
        assert job.due_at == in_a_week
    with subtests.test("what a person decides stays held"):
        held = replace(back_off, state=JobState.HELD, reason=FOR_THE_END[0])
        (job,) = apply(chain(held), update_of(EXPIRED)).jobs.values()
        assert (job.state, job.due_at) == (JobState.HELD, in_a_week)
