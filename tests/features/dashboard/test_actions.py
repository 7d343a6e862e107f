"""What the buttons do: the same as the commands, with a reason and a name in the audit log."""

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Batch, Budget, Job
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.features.dashboard.pages import batch_actions
from onboarding_worker.features.dashboard.site import why_unfit
from tests.features.dashboard.conftest import audited, rows
from tests.features.dashboard.visitor import FROM_HERE
from tests.stored.shelf import Shelf, customer

OPERATOR = "ona (operator), dashboard"


@pytest.fixture
def shelf(site, clock) -> Shelf:
    return Shelf(site.parts.database, site.parts.keyring, clock)


@pytest.fixture
def batch(shelf) -> int:
    """A batch of two rows that wait."""
    return shelf.add(customer("C-1"), customer("C-2"))


def put(site, table, **values) -> None:
    with site.parts.database.write() as connection:
        connection.execute(sa.update(table).values(**values))


async def test_a_pause_says_what_it_does_asks_why_and_has_a_name_on_it(site, ona, batch):
    asked = await ona.get(f"/dashboard/do/pause?batch={batch}")
    assert asked.title == f"Pause batch {batch}, list.csv?"
    assert "Calls in flight are finished first." in asked.words

    done = await ona.do(f"/dashboard/do/pause?batch={batch}", reason="the template was wrong")

    assert (done.status, done.path) == (200, f"/dashboard/batches/{batch}")
    assert f"Batch {batch} is paused: 2 rows wait for a session or its message." in done.words
    assert rows(site, Batch.pause_cause) == [("person",)]
    assert audited(site)[-1] == (OPERATOR, "pause", f"batch {batch}", "paused; the template was wrong")
    # The page says by whom, when and why. What was done is said once.
    page = await ona.get(f"/dashboard/batches/{batch}")
    assert "Paused by ona (dashboard), 2026-11-20T12:00:00Z: the template was wrong" in page.words
    assert "is paused: 2 rows" not in page.words


async def test_a_resume_wakes_the_workers(site, ona, batch):
    await ona.do(f"/dashboard/do/pause?batch={batch}")

    done = await ona.do(f"/dashboard/do/resume?batch={batch}")

    assert f"Batch {batch} goes on: 2 rows wait for a session or its message." in done.words
    assert rows(site, Batch.pause_cause) == [("",)]
    assert WakeUp.issue("kyc") in site.woken


async def test_a_cancel_ends_the_rows(site, ona, batch):
    asked = await ona.get(f"/dashboard/do/cancel?batch={batch}")
    done = await ona.do(f"/dashboard/do/cancel?batch={batch}", reason="asked by the client")

    assert "It cancels 2 rows (2 waiting) and 2 first messages." in asked.words

    assert f"Batch {batch} is cancelled: 2 rows ended." in done.words
    assert rows(site, Job.state) == [("cancelled",), ("cancelled",)]
    assert audited(site)[-1] == (OPERATOR, "cancel", f"batch {batch}", "cancelled; asked by the client")
    assert (await ona.get(f"/dashboard/do/pause?batch={batch}")).status == 409


async def test_failed_rows_are_tried_again_and_held_rows_are_decided(site, ona, batch):
    put(site, Job, state="failed", reason="bad_input", due_at=None)
    asked = await ona.get(f"/dashboard/do/retry?batch={batch}")
    assert "2 failed rows go back to waiting" in asked.words
    await ona.do(f"/dashboard/do/retry?batch={batch}&row=2")
    assert sorted(rows(site, Job.state)) == [("failed",), ("waiting",)]

    put(site, Job, state="held", reason="unknown", due_at=None)
    asked = await ona.get(f"/dashboard/do/resolve?batch={batch}&verdict=repeat")
    assert "At worst that pays for 2 second sessions (kyc 2)" in asked.words
    await ona.do(f"/dashboard/do/resolve?batch={batch}&verdict=repeat&row=3")
    assert sorted(rows(site, Job.state)) == [("held",), ("waiting",)]
    done = await ona.do(f"/dashboard/do/resolve?batch={batch}&verdict=abandon", reason="no answer from the provider")
    assert "1 row is given up" in done.words
    assert audited(site)[-1][1::2] == ("resolve", "abandon; no answer from the provider")

    put(site, Job, state="held", reason="not_me", due_at=None)
    swept = await ona.get(f"/dashboard/do/resolve?batch={batch}&verdict=repeat")
    assert (swept.status, "2 rows stay held: a visitor of the link's page" in swept.words) == (409, True)


async def test_after_a_decision_the_page_of_the_batch_shows_what_is_left_to_decide(site, ona, batch):
    put(site, Job, state="held", reason="unknown", due_at=None)
    assert "held 2 rows" in (await ona.get(f"/dashboard/batches/{batch}")).words

    one_left = await ona.do(f"/dashboard/do/resolve?batch={batch}&verdict=abandon&row=2")
    assert ("held 1 row:" in one_left.words, "held 2 rows" in one_left.words) == (True, False)
    none_left = await ona.do(f"/dashboard/do/resolve?batch={batch}&verdict=abandon")
    assert "What needs a person" not in none_left.words


