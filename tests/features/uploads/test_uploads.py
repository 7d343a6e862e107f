"""A list in the browser: from the file to its batch."""

import asyncio
import io
import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa
from openpyxl import load_workbook

from onboarding_worker.core.database.tables import (
    Audit,
    Batch,
    CustomerRow,
    Job,
    SkippedLine,
    UploadedList,
    UploadedPart,
)
from onboarding_worker.features.dashboard.contract import Asked, Refused, Sources
from onboarding_worker.features.dashboard.pages import batch
from onboarding_worker.features.dashboard.users import Person, Role, is_one_person
from onboarding_worker.features.uploads import check
from onboarding_worker.features.uploads.pages import ACTIONS
from onboarding_worker.lists.store.taken import MOST_TRIES
from tests.features.dashboard.conftest import USERS, rows
from tests.features.dashboard.visitor import HASHES, PASSWORDS, users_toml
from tests.features.uploads.conftest import GOOD, do, give, needs
from tests.suite.waiting import ENDS_WITHIN
from tests.web.site import THIRD, hash_of

APPROVE = "/dashboard/do/approve-list?list=1&version="
READ = "/dashboard/lists/1/read"
THEIRS = b"Kunde;Mail;Weg\nC-1;ona@example.com;Post\nC-2;jonas@example.com;Post\n"


def state(site):
    return [one for (one,) in rows(site, UploadedList.state)]


async def read_otherwise(visitor):
    page = await visitor.get(READ)
    return await visitor.post(READ, page.form | {"column-2": "-"})


async def test_a_list_is_checked_shown_approved_and_imported(site, ona, look):
    page = await give(ona, GOOD)
    assert (page.status, page.path) == (200, "/dashboard/lists/1")

    look(site)
    page = await ona.get("/dashboard/lists/1")
    assert "accepted 2" in page.words
    assert "rejected 1" in page.words
    assert "sessions at kyc 2 now, at most 8" in page.words
    assert "languages: en 2 (2 without a language)" in page.words
    assert "row 1" not in page.words.partition("The first message")[0]
    assert "https://verify.example.com/sample" in page.words
    assert rows(site, Batch.id) == []

    done = await do(ona, "approve-list")
    assert "is approved" in done.words
    look(site)

    assert state(site) == ["imported"]
    assert sorted(rows(site, Job.customer_id)) == [("C-1",), ("C-2",)]
    assert rows(site, SkippedLine.row) == [(4,)]
    assert rows(site, UploadedPart.id) == []
    (batch,) = rows(site, Batch.id)[0]
    assert f'href="/dashboard/batches/{batch}"' in (await ona.get("/dashboard/lists/1")).text
    log = rows(site, Audit.actor, Audit.action, Audit.reason)
    assert ("ona (operator), dashboard", "approve list", "1 of 1 agreed; asked by the branch") in log
    assert ("ona (operator), dashboard", "import", "imported") in log


async def test_a_customer_of_a_sender_that_reaches_every_customer_is_imported(open_site, enter, look):
    site = await open_site(keys=f'{USERS}[web.senders.crm]\nkeys = ["{hash_of(THIRD)}"]\ncustomers = "all"\n')
    ona = await enter("ona", site)
    for number, content in enumerate((GOOD, GOOD + b"C-4,rasa@example.com,LT\n"), start=1):
        await give(ona, content, name=f"list-{number}.csv")
        look(site)
        page = await ona.get(f"/dashboard/lists/{number}")
        (link,) = [one for one in page.links if "/do/approve-list?" in one]
        await ona.do(link, reason="asked by the branch")
        look(site)
        with site.parts.database.write() as connection:
            connection.execute(sa.update(CustomerRow).values(sender="crm"))
    second = {name for name, batch in rows(site, Job.customer_id, Job.batch_id) if batch == 2}
    assert second == {"C-1", "C-2", "C-4"}


