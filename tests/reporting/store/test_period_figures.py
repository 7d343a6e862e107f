"""A period over all batches has the sum of their reports, however it is cut."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import cycle

import pytest

from onboarding_worker.core.database.tables import Attempt, Batch, InvitationRow, Job
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Cancel, Kind
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import Result
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.providers.webhooks.contract import Key
from onboarding_worker.reporting.prices import Prices, costs, numbers_of, report_of
from onboarding_worker.reporting.store.spending import Figures, figures_of, spending_of
from onboarding_worker.settings.money import Price
from tests.stored.erased import erased
from tests.stored.shelf import WEEK, customer
from tests.stored.webhook_feed import COMPLETED, FAILED, update

DAY = timedelta(days=1)
PRICES = Prices({"kyc": Price.parse("0.90 EUR"), "au": Price.parse("1.1 AUD")}, {"email": Price.parse("0.001 EUR")})


def midnight(at):
    return datetime.combine(at.astimezone(UTC).date(), time.min, UTC)


def of_account(shelf, account):
    return replace(shelf.policy, account=account, rule=replace(shelf.policy.rule, name=account))


def lived(shelf, feed, rng, steps=80):
    """Some weeks of lists of two accounts and three routes: sent, by us and by the provider, as one text and two;
    finished, refused, erased. Returns when it began."""
    began, opened = midnight(shelf.clock()), 0
    shelf.budgets.ensure(["au"])
    kinds = cycle([Kind.TRANSIENT, Kind.BAD_INPUT])  # the first costs a credit
    results = cycle([(COMPLETED, Result.APPROVED), (FAILED, Result.DENIED)])
    for step in range(steps):
        shelf.clock.advance(hours=rng.choice([0, 1, 7, 30]))
        account = rng.choice(["kyc", "au"])
        policy = of_account(shelf, account)
        match rng.choice(["list", "list", "issue", "issue", "fail", "fail", "send", "send", "finish", "finish"]):
            case "list":
                channel = rng.choice([Channel.EMAIL, Channel.BOTH])
                people = [customer(f"C-{step}-{one}", channel=channel) for one in range(rng.randint(1, 4))]
                batch = shelf.add(*people, account=account)
                shelf.set(Job, Job.batch_id == batch, route=f"route {rng.randint(1, 3)}")
            case "issue":
                opened += len(shelf.issue(policy=policy, lifetime=30 * WEEK))
            case "fail":
                jobs = shelf.open(shelf.claim(most=1, policy=policy), policy=policy)
                ending = Cancel(Reason.BAD_INPUT, "HTTP 400")
                shelf.finish(*(shelf.failed(one, next(kinds), ending) for one in jobs), policy=policy)
            case "send":
                shelf.send(channel=rng.choice(["email", "sms"]))
            case _ if opened:
                state, result = next(results)
                match = ((Key.SCAN_REF, f"scan-{rng.randint(1, opened)}"),)
                for one in ("kyc", "au"):
                    feed.receive(update(state, result, match=match), account=one)
    sent = [row.id for row in shelf.rows(InvitationRow) if row.sent_at is not None]
    shelf.set(InvitationRow, InvitationRow.id.in_(sent[::3]), segments=2)
    shelf.set(InvitationRow, InvitationRow.id.in_(sent[1::5]), reason=Reason.SENT_BY_PROVIDER)
    assert {Kind.BAD_INPUT, Kind.TRANSIENT} <= {row.outcome for row in shelf.rows(Attempt)}
    for job in rng.sample(shelf.rows(Job), 2):
        erased(shelf.database, shelf.keyring, job.customer_id, now=shelf.clock())
    return began


def of_batches(shelf):
    """The sum of the batches' reports, by route."""
    routes: dict[str, Figures] = {}
    invited = finished = 0
    for batch in shelf.rows(Batch):
        spending = spending_of(shelf.database, batch.id)
        invited += sum(number for _, number in spending.series["invited"])
        finished += sum(number for _, number in spending.series["finished"])
        for route, facts in spending.routes.items():
            routes.setdefault(route, Figures()).add(replace(facts, customers=0))
    return routes, invited, finished


def of_routes(report):
    """By route, what the reports of batches have too."""
    return {line.name: replace(line.figures, invited=0, finished=0) for line in report.routes}