async def test_some_rows_are_chosen_as_the_page_copies_them(site, ona, shelf, batch):
    shelf.add(*map(customer, ("C-3", "C-4", "C-5")), batch=batch, first_row=4)
    put(site, Job, state="held", reason="unknown", due_at=None)
    asked = await ona.get(f"/dashboard/do/resolve?batch={batch}&verdict=abandon&row=2,4-5")
    assert "3 held rows (rows 2, 4-5) are cancelled" in asked.words

    # What is typed is read again before it is done.
    again = await ona.post("/dashboard/do/resolve", asked.form | {"row": "2, 6", "reason": "no answer"})
    assert (again.status, again.title) == (422, f"Give up 2 held rows of batch {batch}, list.csv?")
    await ona.post("/dashboard/do/resolve", again.form | {"row": "2, 6", "reason": "no answer"})

    assert {row for row, state in rows(site, Job.row, Job.state) if state == "cancelled"} == {2, 6}
    assert audited(site)[-1][1:] == ("resolve", f"batch {batch} rows", "2, 6; abandon; no answer")
    by_row = [(await ona.get(f"/dashboard/customers/C-{number}")).words for number in (1, 2, 5)]
    assert ["resolve on batch" in words for words in by_row] == [True, False, True]
    refused = await ona.get(f"/dashboard/do/resolve?batch={batch}&verdict=abandon&row=2,x")
    assert (refused.status, "expected row numbers, as in 3,7,12-20" in refused.words) == (409, True)


@pytest.mark.parametrize("typed", ["2,\u00a06", "2,\t6", "2,\u20096", "\ufeff2, 6\u200b"])
async def test_rows_that_are_copied_with_other_spaces_are_these_rows_and_not_all(site, ona, shelf, batch, typed):
    shelf.add(*map(customer, ("C-3", "C-4", "C-5")), batch=batch, first_row=4)
    put(site, Job, state="held", reason="unknown", due_at=None)
    asked = await ona.get(f"/dashboard/do/resolve?batch={batch}&verdict=abandon")
    assert "5 held rows are cancelled" in asked.words

    again = await ona.post("/dashboard/do/resolve", asked.form | {"row": typed, "reason": "no answer"})

    assert (again.status, again.title) == (422, f"Give up 2 held rows of batch {batch}, list.csv?")
    assert rows(site, Job.state) == [("held",)] * 5


@pytest.mark.parametrize(
    ("came_from", "back"),
    [("now", "/"), ("", ""), ("https://evil.example", ""), ("//evil.example", ""), ("/dashboard/audit", "")],
)
async def test_an_action_leads_back_to_a_page_of_ours_alone(ona, batch, came_from, back):
    asked = await ona.get(f"/dashboard/do/pause?batch={batch}&from={came_from}")
    back = back or f"/dashboard/batches/{batch}"
    assert f'<a class="button" href="{back}">Leave it</a>' in asked.text

    done = await ona.post("/dashboard/do/pause", asked.form | {"reason": "because of it"}, follow=False)

    assert (done.status, done.headers["Location"]) == (303, back)


async def test_a_stopped_account_is_tried_again(site, ona, shelf, clock):
    put(site, Budget, stopped_at=clock(), stop_reason="bad credentials")
    first = await ona.get("/")
    assert "account kyc" in first.words
    assert "/dashboard/do/account-resume?name=kyc" in first.links

    done = await ona.do("/dashboard/do/account-resume?name=kyc", reason="the key was renewed")

    assert "kyc is tried again with a single call: its stop ended." in done.words
    assert done.path == "/dashboard/accounts"
    assert (OPERATOR, "account resume", "budget kyc", "stop ended; the key was renewed") in audited(site)


async def test_everything_stops_and_goes_on(site, ona, batch):
    stopped = await ona.do("/dashboard/do/stop", reason="wrong template")

    assert "Everything is stopped. No call was in flight." in stopped.words
    assert f"everything was stopped by {OPERATOR}" in stopped.words
    assert audited(site)[-1] == (OPERATOR, "stop", "everything", "wrong template")
    assert "/dashboard/do/go-on" in stopped.links
    await ona.do("/dashboard/do/go-on", reason="the template is right now")
    assert audited(site)[-1] == (OPERATOR, "resume", "everything", "resumed; the template is right now")
    assert site.parts.emergency_stops.find() is None


@pytest.mark.parametrize("name", ["vita", "desk"])
async def test_only_an_operator_decides_about_batches(site, visit, batch, name):
    person = visit()
    page = await person.log_in(name)
    assert not any("/dashboard/do/" in link for link in page.links)

    asked = await person.get(f"/dashboard/do/pause?batch={batch}")
    tried = await person.post("/dashboard/do/pause", page.form | {"batch": str(batch), "reason": "because"})

    assert (asked.status, tried.status) == (409, 409)
    assert "needs the role operator" in asked.words
    assert rows(site, Batch.pause_cause) == [("",)]


