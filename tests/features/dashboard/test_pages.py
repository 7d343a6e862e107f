"""What the pages show: the facts of the commands, and the buttons of those who may press them."""

from datetime import timedelta

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import Act, note
from onboarding_worker.core.database.tables import Budget, Job, Outbox, Permit
from onboarding_worker.features.dashboard.pages import audit
from onboarding_worker.features.dashboard.pages.now import Pace, need_of
from onboarding_worker.features.dashboard.rendering import ago, in_words, marked, segments
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.store.added_lines import all_added
from onboarding_worker.reporting.store.processes import Running
from onboarding_worker.reporting.waits import Wait, of_bus, of_country, of_webhooks
from tests.docs.shown import text_of
from tests.features.dashboard.conftest import USERS, audited, rows
from tests.features.dashboard.test_actions import shelf
from tests.stored.shelf import customer

__all__ = ["shelf"]
GIVEN_UP = (
    "INSERT INTO outbox (event_id, target, kind, customer_id, data, occurred_at, since, attempts, detail)"
    " VALUES ('0192f00000007000800000000000000{0}', 'subscriber/crm', 'job.failed', 'C-{0}', '{{}}', '2026-01-01',"
    " '2026-01-01', 9, 'HTTP 503')"
)
REFUSED = (
    "INSERT INTO refused_event (id, queue, reason, kind, event, size, refusals, refused_at, due_at)"
    " VALUES ('0192f000000070008000000000000000', 'onboarding.requests', 'customer_id: missing', "
    " 'onboarding.requested', '7', 412, 3, '2026-11-20', '2026-12-04')"
)
CRM = '[subscribers.crm]\nurl = "http://127.0.0.1:9/"\nkeys = [{ env = "FIRST" }]\n'


def run(site, *statements: str) -> None:
    with site.parts.database.write() as connection:
        for statement in statements:
            connection.execute(sa.text(statement))


async def test_the_first_page_answers_whether_a_person_must_act(site, ona, shelf, clock):
    assert (await ona.get("/")).title == "Nothing is due, and no process is working."

    number = shelf.add(customer("C-1"), customer("C-2"))
    all_added(shelf.batches, number, now=clock())
    first = await ona.get("/")

    assert first.title == "One thing needs you."
    assert "No worker: no process is working, and work is due for kyc" in first.words
    assert "2 waiting" in first.words
    assert "no end yet no process is working" in first.words
    assert {f"/dashboard/do/pause?batch={number}&from=now", f"/dashboard/batches/{number}"} <= set(first.links)


async def test_without_a_process_it_names_the_paused_account_that_rows_wait_for(site, ona, shelf, clock):
    all_added(shelf.batches, shelf.add(customer("C-1")), now=clock())
    shelf.set(Budget, Budget.name == "kyc", blocked_until=clock() + timedelta(hours=1))

    assert (await ona.get("/")).title == "Rows wait for kyc, and no process is working."


async def test_it_shows_who_works_and_by_when_it_is_done(site, ona, shelf, clock):
    all_added(shelf.batches, shelf.add(customer("C-1")), now=clock())
    site.parts.processes.started("p", Running("up", "desk", 77, "0.1.0", None, clock(), clock()))

    first = await ona.get("/")

    assert first.title == "Nothing is stuck."
    assert "1 process at work" in first.words
    assert "done by" in first.words
    assert "up desk 77 0.1.0" in first.words
    assert "last seen" not in first.words

    clock.advance(seconds=12)
    assert "last seen 12 s ago" in (await ona.get("/")).words


async def test_the_scheduler_is_among_the_processes_while_its_wake_ups_come(site, ona, clock):
    site.parts.processes.note_wake_up(now=clock())
    clock.advance(seconds=2)
    assert "beat last wake-up 12:00:00 2 seconds ago" in (await ona.get("/")).words

    clock.advance(minutes=1)
    assert "last wake-up" not in (await ona.get("/")).words


