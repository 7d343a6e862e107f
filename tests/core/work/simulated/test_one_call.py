"""One call for a session, one question, one look-up, one message: how each ends, whatever its row and account are."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from onboarding_testing.fakes import FakeHttp
from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.model.endings import Asked, Cancel, Done, Hold, Kind, Reconcile, Retry, Snooze
from onboarding_worker.core.model.http_messages import Broken, HttpAnswer
from onboarding_worker.core.model.metrics import FRESHNESS, SUM, Series
from onboarding_worker.core.model.states import BATCH, EVENT, JobState
from onboarding_worker.core.rules.reconciliation import LONGEST_LIFE, Nothing, UnknownCall, Unmatched
from onboarding_worker.core.work.kinds import SHORT_IN_A_ROW, FirstLinks
from onboarding_worker.wiring.work import invite_work, issue_work
from tests.simulated.world import FAILED, LIMITED, REFUSED, customer

BAD, CONFLICT = HttpAnswer(400, {}), HttpAnswer(409, {})
NOT_SENT, SENT = Broken(sent=False, detail="refused"), Broken(sent=True, detail="cut off")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


class One:
    """A world with Ona's job opened for its call."""

    def __init__(self, make: Callable[..., Any], *outcomes: Any, **settings: Any) -> None:
        self.world = make(outcomes, **settings)
        self.world.add(customer("Ona"))
        self.work = issue_work(self.world.parts, "kyc", self.world.http, wake_invite=lambda *_: None)
        (self.job,) = self.work.flush([], Room(50, 50)).opened
        self.provider = self.world.provider

    async def call(self, **job: Any) -> Any:
        now = self.world.clock()
        return await self.work.call(replace(self.job, **job), now, lambda _waited: True)

    def with_attempts(self, most: int) -> None:
        rule = self.work.policy.rule
        rule = replace(rule, retry=replace(rule.retry, attempts=most))
        self.work = replace(self.work, policy=replace(self.work.policy, rule=rule))


# A call for a session.


@pytest.mark.parametrize(
    ("outcome", "ending", "kind", "unreachable"),
    [
        (None, Done, None, None),
        (FAILED, Retry, Kind.TRANSIENT, False),
        (BAD, Cancel, Kind.BAD_INPUT, False),
        (LIMITED, Snooze, Kind.RATE_LIMITED, False),
        (REFUSED, Snooze, Kind.AUTH, False),
        (NOT_SENT, Snooze, Kind.TRANSIENT, True),
        (SENT, Reconcile, Kind.UNKNOWN, False),
    ],
    ids=str,
)
async def test_how_a_call_ends(make, outcome, ending, kind, unreachable):
    one = One(make, *([outcome] if outcome else []))
    result = await one.call()
    assert isinstance(result.ending, ending)
    problem = result.problem
    assert (problem and problem.kind, problem and problem.unreachable) == (kind, unreachable)
    assert ((result.session is not None), result.floor is not None) == (outcome is None, outcome is None)
    assert result.began_at == one.world.clock()


@pytest.mark.parametrize("replaced", [True, False])
@pytest.mark.parametrize("what", ["call", "question"])
async def test_a_refused_secret_counts_as_a_passing_failure_only_if_another_has_replaced_it(make, what, replaced):
    one = One(make, REFUSED)
    one.provider.lists, one.provider.reloads = True, [replaced]
    result = await one.call(**({"asks_about": "session-1"} if what == "question" else {}))
    assert result.problem.kind is (Kind.TRANSIENT if replaced else Kind.AUTH)
    assert isinstance(result.ending, Retry if replaced else Snooze)


@pytest.mark.parametrize("probe", [True, False])
async def test_only_a_call_that_probes_its_account_reads_the_secrets_first(make, probe):
    one = One(make)
    one.provider.reloads = [True]
    await one.call(probe=probe)
    assert one.world.http.requests[0].headers == {"key": "2" if probe else "1"}


