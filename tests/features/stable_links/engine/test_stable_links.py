"""Our own links, from the message to the session: the store and the whole worker, in virtual time."""

import asyncio
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Audit, InvitationRow, Job, SessionRow, StableLink
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.rows import usage
from onboarding_worker.core.rows.own_links import forget
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.features.stable_links.landing import Asks, Finished, Gone, LandingRules, Lead, Over, Press, Wait
from onboarding_worker.features.stable_links.routes import landings_of
from onboarding_worker.features.stable_links.store.landings import Landings
from onboarding_worker.reporting.store.report_rows import with_own_links
from onboarding_worker.settings.policies import stable_links
from tests.simulated.two_brands import ASKED, asked, brands, bring_in, two_brands
from tests.simulated.world import customer
from tests.stored.row_locks import waiting
from tests.stored.shelf import facts_about
from tests.suite.of_features import needs

AHEAD = '[web]\nbase_url = "https://onboard.example.com"\n[links]\nmode = "stable"'
ON_CLICK = AHEAD + '\nissue = "on-click"'
DAY = timedelta(days=1)


@pytest.fixture
def ahead(make):
    return make(sender=AHEAD)


@pytest.fixture
def on_click(make):
    return make(sender=ON_CLICK, follow_up='most = 2\nreminders = ["2 days", "10 days"]')


def secrets_of(world):
    """The secret parts of the links in the messages, by customer."""
    messages = sorted(world.senders["email"].messages, key=lambda message: message.to)
    return [found for one in messages for found in re.findall(r"/s/([\w-]{24})(?![\w-])", one.text)]


def see(world, secret):
    return landings_of(world.parts).see(secret, now=world.clock())


def ask(world, secret):
    return landings_of(world.parts).ask(secret, now=world.clock())


def visited(world, secret, *, opened=False):
    landings_of(world.parts).visited(see(world, secret), opened=opened, now=world.clock())


async def got(world, secret):
    """What a customer finds who has asked, and for whom the worker has worked."""
    ask(world, secret)
    await world.work()
    return see(world, secret).decision


async def pass_time(span):
    await asyncio.sleep(span.total_seconds())


async def later(world, span):
    """The time has passed, and the worker has worked."""
    await pass_time(span)
    await world.work()


async def sent(world, *names, **how):
    world.add(*(customer(name, **how) for name in names or ("A",)))
    await world.work()
    return secrets_of(world)


async def test_a_link_ends_before_the_data_of_its_customer_is_erased(make):
    world = make(sender=f'{AHEAD}\n[retention]\npersonal = "20 days"')
    await sent(world)
    (link,) = world.rows(StableLink)
    assert link.ends_at <= world.clock() + 20 * DAY


async def test_a_message_carries_our_own_link_which_leads_to_the_session(ahead):
    (secret,) = await sent(ahead)
    (message,) = ahead.senders["email"].messages
    seen = see(ahead, secret)
    assert f"https://onboard.example.com/s/{secret}" in message.text
    assert seen.link not in message.text
    assert (seen.decision, seen.account) == (Lead(), "kyc")
    assert secret not in repr(seen)


async def test_each_customer_has_another_link_of_at_least_128_bits(ahead):
    first, second = await sent(ahead, "A", "B")
    assert first != second
    assert len(first) * 6 >= 128


async def test_the_database_holds_neither_the_link_nor_what_makes_it(ahead):
    (secret,) = await sent(ahead)
    row = ahead.row(StableLink)
    stored = repr(dict(row._mapping)).encode() + row.encrypted
    assert secret.encode() not in stored


async def test_a_session_that_ended_is_not_replaced_before_the_customer_comes(ahead):
    (secret,) = await sent(ahead)
    await later(ahead, 8 * DAY)
    assert [row.state for row in ahead.rows(SessionRow)] == ["expired"]
    assert ahead.job("A").state == "invited"
    assert see(ahead, secret).decision == Press(replaces=True)
    # A scanner comes again after weeks, too.
    visit = landings_of(ahead.parts).ask(secret, by=Asks.VISIT, now=ahead.clock())
    assert (visit.decision, ahead.job("A").state) == (Press(replaces=True), "invited")


