"""Whose agreement counts: that of who may agree still, when another person agrees and when the list is imported."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import Audit, Job, LogIn, UploadedList
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.features.dashboard import log_in_ways
from onboarding_worker.features.dashboard.log_in_ways import LogInWay
from onboarding_worker.features.dashboard.store.log_ins import LONGEST, LogIns
from onboarding_worker.features.dashboard.users import Person, Role
from onboarding_worker.features.uploads.agreeing import Agreeing
from tests.features.dashboard.conftest import USERS, rows
from tests.features.dashboard.visitor import HASHES, users_toml
from tests.features.uploads.conftest import GOOD, do, give, needs

ONA = "ona (operator), dashboard"
BOTH = users_toml(desk=Role.OPERATOR)
# What becomes of Ona's table in the file of users, who has agreed.
ENDS = {
    "removed": BOTH.replace("[ona]", "[other]"),
    "less": users_toml(ona=Role.SERVICE_DESK, desk=Role.OPERATOR),
    "another password": BOTH.replace(HASHES["ona"], HASHES["vita"]),
}


def decided(site):
    return rows(site, UploadedList.state, UploadedList.agreed)


def write_users(site, text):
    (site.parts.settings.path.parent / "users.toml").write_text(text)


@pytest.fixture
async def agreed(site_of_two, enter, look):
    """Ona has agreed to a list that two must agree to; returns the desk's visitor, who is an operator too."""
    write_users(site_of_two, BOTH)
    ona, desk = await enter("ona", site_of_two), await enter("desk", site_of_two)
    await give(ona, GOOD)
    look(site_of_two)
    await do(ona, "approve-list")
    assert decided(site_of_two) == [("checked", [ONA])]
    return desk


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("looked", [False, True])
async def test_the_agreement_of_who_may_agree_no_more_does_not_count_for_the_next_one(
    site_of_two, agreed, look, end, looked
):
    write_users(site_of_two, ENDS[end])
    if looked:
        look(site_of_two)
        assert decided(site_of_two) == [("checked", [])]
    page = await agreed.get("/dashboard/lists/1")
    assert f"{ONA} agreed, which counts no more" in page.words
    assert "waits for 2 persons" in page.words

    done = await do(agreed, "approve-list")

    assert "Another person must agree too" in done.words
    look(site_of_two)
    assert decided(site_of_two) == [("checked", ["desk (operator), dashboard"])]
    assert rows(site_of_two, Job.id) == []
    assert f"{ONA} agreed" in (await agreed.get("/dashboard/lists/1")).words
    (entry,) = [reason for actor, reason in rows(site_of_two, Audit.actor, Audit.reason) if actor == "uploads"]
    assert ONA in entry


@pytest.mark.parametrize("end", ENDS)
async def test_an_approved_list_is_not_imported_without_those_who_approved_it(site_of_two, agreed, look, end):
    await do(agreed, "approve-list")
    assert decided(site_of_two)[0][0] == "approved"

    write_users(site_of_two, ENDS[end])
    look(site_of_two)

    assert decided(site_of_two) == [("checked", ["desk (operator), dashboard"])]
    assert rows(site_of_two, Job.id) == []
    assert needs(site_of_two) == [("upload", "1 (people.csv)")]
    assert f"{ONA} agreed, which counts no more" in (await agreed.get("/dashboard/lists/1")).words

    write_users(site_of_two, BOTH)  # who comes back agrees again
    look(site_of_two)
    assert decided(site_of_two)[0][0] == "checked"


async def test_others_of_the_file_may_change_meanwhile(site_of_two, agreed, look):
    write_users(site_of_two, BOTH.replace("[vita]", "[other]"))

    await do(agreed, "approve-list")
    look(site_of_two)

    assert decided(site_of_two)[0][0] == "imported"
    assert (await agreed.get("/dashboard/lists/1")).words.count("counts no more") == 0


async def test_one_agreement_is_not_enough_once_two_must_agree(open_site, enter, look):
    keys, key = f"{USERS}[uploads]\napprovals = ", new_key()
    one, two = [await open_site(keys=f"{keys}{number}\n", key=key) for number in (1, 2)]
    ona = await enter("ona", one)
    await give(ona, GOOD)
    look(one)
    await do(ona, "approve-list")

    look(two)

    assert decided(two) == [("checked", [ONA])]


@pytest.mark.parametrize("other", ["desk (operator), dashboard", "oidc:ona (operator), dashboard", ONA, ""])
async def test_an_agreement_that_only_the_database_has_does_not_count(site_of_two, agreed, look, other):
    with site_of_two.parts.database.write() as connection:
        both = [other, ONA]
        connection.execute(UploadedList.__table__.update().values(agreed=both, state="approved"))

    look(site_of_two)
    assert decided(site_of_two) == [("checked", [ONA])]

    with site_of_two.parts.database.write() as connection:
        connection.execute(UploadedList.__table__.update().values(agreed=[], state="approved"))
    look(site_of_two)
    assert decided(site_of_two) == [("checked", [])]


async def test_a_list_that_no_key_decrypts_says_so_and_can_be_discarded(site_of_two, agreed):
    with site_of_two.parts.database.write() as connection:
        connection.execute(UploadedList.__table__.update().values(encrypted=b"no key " * 9))

    page = await agreed.get("/dashboard/lists/1")
    assert (page.status, "No key decrypts" in page.words) == (409, True)

    await agreed.do("/dashboard/do/discard-list?list=1", reason="asked by the branch")
    assert rows(site_of_two, UploadedList.state) == [("discarded",)]


@pytest.fixture
def by_issuer(site, monkeypatch):
    """Whether an agreement of `oidc:rita` counts; the identity provider's section has this entry for each role."""
    entries = {role: f"entry of {role.value}" for role in Role}
    way = LogInWay(lambda _settings: True, lambda *_: None, lambda _settings, role: entries[role])
    monkeypatch.setattr(log_in_ways, "LOG_IN_WAYS", type("Ways", (), {"offered": staticmethod(lambda: [way])}))
    agreeing, rita = Agreeing(site.parts.settings), Person("oidc:rita", Role.OPERATOR)
    entry, since = agreeing.entry(rita), site.clock()

    def counts(after=timedelta(minutes=1), **changed):
        entries.update({Role(name): value for name, value in changed.items()})
        with site.parts.database.read() as connection:
            return agreeing.counts(connection, rita.actor, entry, since=since, now=since + after)

    return counts


def test_what_an_issuer_said_counts_as_long_as_a_log_in_and_while_its_section_is_the_same(by_issuer):
    assert by_issuer()
    assert by_issuer(after=LONGEST - timedelta(seconds=1))
    assert not by_issuer(after=LONGEST)
    assert not by_issuer(operator="another table of roles")


@pytest.mark.parametrize(("role", "still"), [(Role.OPERATOR, True), (Role.SERVICE_DESK, False), (Role.VIEWER, False)])
def test_what_an_issuer_says_at_the_next_log_in_counts_from_then_on(site, by_issuer, role, still):
    log_ins, now = LogIns(site.parts.database), site.clock()
    for minute, as_role in ((0, Role.OPERATOR), (1, role)):
        at = now + timedelta(minutes=minute)
        log_ins.start(f"secret {minute}", name="oidc:rita", entry=f"entry of {as_role.value}", now=at)
    log_ins.start("another", name="oidc:ritab", entry="entry of viewer", now=now + timedelta(minutes=2))
    assert len(rows(site, LogIn.name)) == 3

    assert by_issuer() is still