@pytest.mark.parametrize(("lists", "ending"), [(True, Reconcile), (False, Hold)])
async def test_a_conflict_is_looked_into_only_where_sessions_are_listed(make, lists, ending):
    one = One(make, CONFLICT)
    one.provider.lists = lists
    result = await one.call(reconcile_at=one.world.clock() + MINUTE)
    assert isinstance(result.ending, ending)


@pytest.mark.parametrize(
    ("gives", "earlier", "session_id", "opens_early", "ending"),
    [
        (timedelta(hours=12), True, None, False, "done"),
        (timedelta(hours=12) - MINUTE, False, None, False, "held"),
        (timedelta(hours=12) - MINUTE, True, UUID(int=1), False, "held"),
        (timedelta(hours=12) - MINUTE, True, None, False, "waits"),
        (timedelta(hours=12) - MINUTE, True, None, True, "at once"),
    ],
    ids=str,
)
async def test_a_link_below_its_floor_is_held_or_waited_for(make, gives, earlier, session_id, opens_early, ending):
    one = One(make, first_links=True)
    one.provider.gives, one.provider.may_return_earlier, one.provider.opens_early = gives, earlier, opens_early
    result = await one.call(session_id=session_id)
    assert result.session is not None
    now = one.world.clock()
    assert one.work.first_links.seen is (ending == "done")
    if ending == "done":
        assert result.ending == Done()
    elif ending == "held":
        assert (result.ending.reason, result.problem.kind) == ("short_lived", Kind.SHORT_LIVED)
        assert "719 minutes" in result.problem.detail
    else:
        until = now if ending == "at once" else result.session.expires_at
        assert (result.ending.until, result.ending.reason, result.problem) == (until, "session_ends_first", None)


# A question about a session.


@pytest.mark.parametrize(
    ("outcome", "attempts", "most", "ending"),
    [
        (FAILED, 0, 9, Retry),
        (FAILED, 1, 9, Retry),
        (FAILED, 2, 9, Asked),
        (FAILED, 0, 1, Asked),
        (SENT, 0, 9, Retry),
        (SENT, 2, 9, Asked),
        (NOT_SENT, 5, 9, Snooze),
        (LIMITED, 5, 9, Snooze),
        (REFUSED, 5, 9, Snooze),
        (BAD, 0, 9, Asked),
    ],
    ids=str,
)
async def test_a_question_in_vain_is_asked_again_a_few_times(make, outcome, attempts, most, ending):
    one = One(make, outcome)
    one.provider.lists = True
    one.with_attempts(most)
    result = await one.call(asks_about="session-1", attempts=attempts)
    assert isinstance(result.ending, ending)
    assert (result.problem.unreachable, result.news, result.session) == (outcome is NOT_SENT, None, None)


@pytest.mark.parametrize(
    ("listed", "news"),
    [((("other", "ACTIVE"), ("session-1", "EXPIRED")), "EXPIRED"), ((("other", "EXPIRED"),), None)],
    ids=str,
)
async def test_an_answer_about_other_sessions_is_no_news_of_this_one(make, listed, news):
    one = One(make, FakeHttp.listing(*listed))
    one.provider.lists = True
    result = await one.call(asks_about="session-1")
    assert (result.ending, result.problem) == (Asked(), None)
    assert (result.news and result.news.status) == news
    assert one.world.http.requests[-1].url.endswith("&page=1")
    one.provider.lists = False
    assert (await one.call(asks_about="session-1")).ending == Asked()


# A look-up.


def unknown(one, age):
    return UnknownCall(uuid4(), one.world.clock() - age)


@pytest.mark.parametrize(
    ("listed", "ended", "ending", "found"),
    [
        ((), False, Retry, Nothing),
        ((), True, Done, Nothing),
        ((("session-9", "ACTIVE"),), False, Reconcile, Unmatched),
        ((("session-9", "ACTIVE"),), True, Done, Unmatched),
    ],
    ids=str,
)
async def test_how_a_look_up_ends(make, listed, ended, ending, found):
    one = One(make, FakeHttp.listing(*listed))
    one.provider.lists = True
    result = await one.call(unknown_call=unknown(one, MINUTE), ended=ended)
    assert isinstance(result.ending, ending)
    assert isinstance(result.found, found)
    assert (result.session, result.problem, result.needed_no_request) == (None, None, False)