@pytest.mark.both_databases
@pytest.mark.postgresql_alone  # SQLite has one writer at a time
async def test_customers_who_come_at_once_get_no_more_sessions_than_the_account_may_replace_in_a_day(make):
    ahead = make(sender=AHEAD)
    (secret,) = await sent(ahead)
    await later(ahead, 8 * DAY)
    now, seen, rules = ahead.clock(), [], LandingRules(most=2, per_day=1)
    landings = Landings(ahead.parts.database, ahead.parts.keyring, rules)
    with waiting(ahead.parts.database, lambda: seen.append(landings.ask(secret, now=now))) as connection:
        usage.reissues_so_far(connection, ["kyc"], now.date())
        usage.count_reissues(connection, {"kyc": 1}, now.date())
    assert [one.decision for one in seen] == [Over(Reason.DAY_CAP)]


async def test_a_customer_who_comes_to_an_ended_session_gets_a_fresh_one_and_no_message(make):
    ahead = make(sender=AHEAD)
    (secret,) = await sent(ahead)
    await later(ahead, 8 * DAY)
    asked = ask(ahead, secret)
    assert isinstance(asked.decision, Wait)
    assert [str(wake_up) for wake_up in asked.due] == ["issue:kyc"]
    await ahead.work()
    assert see(ahead, secret).decision == Lead()
    assert [row.state for row in ahead.rows(SessionRow)] == ["expired", "waiting"]
    job = ahead.job("A")
    assert (job.state, job.reissues, job.link_requested_at) == ("invited", 1, None)
    assert len(ahead.senders["email"].messages) == 1


async def test_a_customer_who_comes_before_the_sweep_does_gets_one_at_once(ahead):
    (secret,) = await sent(ahead)
    await pass_time(7 * DAY + timedelta(seconds=1))
    assert isinstance(ask(ahead, secret).decision, Wait)
    await ahead.work()
    assert [row.state for row in ahead.rows(SessionRow)] == ["expired", "waiting"]


async def test_a_result_may_still_come_for_a_session_that_was_visited(ahead):
    (secret,) = await sent(ahead)
    visited(ahead, secret)
    await pass_time(7 * DAY + timedelta(seconds=1))
    decision = ask(ahead, secret).decision
    assert isinstance(decision, Wait)
    assert decision.until is not None
    assert len(ahead.rows(SessionRow)) == 1


async def test_a_customer_whose_session_before_is_in_review_is_told_so_and_led_to_no_other(ahead):
    (secret,) = await sent(ahead)
    await later(ahead, 8 * DAY)
    assert await got(ahead, secret) == Lead()
    before, _ = ahead.rows(SessionRow)
    ahead.set(SessionRow, SessionRow.id == before.id, result="review")
    assert [look(ahead, secret).decision for look in (see, ask)] == [Finished()] * 2
    ahead.set(SessionRow, SessionRow.id == before.id, result="")  # it ended without a verdict
    assert see(ahead, secret).decision == Lead()


async def test_the_caps_hold_at_landing(ahead):
    (secret,) = await sent(ahead)
    for _ in range(2):
        await later(ahead, 8 * DAY)
        assert await got(ahead, secret) == Lead()
    await later(ahead, 8 * DAY)
    assert ask(ahead, secret).decision == Over(Reason.REISSUES_SPENT)
    assert len(ahead.rows(SessionRow)) == 3


async def test_a_customer_who_never_comes_lapses_when_the_link_ends(ahead):
    (secret,) = await sent(ahead)
    for _ in range(2):
        await later(ahead, 31 * DAY)
    assert (ahead.job("A").state, ahead.job("A").reason) == ("lapsed", "link_ended")
    assert see(ahead, secret).decision == Gone()