async def test_all_pages_have_one_word_for_rows_that_wait_for_a_correction(site, ona, shelf, clock):
    number = shelf.add(customer("C-1"), customer("C-2"))
    all_added(shelf.batches, number, now=clock())
    site.parts.processes.started("p", Running("up", "desk", 77, "0.1.0", None, clock(), clock()))
    shelf.set(Job, Job.row == 2, state="failed", reason="bad_input", due_at=None)

    first = await ona.get("/")

    waits = "1 row waits for a correction"
    assert first.title == f"Nothing is stuck; {waits}."
    assert waits in first.words.replace(first.title, "")
    assert f"0 of 2 out, {waits}" in (await ona.get(f"/dashboard/batches/{number}")).words


async def test_the_quickstart_quotes_what_the_page_says_after_its_run(site, ona, shelf, clock):
    all_added(shelf.batches, shelf.add(customer("C-1"), customer("C-2")), now=clock())
    shelf.set(Job, Job.row == 2, state="failed", reason="bad_input", due_at=None)
    shelf.set(Job, Job.row == 3, state="invited", due_at=None)

    said = (await ona.get("/")).title.rstrip(".")

    assert f"`{said}`" in " ".join(text_of("start/quickstart.md").split())


async def test_held_rows_lead_to_the_page_of_their_batch(site, ona, shelf):
    number = shelf.add(customer("C-1"))
    shelf.set(Job, Job.batch_id == number, state="held", reason="unknown", due_at=None)

    first = await ona.get("/")

    assert f"batch {number} (list.csv): 1 row waits for a decision" in first.words
    assert f"/dashboard/batches/{number}" in first.links


async def test_a_row_of_a_batch_waits_for_what_the_report_says(site, ona, shelf, clock):
    number = shelf.add(customer("C-1"))
    shelf.set(Job, Job.batch_id == number, reason="quiet_hours", due_at=clock() + timedelta(hours=9))
    assert "in 9 hours" in (await ona.get(f"/dashboard/batches/{number}")).words

    shelf.set(Budget, Budget.name == "kyc", stopped_at=clock(), stop_reason="HTTP 401")
    stopped = await ona.get(f"/dashboard/batches/{number}")
    assert "the account or the sender is stopped kyc: HTTP 401" in stopped.words
    assert "in 9 hours" not in stopped.words

    Decisions(site.parts.database).pause(number, by="ann", now=clock())
    paused = await ona.get(f"/dashboard/batches/{number}")
    assert f"batch {number}: paused by ann" in paused.words
    assert "in 9 hours" not in paused.words


async def test_a_live_part_is_the_part_alone_and_the_same_as_in_the_page(ona):
    page, part = await ona.get("/"), await ona.get("/", HX_Request="true")

    assert part.text.strip().startswith('<div class="head">')
    assert "<html" not in part.text
    assert part.text.strip() in page.text


async def test_batches_are_shown_in_pages(ona, shelf):
    for number in range(35):
        shelf.add(customer(f"C-{number}"), batch=shelf.batch(f"list-{number}.csv"))

    first = await ona.get("/dashboard/batches")
    second = await ona.get(next(link for link in first.links if "from=" in link))

    assert "list-34.csv" in first.words
    assert "list-4.csv" not in first.words
    assert "list-4.csv" in second.words
    assert "list-5.csv" not in second.words
    assert (await ona.get("/dashboard/batches?from=999999999999")).status == 200


async def test_accounts_have_their_limits_and_credits_once_for_each_budget(ona):
    page = await ona.get("/dashboard/accounts")

    accounts = page.words.partition("action")[2]
    assert "kyc, mute, twin" in accounts.partition("one budget")[0]
    assert accounts.count("10000/hour") == 1
    assert "email" in accounts


async def test_all_calls_in_flight_are_no_alarm(site, ona, clock):
    most = site.parts.budget_rules.accounts["kyc"].concurrency
    permits = sa.insert(Permit).values(budget="kyc", owner="p", permits=most, until=clock() + timedelta(hours=1))
    with site.parts.database.write() as connection:
        connection.execute(permits)

    page = await ona.get("/dashboard/accounts")

    assert f"{most} of {most}" in page.words
    assert 'class="used full"' not in page.text