@pytest.mark.parametrize(
    ("age", "lists", "ended", "waits", "over"),
    [
        (7 * DAY, False, False, True, True),
        (7 * DAY - MINUTE, False, False, True, False),
        (7 * DAY, True, False, True, False),
        (7 * DAY, False, True, True, False),
        (7 * DAY, False, False, False, False),
    ],
    ids=str,
)
async def test_without_a_list_a_lost_session_is_over_by_its_age_alone(make, age, lists, ended, waits, over):
    assert age < LONGEST_LIFE
    one = One(make, FAILED, more="" if waits else 'on_orphan = "hold"')
    one.provider.lists = lists
    result = await one.call(unknown_call=unknown(one, age), ended=ended)
    assert result.needed_no_request is over
    assert (result.ending.reason == "orphan", isinstance(result.found, Unmatched)) == (over, over)
    assert len(one.world.http.requests) == lists


# Whether an account's links live long enough.


def test_one_job_at_a_time_shows_how_long_links_live():
    links = FirstLinks()
    assert [links.reserve(), links.reserve()] == [True, False]
    links.begin(set())  # nothing was found
    assert links.reserve()
    links.begin({1})
    assert not links.reserve()
    links.end([2])
    assert not links.reserve()
    links.end([1, 2])
    assert links.reserve()


@pytest.mark.parametrize("seen", [False, True])
def test_so_many_short_links_in_a_row_are_the_accounts_unless_one_has_lived(seen):
    links = FirstLinks(seen=seen)
    assert [links.was_short() for _ in range(SHORT_IN_A_ROW)] == [False] * (SHORT_IN_A_ROW - 1) + [not seen]


@pytest.mark.parametrize(("priority", "at_once"), [(BATCH, False), (EVENT, True)])
async def test_the_message_of_an_event_goes_at_once_and_so_does_that_of_a_session_that_is_reused(
    make, priority, at_once
):
    one, woken = One(make), []
    one.work = replace(one.work, wake_invite=lambda _wake_up, soon: woken.append(soon))
    one.work.flush([await one.call(priority=priority)], None)
    assert woken == [at_once]
    one.world.set(Job, state=JobState.CANCELLED)
    one.world.add(customer("Ona"))
    one.work.flush([], Room(50, 50))
    assert woken == [at_once, True]


# A message.


@pytest.mark.parametrize(("ending", "looks_up", "share"), [(Done(), False, 0.25), (Done(), True, 0), (None, False, 0)])
async def test_how_fresh_a_link_was_is_measured_as_its_message_leaves(make, ending, looks_up, share):
    world = make()
    world.add(customer("Ona"))
    await world.issue()
    work = invite_work(world.parts, "email")
    (item,) = work.flush([], Room(50, 50)).opened
    if looks_up:
        item = replace(item, unknown_call=UnknownCall(uuid4(), world.clock()))
    began_at = item.expires_at - (item.expires_at - item.issued_at) / 4
    work.flush([CallResult(item, began_at, ending)], None)
    series = Series(FRESHNESS.name, ("email",), SUM)
    assert work.meters.news().get(series, 0) == pytest.approx(share)


@pytest.mark.parametrize(
    ("quiet", "left", "leaves"),
    [(False, 13, True), (False, 11, False), (True, 13, False)],
    ids=["fresh", "too old", "at night"],
)
async def test_a_message_leaves_only_with_a_fresh_link_and_while_it_may(make, quiet, left, leaves):
    world = make(templates='quiet_hours = { email = "21:00-08:00" }' if quiet else "")
    world.add(customer("Ona"))
    await world.issue()
    work = invite_work(world.parts, "email")
    (item,) = work.flush([], Room(50, 50)).opened
    item.expires_at = world.clock() + timedelta(hours=left)
    if quiet:
        world.clock.advance(hours=9)
        item.expires_at = world.clock() + timedelta(hours=left)
    result = await work.call(item, world.clock(), lambda _waited: True)
    assert (result.ending == Done(), result.called) == (leaves, leaves)
    assert len(world.senders["email"].messages) == leaves