async def test_a_finished_customer_is_told_so_and_others_learn_nothing(ahead):
    first, second, third = await sent(ahead, "A", "B", "C")
    ahead.set(Job, Job.customer_id == "A", state="completed")
    ahead.set(Job, Job.customer_id == "B", state="cancelled")
    ahead.set(StableLink, StableLink.customer_id == "C", revoked_at=ahead.clock())
    assert see(ahead, first).decision == Finished()
    assert [ask(ahead, one).decision for one in (second, third, "x" * 24, "short", "")] == [Gone()] * 5


async def test_an_erased_customer_has_no_link(ahead):
    (secret,) = await sent(ahead)
    with ahead.parts.database.write() as connection:
        forget(connection, ["A"])
    assert see(ahead, secret).decision == Gone()


async def test_bought_on_click_nothing_is_bought_until_the_press(on_click):
    (secret,) = await sent(on_click)
    assert on_click.http.requests == []
    assert (on_click.job("A").state, on_click.budget().credits_used) == ("invited", 0)
    assert see(on_click, secret).decision == Press()
    assert [row.state for row in on_click.rows(SessionRow)] == ["deferred"]
    assert await got(on_click, secret) == Lead()
    assert len(on_click.http.requests) == 1
    job = on_click.job("A")
    assert (job.state, job.reissues) == ("invited", 0)
    assert len(on_click.senders["email"].messages) == 1


@needs("rehearsal")
@needs("service_desk")
async def test_a_row_whose_session_is_not_bought_is_no_session_in_any_count(on_click):
    from onboarding_worker.features.rehearsal.store.happenings import happenings
    from onboarding_worker.features.service_desk.command import _facts

    on_click.add(customer("A"), customer("B", channel=Channel.NONE))
    batch, parts = on_click.job("A").batch_id, on_click.parts
    await on_click.work()
    opened = happenings(parts.database, batch).opened
    shown = _facts(parts.contact.caps, facts_about(parts, "A"))
    assert parts.facts.counts(batch).bought == 1
    assert [one.customer_id for one in opened] == ["B"]
    assert (shown["credits"], shown["reissues"]["used"]) == ({}, {})


async def test_the_forecast_of_a_batch_waits_for_no_call_that_is_not_made(make):
    forecasts = []
    for links, names in ((AHEAD, "ABC"), (ON_CLICK, "DEF")):
        world = make(sender=links, limits=["1/hour"])
        world.add(*(customer(name) for name in names))
        batch = world.parts.batches.find("latest")
        forecasts.append(world.parts.reporting.status(batch)["forecast"]["limited_by"])
    assert "kyc" in forecasts[0]
    assert "kyc" not in forecasts[1]


async def test_what_holds_an_account_holds_messages_before_the_click_and_the_forecast_says_so(make):
    world = make(sender=ON_CLICK, more="credits = 1")
    world.add(customer("N", channel=Channel.NONE))
    await world.work()
    world.add(customer("A"), customer("B"))
    batch = world.parts.batches.find("latest")
    before = world.parts.reporting.status(batch)["forecast"]
    await world.work()
    assert world.senders["email"].messages == []
    ends = world.parts.reporting.status(batch)["forecast"]
    assert before["finishes_at"] is ends["finishes_at"] is None
    assert "kyc is stopped" in ends["limited_by"]


async def test_two_presses_buy_one_session(on_click):
    (secret,) = await sent(on_click)
    assert [bool(ask(on_click, secret).due) for _ in range(3)] == [True, False, False]
    await on_click.work()
    await got(on_click, secret)
    assert len(on_click.http.requests) == 1