@pytest.mark.parametrize(
    ("headers", "changes"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, {}),
        ({}, {}),
        ({"Origin": "https://evil.example"}, {}),
        (FROM_HERE, {"token": "0" * 64}),
        (FROM_HERE, {"token": ""}),
    ],
)
async def test_a_form_of_another_site_changes_nothing(site, ona, batch, headers, changes):
    asked = await ona.get(f"/dashboard/do/pause?batch={batch}")

    form = asked.form | {"reason": "because"} | changes
    refused = await ona.post("/dashboard/do/pause", form, headers=headers)

    assert (refused.status, refused.title) == (403, "Not done")
    assert rows(site, Batch.pause_cause) == [("",)]


async def test_a_link_alone_changes_nothing(site, ona, batch):
    await ona.get(f"/dashboard/do/pause?batch={batch}&reason=because")

    assert rows(site, Batch.pause_cause) == [("",)]


async def test_what_has_changed_since_the_page_was_opened_is_asked_again(site, ona, shelf, batch):
    put(site, Job, state="held", reason="unknown", due_at=None)
    asked = await ona.get(f"/dashboard/do/resolve?batch={batch}&verdict=repeat")
    shelf.add(customer("C-3"), batch=batch, first_row=4)
    put(site, Job, state="held", reason="unknown", due_at=None)

    again = await ona.post("/dashboard/do/resolve", asked.form | {"reason": "looked up"})

    assert (again.status, again.title) == (422, f"Make the calls of 3 held rows of batch {batch}, list.csv again?")
    assert "has changed since you opened the page" in again.words
    assert rows(site, Job.state) == [("held",)] * 3
    agreed = await ona.post("/dashboard/do/resolve", again.form | {"reason": "looked up"})
    assert agreed.path == f"/dashboard/batches/{batch}"
    assert rows(site, Job.state) == [("waiting",)] * 3


async def test_who_agreed_to_sessions_agreed_to_fewer_but_not_to_more(site, ona, shelf, batch):
    await ona.do(f"/dashboard/do/pause?batch={batch}", reason="the template was wrong")
    asked = await ona.get(f"/dashboard/do/resume?batch={batch}")

    shelf.add(customer("C-3"), batch=batch, first_row=4)
    more = await ona.post("/dashboard/do/resume", asked.form | {"reason": "it is right"})
    put(site, Job, state="failed", due_at=None)
    fewer = await ona.post("/dashboard/do/resume", asked.form | {"reason": "it is right"})

    assert (more.status, fewer.path) == (422, f"/dashboard/batches/{batch}")


@pytest.mark.parametrize("seen", ["", "[", "[]", "[1, 2]", '["", {"idenfy": "9"}]', "[" * 5_000, '[["x"], null]'])
async def test_a_page_that_was_never_shown_agrees_to_nothing(site, ona, batch, seen):
    await ona.do(f"/dashboard/do/pause?batch={batch}", reason="the template was wrong")
    asked = await ona.get(f"/dashboard/do/resume?batch={batch}")

    answer = await ona.post("/dashboard/do/resume", asked.form | {"reason": "it is right", "seen": seen})

    assert (answer.status, rows(site, Batch.pause_cause)) == (422, [("person",)])


async def test_a_reason_that_is_none_or_names_a_person_is_asked_for_again(site, ona, batch, subtests):
    for reason in ["", "  ", "ok", "x" * 121, "ona@example.com asked", "call +370 600 00001", "see https://x"]:
        with subtests.test(reason=reason):
            answer = await ona.do(f"/dashboard/do/pause?batch={batch}", reason=reason)

            assert answer.status == 422
            assert rows(site, Batch.pause_cause) == [("",)]


def test_a_reason_may_have_short_numbers():
    assert why_unfit("batch 7 of 2026-11-20 was wrong") == ""


async def test_what_names_no_batch_is_not_there(ona, subtests):
    for batch in ["", "0", "-1", "1e9", "9" * 30, "٣", "latest", "1\n", "x"]:
        with subtests.test(batch=batch):
            assert (await ona.get(f"/dashboard/do/pause?batch={batch}")).status == 404


async def test_a_name_of_a_list_is_text(site, ona, shelf):
    number = shelf.add(customer("C-1"), batch=shelf.batch("<img src=x onerror=alert(1)>.csv"))

    for path in ("/", f"/dashboard/do/pause?batch={number}"):
        page = await ona.get(path)
        assert "<img" not in page.text
        assert "<img src=x onerror=alert(1)>.csv" in page.words


def test_each_action_is_a_command_that_there_is():
    from onboarding_worker.cli.registry import COMMANDS
    from onboarding_worker.features.dashboard.pages import PART

    assert {action.command.split()[0] for action in PART.actions} <= COMMANDS.keys()
    assert len({action.name for action in PART.actions}) == len(PART.actions) > len(batch_actions.ACTIONS)