@pytest.mark.both_databases
@pytest.mark.parametrize("seed", [1, 2])
def test_a_period_is_the_sum_of_its_batches_and_of_its_parts(shelf, feed, seed):
    rng = random.Random(seed)  # noqa: S311 -- invented
    began = lived(shelf, feed, rng)
    ends = midnight(shelf.clock()) + DAY

    def report(begins, ends):
        period = figures_of(shelf.database, begins=begins, ends=ends)
        return report_of(*period, PRICES, first=begins.date(), last=(ends - DAY).date())

    whole = report(began, ends)
    routes, invited, finished = of_batches(shelf)
    assert (whole.all.figures.invited, whole.all.figures.finished) == (invited, finished)
    assert of_routes(whole) == {name: one for name, one in routes.items() if one != Figures()}
    spent = [costs(spending_of(shelf.database, batch.id).routes, PRICES) for batch in shelf.rows(Batch)]
    assert whole.all.calls == sum(one.all.calls for one in spent)
    assert whole.all.messages == sum(one.all.messages for one in spent)
    assert whole.unpriced == sorted({name for one in spent for name in one.unpriced})
    for lines in (whole.accounts, whole.routes, whole.weeks, [line for _, line in whole.rows]):
        summed = Figures()
        for line in lines:
            summed.add(line.figures)
        assert summed == whole.all.figures
        for currency, amount in whole.all.cost.items():
            assert sum(line.cost.get(currency, 0) for line in lines) == amount

    cut = began + DAY * ((ends - began).days // 2)
    parts = Figures()
    for one in (report(began, cut), report(cut, ends)):
        assert one.all.figures != Figures()
        parts.add(one.all.figures)
    assert parts == whole.all.figures

    # It has something of all: else it says nothing.
    assert min(numbers_of(whole.all)) > 0
    assert (len(whole.accounts), len(whole.routes), len(whole.weeks) > 2) == (2, 3, True)


def test_each_figure_is_of_the_day_on_which_it_happened(shelf, feed):
    began = lived(shelf, feed, random.Random(3))  # noqa: S311 -- invented
    firsts: dict[int, datetime] = {}
    for row in shelf.rows(InvitationRow, kind=FIRST):
        if row.sent_at is not None:
            firsts[row.job_id] = min(firsts.get(row.job_id, row.sent_at), row.sent_at)
    weeks = Counter((at.date() - timedelta(days=at.weekday())).isoformat() for at in firsts.values())

    found = figures_of(shelf.database, begins=began, ends=midnight(shelf.clock()) + DAY)
    shown = report_of(*found, PRICES, first=began.date(), last=shelf.clock().date()).weeks

    assert {line.name: line.figures.invited for line in shown if line.figures.invited} == weeks
    calls = Counter(
        row.opened_at.date()
        for row in shelf.rows(Attempt)
        if row.invitation_id is None and row.outcome != Kind.BAD_INPUT.value
    )
    days = Counter[object]()
    for place, figures in found[0].items():
        days[place.day] += sum(figures.calls.values())
    assert +days == calls


def test_the_last_moment_of_a_day_is_in_it_and_the_next_is_not(ona):
    (message,), (call, *_) = ona.rows(InvitationRow), ona.rows(Attempt)
    noon = midnight(message.sent_at)
    ona.set(InvitationRow, sent_at=noon + DAY - timedelta(microseconds=1))

    def invited(begins):
        found = figures_of(ona.database, begins=begins, ends=begins + DAY)[0].values()
        return sum(figures.invited for figures in found)

    assert (invited(noon - DAY), invited(noon), invited(noon + DAY)) == (0, 1, 0)
    ona.set(InvitationRow, sent_at=noon)
    assert (invited(noon - DAY), invited(noon), invited(noon + DAY)) == (0, 1, 0)
    assert call.opened_at >= noon


def test_a_purged_batch_is_said_to_be_missing(ona):
    day = midnight(ona.clock())
    ona.set(Batch, purged_at=ona.clock() + 5 * DAY)
    assert figures_of(ona.database, begins=day, ends=day + DAY)[1] == 1
    assert figures_of(ona.database, begins=day - DAY, ends=day)[1] == 0
    assert figures_of(ona.database, begins=day + 6 * DAY, ends=day + 7 * DAY)[1] == 0