async def test_a_press_is_in_the_audit_log_with_the_customer_as_its_actor(on_click):
    (secret,) = await sent(on_click)
    ask(on_click, secret)
    query = sa.select(Audit.actor, Audit.action, Audit.subject).where(Audit.action == "link.pressed")
    with on_click.parts.database.read() as connection:
        assert connection.execute(query).all() == [("customer", "link.pressed", "customer A")]


async def test_reminders_repeat_the_same_link_whatever_became_of_the_session(on_click):
    (secret,) = await sent(on_click)
    await pass_time(timedelta(hours=1))
    await got(on_click, secret)
    await later(on_click, 2 * DAY)
    await later(on_click, 9 * DAY)  # the session has ended
    assert secrets_of(on_click) == [secret] * 3


@pytest.mark.parametrize(("sessions", "reminded"), [(2, True), (3, False)])
async def test_a_reminder_does_not_lead_to_a_page_that_can_only_say_no(make, sessions, reminded):
    world = make(sender=AHEAD, follow_up='most = 2\nreminders = ["26 days"]')
    (secret,) = await sent(world)
    for _ in range(sessions - 1):
        await later(world, 8 * DAY)
        await got(world, secret)
    assert len(world.rows(SessionRow)) == sessions
    await later(world, 27 * DAY - 8 * DAY * (sessions - 1))

    assert len(secrets_of(world)) == 1 + reminded
    (reminder,) = [row for row in world.rows(InvitationRow) if row.kind != "invitation"]
    assert reminder.reason == ("" if reminded else Reason.REISSUES_SPENT)


async def test_a_reminder_that_does_not_leave_puts_the_links_end_off_no_more(on_click):
    await sent(on_click, "A", "B")
    ends = [row.ends_at for row in on_click.rows(StableLink)]
    with on_click.parts.database.write() as connection:
        how = ("email", "a@example.org", SuppressionReason.STOP, "ops")
        suppress(connection, on_click.parts.keyring, *how, now=on_click.clock())
    await later(on_click, 2 * DAY)
    put_off = {row.customer_id: row.ends_at - ends[0] for row in on_click.rows(StableLink)}
    assert put_off["A"] == timedelta(0)
    assert put_off["B"] >= 2 * DAY


async def test_a_deferred_customer_lapses_when_the_link_ends_and_costs_nothing(on_click):
    await sent(on_click)
    for _ in range(3):
        await later(on_click, 40 * DAY)
    assert (on_click.job("A").state, on_click.job("A").reason) == ("lapsed", "link_ended")
    assert on_click.http.requests == []


def _with_own_links(world, lines):
    parts = world.parts
    links = stable_links(parts.settings)
    return with_own_links(parts.database, parts.keyring, links, lines, now=world.clock())


async def test_a_report_has_our_own_links_also_for_customers_who_get_no_message(ahead):
    ahead.add(customer("A"), customer("B", channel=Channel.NONE))
    await ahead.work()
    (sent_to_a,) = secrets_of(ahead)
    lines = ahead.parts.facts.lines(ahead.job("A").batch_id, with_links=True)
    a, b = _with_own_links(ahead, lines)
    assert a.opening.link == f"https://onboard.example.com/s/{sent_to_a}"
    assert see(ahead, b.opening.link.rpartition("/")[2]).decision == Lead()
    again = ahead.parts.facts.lines(ahead.job("A").batch_id, with_links=True)
    assert [line.opening.link for line in _with_own_links(ahead, again)] == [a.opening.link, b.opening.link]


async def test_the_report_of_a_deferred_row_shows_no_session_and_with_links_our_own(on_click):
    (secret,) = await sent(on_click)
    batch_id = on_click.job("A").batch_id
    (plain,) = on_click.parts.facts.lines(batch_id)
    lines = on_click.parts.facts.lines(batch_id, with_links=True)
    (line,) = _with_own_links(on_click, lines)
    assert (plain.state, plain.reference, plain.opening.link) == ("invited", "", "")
    assert (plain.issued_at, plain.expires_at) == (None, None)
    assert line.opening.link == f"https://onboard.example.com/s/{secret}"