async def test_nothing_of_a_person_is_stored_in_clear(site, ona, checked):
    stored = repr(rows(site, *UploadedList.__table__.columns) + rows(site, *UploadedPart.__table__.columns))

    assert "UploadedList" not in stored
    assert "people.csv" in stored
    for one in ("ona@", "jonas", "C-1"):
        assert one not in stored


@pytest.mark.parametrize("ours", ["email", "-"])
async def test_columns_and_words_of_another_system_are_mapped_also_to_nothing(site, ona, look, ours):
    await give(ona, THEIRS)
    look(site)
    page = await ona.get("/dashboard/lists/1")
    assert ("cannot be read yet" in page.words, "to agree" in page.words, state(site)) == (True, False, ["refused"])

    assert "--map" not in page.words
    assert READ in page.links
    form = (await ona.get(READ)).form
    page = await ona.post(READ, form | {"column-0": "customer_id", "column-1": "email", "column-2": "channel"})
    assert page.path == "/dashboard/lists/1"
    look(site)
    assert "rejected 2" in (await ona.get("/dashboard/lists/1")).words
    page = await ona.get(READ)
    assert "ours for the list's; - for none Post 2 rows" in page.words
    assert "Words that are none in channel: “Post” 2." in (await ona.get("/dashboard/lists/1")).words

    await ona.post(READ, page.form | {"word-channel-0": ours})
    look(site)
    assert "accepted 2" in (await ona.get("/dashboard/lists/1")).words
    await do(ona, "approve-list")
    look(site)
    assert sorted(rows(site, Job.customer_id)) == [("C-1",), ("C-2",)]


async def test_a_word_is_mapped_to_nothing(site, ona, look):
    await give(ona, b"customer_id,email,country\nC-1,ona@example.com,Teutonia\n")
    look(site)
    page = await ona.get(READ)
    assert "Words in country: ours for the list's; - for none" in page.words
    await ona.post(READ, page.form | {"word-country-0": "-"})
    look(site)
    page = await ona.get("/dashboard/lists/1")
    assert "accepted 1" in page.words
    assert "count" not in page.words.partition("Warnings")[2]
    await do(ona, "approve-list")
    look(site)
    assert rows(site, CustomerRow.customer_id, CustomerRow.country) == [("C-1", "")]


async def test_two_persons_must_agree_and_the_second_is_not_the_first(site_of_two, enter, look):
    users = users_toml(desk=Role.OPERATOR)
    (site_of_two.parts.settings.path.parent / "users.toml").write_text(users)
    ona, desk = await enter("ona", site_of_two), await enter("desk", site_of_two)
    await give(ona, GOOD)
    look(site_of_two)

    await do(ona, "approve-list")
    look(site_of_two)
    assert state(site_of_two) == ["checked"]
    assert (await ona.get(f"{APPROVE}1")).status == 409
    assert needs(site_of_two) == [("upload", "1 (people.csv)")]

    await do(desk, "approve-list")
    assert needs(site_of_two) == []
    look(site_of_two)
    assert state(site_of_two) == ["imported"]


async def test_a_person_who_agreed_is_not_the_second_one_by_another_log_in(site_of_two, visit, enter, look):
    again = f'[Ona]\nrole = "operator"\npassword = "{HASHES["ona"]}"\n'
    (site_of_two.parts.settings.path.parent / "users.toml").write_text(users_toml() + again)
    ona = await enter("ona", site_of_two)
    await give(ona, GOOD)
    look(site_of_two)
    await do(ona, "approve-list")

    for name in ("ona", "Ona"):
        other = visit(site_of_two)
        await other.log_in(name, PASSWORDS["ona"])
        assert (await other.get("/")).status == 200
        assert (await other.get(f"{APPROVE}1")).status == 409
    await read_otherwise(ona)  # which takes the agreement back
    look(site_of_two)
    await do(ona, "approve-list")
    assert (await ona.get(f"{APPROVE}2")).status == 409
    assert state(site_of_two) == ["checked"]