async def test_a_bar_is_filled_from_the_left_by_what_is_done(ona, shelf):
    shelf.add(customer("C-1"))
    shelf.issue()
    shelf.send()
    shelf.add(customer("C-2"), batch=1, first_row=3)

    page = await ona.get("/dashboard/batches/1")

    assert page.text.index('<rect class="fill-invited" x="0.0"') < page.text.index('<rect class="fill-waiting"')


async def test_events_that_were_given_up_are_published_again(open_site, enter, site):
    other = await open_site(keys=USERS + CRM)
    run(other, GIVEN_UP.format(1), GIVEN_UP.format(2), REFUSED)
    ona = await enter("ona", other)

    page = await ona.get("/dashboard/outgoing")
    assert "job.failed of C-1" in page.words
    assert "onboarding.requests.dead: 1 event" in page.words
    assert "customer_id: missing" in page.words
    one = next(link for link in page.links if "number=" in link)
    assert (await ona.do(one)).words.count("1 event will be published again.") == 1
    done = await ona.do("/dashboard/do/outbox-retry?target=subscriber/crm", reason="their server is back")

    assert "1 event will be published again." in done.words
    assert all(due_at for (due_at,) in rows(other, Outbox.due_at))
    actor, action, _, reason = audited(other)[-1]
    assert (actor, action) == ("ona (operator), dashboard", "events outgoing retry")
    assert reason.endswith("their server is back")


async def test_the_audit_log_is_searched_and_turned_over(site, ona, clock, monkeypatch):
    monkeypatch.setattr(audit, "SHOWN", 3)
    with site.parts.database.write() as connection:
        for number in range(5):
            at = clock() + timedelta(days=number)
            note(connection, f"batch {number}", now=at, reason="paused", act=Act("vita (1000) at desk", "pause"))
        note(connection, "customer C-1%", now=clock(), act=Act("signup", "customer.erased"))

    first = await ona.get("/dashboard/audit?action=pause")
    older = await ona.get(next(link for link in first.links if "before=" in link))

    assert [f"batch {number}" in first.words for number in range(5)] == [False, False, True, True, True]
    assert [f"batch {number}" in older.words for number in range(5)] == [True, True, False, False, False]
    assert "customer C-1%" not in first.words
    assert "customer C-1%" in (await ona.get("/dashboard/audit?subject=customer+C-1%25")).words
    assert "no such entry" in (await ona.get("/dashboard/audit?subject=customer+C%25_")).words
    day = f"{clock():%Y-%m-%d}"
    of_a_day = await ona.get(f"/dashboard/audit?since={day}&until={day}&action=pause")
    assert [f"batch {number}" in of_a_day.words for number in range(5)] == [True, False, False, False, False]
    for odd in ("since=2026-13-99", "until=9999-12-31", "before=x", "actor=%00", "actor=" + "x" * 5000):
        assert (await ona.get(f"/dashboard/audit?{odd}")).status == 200


async def test_the_chain_is_checked_by_an_operator(site, ona, vita, clock):
    with site.parts.database.write() as connection:
        note(connection, "batch 1", now=clock(), act=Act("vita", "pause"))

    whole = await ona.get("/dashboard/audit/check")
    assert whole.title == "The log is whole."
    assert (await vita.get("/dashboard/audit/check")).status == 403


def test_what_needs_a_person_has_the_button_of_its_command(subtests):
    for command, action, page in [
        ("onboard account resume kyc", "/dashboard/do/account-resume?name=kyc", ""),
        ("onboard resume 7", "/dashboard/do/resume?batch=7&from=now", ""),
        ("onboard resume --all", "/dashboard/do/go-on", ""),
        ("onboard report 7", "", "/dashboard/batches/7"),
        ("onboard account list", "", "/dashboard/accounts"),
        ("onboard events outgoing list", "", "/dashboard/outgoing"),
        ("onboard events dead list", "", "/dashboard/outgoing#dead"),
        ("onboard import 'my list.csv'", "", ""),
    ]:
        with subtests.test(command=command, action=action, page=page):
            need = need_of(Wait("batch", "7", "why", command))

            assert (need["action"], need["page"], need["command"]) == (action, page, command)