@needs("service_desk")
async def test_a_resend_to_a_deferred_customer_repeats_the_link(on_click):
    from onboarding_worker.features.service_desk.opened import desk_of

    (secret,) = await sent(on_click)
    await pass_time(DAY)
    desk_of(on_click.parts).resend("A", now=on_click.clock())
    await on_click.work()
    assert secrets_of(on_click) == [secret] * 2


@needs("service_desk")
async def test_a_resend_after_the_press_does_not_call_the_same_link_a_new_one(on_click):
    from onboarding_worker.features.service_desk.opened import desk_of

    (secret,) = await sent(on_click)
    await got(on_click, secret)
    desk_of(on_click.parts).resend("A", now=on_click.clock())
    await on_click.work()
    assert secrets_of(on_click) == [secret] * 2
    first, second = on_click.senders["email"].messages
    assert first.subject == second.subject
    assert not any(row.new_link for row in on_click.rows(InvitationRow))


@needs("service_desk")
async def test_a_resend_after_the_session_has_ended_repeats_the_link_and_a_fresh_session_waits_behind_it(ahead):
    from onboarding_worker.features.service_desk.opened import desk_of

    (secret,) = await sent(ahead)
    await later(ahead, 7.5 * DAY)  # a day later retention drops the session's link
    desk = desk_of(ahead.parts)
    added = desk.resend("A", now=ahead.clock())
    assert added.expires_at == ahead.clock() + 60 * DAY  # the link's own end, not the session's
    await ahead.work()
    assert secrets_of(ahead) == [secret] * 2
    assert len(ahead.rows(SessionRow)) == 1
    assert isinstance(ask(ahead, secret).decision, Wait)
    await ahead.work()
    assert see(ahead, secret).decision == Lead()
    assert [row.state for row in ahead.rows(SessionRow)] == ["expired", "waiting"]


@needs("service_desk")
async def test_a_link_that_would_lead_nowhere_any_more_is_not_sent_again(ahead):
    from onboarding_worker.features.service_desk.case import Refused
    from onboarding_worker.features.service_desk.opened import desk_of

    (secret,) = await sent(ahead)
    for _ in range(3):
        await later(ahead, 8 * DAY)
        await got(ahead, secret)
    assert see(ahead, secret).decision == Over(Reason.REISSUES_SPENT)
    refused = desk_of(ahead.parts).resend("A", now=ahead.clock())
    assert isinstance(refused, Refused)
    assert "the customer's link ended" in refused.why


async def test_the_page_of_a_customer_who_has_finished_keeps_the_brand_that_wrote_to_them(make):
    world = make(sender=AHEAD, follow_up='most = 2\n[brand]\nname = "Example"\n[brand.nova]\nname = "Nova"')
    (secret,) = await sent(world, brand="nova")
    world.set(SessionRow, state="completed", result="approved", check_at=None)
    world.set(Job, state="completed", result="approved")
    world.add(customer("A"))  # of another list, and skipped

    assert [row.reason for row in world.rows(Job)] == ["", "already_finished"]
    assert (see(world, secret).brand, see(world, secret).decision) == ("nova", Finished())


async def test_a_session_that_a_visitor_asks_for_is_asked_for_with_what_the_row_says(make):
    world = two_brands(make, sender=ON_CLICK)
    bring_in(world, "Ona")
    await world.work()
    (secret,) = secrets_of(world)
    assert (asked(world), brands(world), see(world, secret).brand) == ([], ["nova"], "nova")
    assert await got(world, secret) == Lead()
    assert asked(world) == [ASKED | {"clientId": "Ona"}]

    later = two_brands(make, sender=ON_CLICK, rights="lists = []")
    later.clock.advance(days=8)
    assert isinstance(await got(later, secret), Wait)
    assert (later.job("Ona").reason, asked(later)) == ("right_missing", [])