@pytest.mark.parametrize(
    ("agreed", "name", "is_one"),
    [
        ("Ona", "ona", True),
        ("Ona", "ONA", True),
        ("Ona", "oidc:Ona", True),
        ("Ona", "oidc:ona@example.com", True),
        ("oidc:Ona@example.com", "ona", True),
        ("Ona", "ona2", False),
        ("Ona", "oidc:jonas", False),
        ("Ona", "oidc:jonas@example.com", False),
        ("oidc:ona@example.com", "oidc:ona@example.org", False),
    ],
)
def test_letter_case_role_and_way_to_log_in_make_no_other_person(agreed, name, is_one):
    agreed = Person(agreed, Role.OPERATOR).actor

    assert [is_one_person(agreed, Person(name, role).actor) for role in Role] == [is_one] * len(Role)


async def test_who_agreed_must_agree_again_when_the_list_is_read_otherwise(site_of_two, enter, look):
    ona = await enter("ona", site_of_two)
    await give(ona, GOOD)
    look(site_of_two)
    await do(ona, "approve-list")

    await read_otherwise(ona)

    assert rows(site_of_two, UploadedList.agreed, UploadedList.version) == [([], 2)]


async def test_an_approval_is_for_the_version_that_was_shown(site, ona, look, checked):
    asked = await ona.get(f"{APPROVE}1")
    await read_otherwise(ona)
    look(site)
    now = await ona.get(f"{APPROVE}2")

    # Even one whose form says that the present text was read.
    done = await ona.post("/dashboard/do/approve-list", asked.form | {"seen": now.form["seen"], "reason": "asked"})

    assert done.status == 409
    assert "Since you looked, the list was read in another way." in done.words
    assert "/dashboard/lists/1" in done.links
    assert (await ona.get(f"{APPROVE}1")).status == 409  # the page of the list was open for longer
    assert state(site) == ["checked"]


async def test_a_list_that_changes_as_a_person_agrees_is_not_approved(site, ona, look, checked):
    (approve,) = [one for one in ACTIONS if one.name == "approve-list"]
    asked = Asked({"list": "1", "version": "1"}, Person("ona", Role.OPERATOR), site.clock())
    sources = Sources(site.parts)
    approve.plan(sources, asked)

    await read_otherwise(ona)
    look(site)

    with pytest.raises(Refused):
        approve.carry_out(sources, asked, "asked by the branch")
    assert state(site) == ["checked"]


async def test_a_second_click_gets_the_answer_of_the_first(site, ona, look, checked):
    (approve,) = [one for one in ACTIONS if one.name == "approve-list"]
    asked = Asked({"list": "1", "version": "1"}, Person("ona", Role.OPERATOR), site.clock())
    first, second = (approve.carry_out(Sources(site.parts), asked, "asked by the branch") for _ in range(2))
    assert first.said == second.said
    assert "is approved" in first.said
    assert len([one for one in rows(site, Audit.action) if one == ("approve list",)]) == 1
    assert "You have agreed already: it is approved." in (await ona.get(f"{APPROVE}1")).words
    jonas = replace(asked, person=Person("jonas", Role.OPERATOR))
    for too_late, why in ((approve.plan, ()), (approve.carry_out, ("too late",))):
        with pytest.raises(Refused, match="was approved"):
            too_late(Sources(site.parts), jonas, *why)


async def test_a_list_of_which_no_row_is_accepted_is_not_offered_to_be_sent(site, ona, look):
    await give(ona, b"customer_id,email,country\nC-3,no-address,LT\n")
    look(site)
    page = await ona.get("/dashboard/lists/1")
    assert "rejected 1" in page.words
    assert [one for one in page.links if "approve-list" in one] == []


async def test_a_killed_import_goes_on_with_the_same_batch(site, ona, look, checked, clock):
    await do(ona, "approve-list")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onboarding_worker.features.uploads.store.uploads.Uploads.imported", lambda *_, **__: interrupt())
        with pytest.raises(KeyboardInterrupt):
            look(site)

    look(site)
    assert state(site) == ["approved"]  # another process has it, for all that is known
    clock.advance(seconds=60)
    look(site)

    assert state(site) == ["imported"]
    assert len(rows(site, Batch.id)) == 1
    assert len(rows(site, Job.id)) == 2