def test_what_has_no_name_is_named_by_its_kind():
    assert [need_of(one)["about"] for one in of_webhooks(2, None)] == ["Webhooks"]
    assert [need_of(one)["about"] for one in of_bus([], ["requests"], unwritable="")] == ["No bus"]


def test_two_targets_with_the_same_command_have_an_id_each():
    names = ("subscriber/crm", "bus")
    crm, bus = (need_of(Wait("target", name, "why", "onboard events outgoing list")) for name in names)

    assert (crm["id"], bus["id"]) == ("need-events-outgoing-list-subscriber/crm", "need-events-outgoing-list-bus")


def test_texts_to_two_countries_have_an_id_each_and_lead_to_a_page_that_there_is():
    needs = [need_of(of_country(country, 40, 2)) for country in ("LT", "EE")]

    assert [need["id"] for need in needs] == ["need-report-latest-LT", "need-report-latest-EE"]
    assert {need["page"] for need in needs} == {"/dashboard/batches"}


def test_the_pace_is_the_growth_of_the_last_seconds():
    pace = Pace()

    assert pace.each_second({"1": 100}, 0.0) == {}
    assert pace.each_second({"1": 140, "2": 9}, 2.0) == {"1": 20.0}
    assert pace.each_second({"1": 140, "2": 19}, 12.0) == {"1": 0.0, "2": 1.0}
    assert pace.each_second({"1": 0}, 13.0) == {"1": 0.0}


def test_times_are_said_in_one_unit(clock):
    now = clock()

    assert [ago(now + timedelta(seconds=span), now) for span in (-1, -30, -100, 5400, 7300, 200_000)] == [
        "now",
        "30 seconds ago",
        "2 minutes ago",
        "in 2 hours",
        "in 2 hours",
        "in 2 days",
    ]
    assert in_words(timedelta(seconds=1)) == "1 second"


def test_a_bar_has_the_parts_that_are_there():
    assert segments({"waiting": 1, "working": 0, "invited": 3}) == [
        ("waiting", 1, 0.0, 25.0),
        ("invited", 3, 25.0, 75.0),
    ]
    assert segments({"waiting": 0}) == []


def test_in_a_sentence_commands_are_code_and_times_are_times():
    assert marked("<b>; `onboard resume 1`, until 2026-11-20 14:03 UTC or 2026-11-20T14:03:07Z") == (
        "&lt;b&gt;; <code>onboard resume 1</code>,"
        ' until <time datetime="2026-11-20T14:03Z">2026-11-20 14:03 UTC</time>'
        ' or <time datetime="2026-11-20T14:03:07Z">2026-11-20T14:03:07Z</time>'
    )


async def test_a_wrong_address_is_a_page_in_a_browser_and_a_problem_elsewhere(ona):
    page, problem = await ona.get("/nosuch", Accept="text/html,*/*;q=0.8"), await ona.get("/nosuch")

    assert (page.status, page.title) == (404, "Not found")
    assert "/" in page.links
    assert (problem.status, problem.headers["Content-Type"].partition(";")[0]) == (404, "application/problem+json")


async def test_a_batch_is_found_by_a_part_of_its_name_or_its_number(site, shelf, ona):
    shelf.add(customer("C-1"), batch=shelf.batch(name="spring.csv"))
    second = shelf.add(customer("C-2"), batch=shelf.batch(name="autumn <b>.csv"))

    found = [(await ona.get(f"/dashboard/batches?q={q}")).words for q in ("AUTUMN", str(second), "%3Cb%3E", "winter")]

    assert ["autumn <b>.csv" in words for words in found] == [True, True, True, False]
    assert not any("spring" in words for words in found)