async def test_a_list_whose_import_never_ended_names_its_batch_before_it_is_discarded(site, ona, look, checked, clock):
    await do(ona, "approve-list")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onboarding_worker.features.uploads.store.uploads.Uploads.imported", lambda *_, **__: interrupt())
        for _ in range(MOST_TRIES):
            with pytest.raises(KeyboardInterrupt):
                look(site)
            clock.advance(seconds=60)
    look(site)
    page = await ona.get("/dashboard/lists/1")
    assert (state(site), "its rows so far are batch 1" in page.words) == (["refused"], True)
    (discard,) = [one for one in page.links if "/do/discard-list?" in one]
    asked = await ona.get(discard)
    assert "Those that are in batch 1 stay there." in asked.words
    assert "Nothing of it was sent" not in asked.words


def interrupt():
    raise KeyboardInterrupt


async def test_the_file_of_problems_comes_back_mended(site, ona, look, checked):
    async with ona.client.get("/dashboard/lists/1/problems.csv") as answer:
        text = (await answer.read()).decode("utf-8-sig")
        assert "attachment" in answer.headers["Content-Disposition"]

    assert "C-3,no-address,LT" in text
    (who, asked) = ("ona (operator), dashboard", "problems of list")
    assert rows(site, Audit.actor, Audit.action).count((who, asked)) == 1
    assert (await ona.get("/dashboard/lists/1/problems.csv", Sec_Fetch_Site="cross-site")).status == 409
    assert rows(site, Audit.actor, Audit.action).count((who, asked)) == 1
    await give(ona, text.replace("no-address", "ada@example.com").encode(), "mended.csv")
    look(site)
    assert "accepted 1" in (await ona.get("/dashboard/lists/2")).words


async def test_a_discarded_list_leaves_nothing(site, ona, checked):
    await do(ona, "discard-list")

    assert rows(site, UploadedList.state, UploadedList.encrypted) == [("discarded", b"")]
    assert rows(site, UploadedPart.id) == []


async def test_a_list_that_no_one_decides_about_goes(site, ona, look, clock):
    await give(ona, GOOD)
    clock.advance(days=8)

    look(site)

    assert state(site) == ["discarded"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x00\x01\x02" * 50, "cannot be read"),
        (b"PK\x03\x04" + b"\0" * 100, "cannot be read"),
        (b"<html><script>alert(1)</script></html>", "cannot be read"),
        (b"customer_id,email\n", "cannot be read"),
        (b"customer_id,<b>x</b>\nC-1,2\n", "cannot be read"),
    ],
)
async def test_a_file_that_is_no_list_is_said_to_be_none(site, ona, look, content, said):
    await give(ona, content, "<b>list</b>")
    look(site)

    page = await ona.get("/dashboard/lists/1")

    assert said in page.words
    assert "<script>" not in page.text.partition("<body>")[2]
    assert "<b>" not in page.text


async def test_a_file_of_endless_rows_is_not_checked_to_its_end(site, ona, look, monkeypatch):
    monkeypatch.setattr(check, "MOST_ROWS", 2)
    await give(ona, GOOD)
    look(site)

    page = await ona.get("/dashboard/lists/1")

    assert "cannot be read" in page.words
    assert (await ona.get(f"{APPROVE}1")).status == 409


async def test_a_report_of_ours_is_not_taken(site, ona, look):
    await give(ona, b"row,customer_id,state,result,account,reference\n2,C-1,invited,,kyc,\n")
    look(site)

    assert (await ona.get(f"{APPROVE}1")).status == 409


async def test_only_operators_give_lists_and_only_by_the_page(site, ona, desk):
    assert (await desk.get("/dashboard/lists")).status == 403
    form = (await desk.get("/")).form  # that of the log-out
    for page in ("/dashboard/lists", "/dashboard/lists/1/read"):
        assert (await desk.post(page, form)).status == 403
    for action in ("approve-list", "discard-list"):
        assert (await desk.post(f"/dashboard/do/{action}", form | {"list": "1", "reason": "mine"})).status == 409

    assert (await give(ona, GOOD, token="another")).status == 409
    assert (await give(ona, GOOD, headers={"Sec-Fetch-Site": "cross-site"})).status == 403
    assert rows(site, UploadedList.id) == []


@pytest.mark.parametrize("token", [None, "", "another", "0" * 64])
async def test_a_stranger_changes_nothing_about_a_list(site, ona, checked, token):
    form = (await ona.get(READ)).form | {"column-2": "-", "column-1": "customer_id"}
    given = {name: value for name, value in form.items() if name != "token"}
    agreed = (await ona.get(f"{APPROVE}1")).form | {"reason": "asked by the branch"}

    link = "&".join(f"{name}={value}" for name, value in given.items())
    assert (await ona.get(f"{READ}?{link}")).status == 200  # the form, as it was
    forged = given if token is None else given | {"token": token}
    assert (await ona.post(READ, forged)).status == 403
    assert (await ona.post(READ, form, headers={"Sec-Fetch-Site": "cross-site"})).status == 403
    without = {name: value for name, value in agreed.items() if name != "token"}
    assert (await ona.post("/dashboard/do/approve-list", without)).status == 403
    assert (await ona.post("/dashboard/do/approve-list", agreed | {"token": token or "x"})).status == 403

    assert rows(site, UploadedList.state, UploadedList.version) == [("checked", 1)]


@pytest.mark.parametrize("version", ["", "0", "2", "-1", "1e0", "9" * 30, "1 or 1=1"])
async def test_a_form_with_another_version_changes_nothing(site, ona, checked, version):
    agreed = (await ona.get(f"{APPROVE}1")).form | {"reason": "asked by the branch"}
    form = (await ona.get(READ)).form | {"column-2": "-"}

    assert (await ona.post("/dashboard/do/approve-list", agreed | {"version": version})).status == 409
    assert (await ona.post(READ, form | {"version": version})).status == 409

    assert rows(site, UploadedList.state, UploadedList.version) == [("checked", 1)]


async def test_reports_that_take_long_hold_no_page_up(site, ona, imported, monkeypatch):
    goes_on = threading.Event()
    monkeypatch.setattr(batch, "write_csv", lambda *_: goes_on.wait(ENDS_WITHIN))

    asked = [asyncio.ensure_future(ona.get("/dashboard/batches/1/report.csv")) for _ in range(5)]
    try:
        async with asyncio.timeout(ENDS_WITHIN):
            assert (await ona.get("/dashboard/lists")).status == 200
        assert not any(one.done() for one in asked)
    finally:
        goes_on.set()
    assert [one.status for one in await asyncio.gather(*asked)] == [200] * 5


async def test_the_report_of_a_batch_is_a_file(site, ona, imported):
    async with ona.client.get("/dashboard/batches/1/report.csv") as answer:
        text = (await answer.read()).decode("utf-8-sig")
    async with ona.client.get("/dashboard/batches/1/report.xlsx") as answer:
        book = load_workbook(io.BytesIO(await answer.read()))

    assert [line.split(",")[1] for line in text.splitlines()] == ["customer_id", "C-1", "C-2", "C-3"]
    assert [sheet.title for sheet in book] == ["Summary", "Rows"]


async def test_an_approval_counts_the_customers_who_are_served_apart(site, ona, look, imported):
    with site.parts.database.write() as connection:
        connection.execute(sa.update(Job).values(state="held"))
    await give(ona, GOOD.replace(b"C-3,no-address", b"C-4,new@example.com"))
    look(site)
    page = await ona.get("/dashboard/do/approve-list?list=2&version=1")
    assert "1 row of people.csv would be sent; 2 need no session" in page.words
    assert "at most, with every reissue, kyc 4." in page.words
