"""What a row may say to the provider, by each door, and once more before its call: a value that its account or the
right of who brought it does not list is in no request, and no request goes without it."""

import io
import itertools
import json
import random
from dataclasses import replace

import pytest

from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.model.customers import ACCOUNT_COLUMN
from onboarding_worker.core.model.incoming import EventKind, EventSender, Outcome
from onboarding_worker.core.model.states import BATCH, JobState
from onboarding_worker.lists.importing.intake import made_of_another
from onboarding_worker.lists.importing.judging import options_of
from onboarding_worker.lists.importing.list_import import import_list
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.providers.row_rights import ACCOUNT
from onboarding_worker.wiring.container import build_providers
from tests.simulated.events import requested
from tests.simulated.two_brands import opened
from tests.simulated.world import customer
from tests.stored.shelf import add_lines

URL = "https://elsewhere.example/steal"
GUARDED = {
    "callbackUrl": URL,
    "successUrl": URL,
    "tokenType": "DOCUMENT",
    "checkLiveness": False,
    "checkAml": False,
    "documents": ["OTHER"],
    "country": ["ALL"],
    "ageLimit": 1,
    "reviewFailed": False,
    "questionnaire": None,
    "additionalSteps": {"ALL": {}},
}
SIGNUP = EventSender("signup", frozenset(EventKind))
_serials = itertools.count(1)


def world_of(make, per_row=(), rights="", **how):
    """A world with the real adapters."""
    text = f"most = 2\n[web.senders.signup]\nqueues = ['requests']\n[rights]\n{rights}"
    world = make(opened, more=f"per_row = {json.dumps([*per_row])}", follow_up=text, **how)
    world.parts.providers = build_providers(world.parts.settings)
    return world


def sent(world):
    """What the provider got, by customer."""
    return {(body := json.loads(one.body))["clientId"]: body for one in world.http.requests if one.body}


def bring_in(world, *objects, origin="lists"):
    content = io.BytesIO("".join(json.dumps(one) + "\n" for one in objects).encode())
    intake = world.parts.intake.of(origin)
    done = import_list(intake, world.parts.batches, content, options_of(intake), name="list.jsonl")
    lines = world.parts.facts.lines(done.batch.id)
    return {line.customer_id: line for line in lines}


def row(name, **values):
    return {"customer_id": name, "email": f"{name.lower()}@example.org", "country": "LT"} | values


def as_columns(values):
    return {f"idenfy-kyc.{name}": value for name, value in values.items()}


def store(world, *rows, origin="", route=""):
    """Store rows as an import has, or an earlier release had: `origin` "": it did not say where they came from."""
    now = world.clock()
    batch, _ = world.parts.batches.open(name="old.csv", digest=str(next(_serials)), again=False, now=now)
    lines = [
        AcceptedLine(number, one, "kyc", route, 3600, origin=origin, sets=("idenfy-kyc.checkAml",) if origin else ())
        for number, one in enumerate(rows, 2)
    ]
    add_lines(world.parts.batches, batch.id, lines, priority=BATCH, now=now)
    return batch.id


def stored_row(name, **values):
    return customer(name, parameters={"idenfy-kyc": values} if values else {})


@pytest.mark.parametrize("name", GUARDED)
async def test_without_a_right_no_door_takes_it_and_the_refusal_names_the_column(make, name):
    world = world_of(make)
    given = as_columns({name: GUARDED[name]})

    lines = bring_in(world, row("A", **given), row("B"))
    by_sender = requested("C", of={"sender": SIGNUP}, **given)
    receipts = world.receiver().receive([by_sender, requested("D", **given), requested("E")]).receipts

    assert lines["B"].state == JobState.WAITING
    (refused,) = (one for one in lines.values() if one.state == "rejected")
    assert f"idenfy-kyc.{name}" in refused.detail
    assert [one.outcome for one in receipts] == [Outcome.REFUSED, Outcome.REFUSED, Outcome.TAKEN]
    assert all([problem.column for problem in one.problems] == [f"idenfy-kyc.{name}"] for one in receipts[:2])
    await world.work()
    assert sent(world).keys() == {"B", "E"}


async def test_a_right_of_one_origin_is_no_other_ones(make):
    rights = 'senders = { signup = ["idenfy-kyc.checkAml"] }'
    world = world_of(make, ["checkAml"], rights)
    given = as_columns({"checkAml": False})

    bring_in(world, row("A", **given), row("B"))
    events = [requested("C", of={"sender": SIGNUP}, **given), requested("D", **given)]
    events.append(requested("E", of={"sender": replace(SIGNUP, name="other")}, **given))
    receipts = world.receiver().receive(events).receipts

    assert [one.outcome for one in receipts] == [Outcome.TAKEN, Outcome.REFUSED, Outcome.REFUSED]
    await world.work()
    assert {name: body.get("checkAml") for name, body in sent(world).items()} == {"B": None, "C": False}
    assert (world.job("C").sets, world.job("B").sets) == ("idenfy-kyc.checkAml", "")


async def test_a_row_that_was_stored_before_waits_with_the_reason_and_goes_on_with_the_right(make):
    world = world_of(make)
    batch = store(world, stored_row("Old", checkAml=False), stored_row("Plain", locale="lt"), stored_row("None"))
    await world.work()

    assert sent(world).keys() == {"Plain", "None"}
    held = world.job("Old")
    assert (held.state, held.reason, held.attempts, held.lease_until) == (JobState.WAITING, "right_missing", 0, None)
    for word in ("idenfy-kyc.checkAml", "accounts.kyc.per_row", "rights.earlier"):
        assert word in held.detail
    (need,) = (one for one in world.parts.operation.report().attention if one.what == "right")
    assert (need.name, need.rows) == ("kyc", 1)
    line = world.parts.facts.lines_of(batch, [2])[2]
    assert (line.reason, line.detail) == ("right_missing", held.detail)

    world.clock.advance(hours=1)
    await world.work()  # it is looked at again, and stays
    assert world.job("Old").reason == "right_missing"

    for half in ({"per_row": ["checkAml"]}, {"rights": 'earlier = ["idenfy-kyc.checkAml"]'}):
        again = world_of(make, **half)
        again.parts.resume()
        await again.work()
        assert "Old" not in sent(again)
    given = world_of(make, ["checkAml"], 'earlier = ["idenfy-kyc.checkAml"]')
    given.parts.resume()  # as at each start
    await given.work()
    assert sent(given) == {"Old": sent(given)["Old"]}
    assert sent(given)["Old"]["checkAml"] is False
    assert given.job("Old").state is JobState.INVITED


async def test_a_right_that_is_taken_back_keeps_the_row_and_its_next_session_back(make):
    rights = 'lists = ["idenfy-kyc.checkAml"]'
    world = world_of(make, ["checkAml"], rights)
    bring_in(world, row("A", **as_columns({"checkAml": False})))
    await world.work()
    assert sent(world)["A"]["checkAml"] is False

    later = world_of(make, ["checkAml"], "lists = []")
    later.clock.advance(days=8)  # the link has ended unused
    await later.work()
    assert sent(later) == {}
    assert "rights.lists" in later.job("A").detail


async def test_the_origin_goes_with_the_row_and_not_with_who_works_it(make):
    world = world_of(make, ["checkAml"], 'lists = ["idenfy-kyc.checkAml"]\nuploads = []')
    store(world, stored_row("Ours", checkAml=False), origin="lists")
    store(world, stored_row("Theirs", checkAml=False), origin="uploads")
    store(world, stored_row("Odd", checkAml=False), origin="no such.origin")
    await world.work()
    assert sent(world).keys() == {"Ours"}


async def test_an_account_is_named_with_the_right_alone_also_in_a_row_that_was_stored_before(make):
    world = world_of(make, route=["au", "kyc"])
    lines = bring_in(world, row("A", account="kyc"), row("B", account="nowhere"))
    assert len({line.detail for line in lines.values()}) == 1  # who may not name one does not learn which there are
    store(world, stored_row("Old"), route=ACCOUNT_COLUMN)
    await world.work()
    assert (sent(world), world.job("Old").reason) == ({}, "right_missing")

    allowed = world_of(make, [ACCOUNT], 'lists = ["account"]\nearlier = ["account"]')
    assert bring_in(allowed, row("C", account="kyc"))["C"].state == JobState.WAITING
    assert allowed.job("C").sets == "account"
    allowed.parts.resume()
    await allowed.work()
    assert sent(allowed).keys() == {"C", "Old"}
    assert {one.state for one in bring_in(allowed, row("D", account="au")).values()} == {"rejected"}


async def test_what_one_account_may_not_get_leads_to_no_other_one(make):
    rights = 'lists = ["idenfy-kyc.checkAml"]'
    world = world_of(make, rights=rights, route=["kyc", "au"])
    lines = bring_in(
        world, row("A", entity_id="e", **as_columns({"checkAml": False})), row("B", **as_columns({"x": 1}))
    )
    assert {line.state for line in lines.values()} == {"rejected"}

    wide = world_of(make, ["checkAml"], rights, route=["au", "kyc"])
    bring_in(wide, row("C", entity_id="00000000-0000-4000-8000-000000000000", **as_columns({"checkAml": False})))
    assert (wide.job("C").account, wide.job("C").fallback_accounts) == ("au", "kyc")
    narrow = world_of(make, (), rights, route=["au", "kyc"])
    bring_in(narrow, row("D", entity_id="00000000-0000-4000-8000-000000000001", **as_columns({"checkAml": False})))
    assert (narrow.job("D").account, narrow.job("D").fallback_accounts) == ("au", "")


async def test_a_row_that_another_row_makes_is_judged_by_the_right_of_who_brought_that_one(make):
    world = world_of(make, ["checkAml"], 'senders = { signup = ["idenfy-kyc.checkAml"] }', route=["kyc", "au"])
    intake, one = world.parts.intake, stored_row("A", checkAml=False)
    for origin in ("senders.signup", "lists", ""):
        made = made_of_another(intake, one, origin, route="route 1: every customer")
        assert (made.account, made.sets, made.origin) == ("kyc", ("idenfy-kyc.checkAml",), origin)
    plain = made_of_another(intake, stored_row("B"), "lists", route="")
    assert (plain.account, plain.sets, plain.origin) == ("kyc", (), "")
    said = made_of_another(intake, stored_row("C", locale="lt"), "lists", route="")
    assert (said.sets, said.origin) == ((), "lists")  # another account of another day may have it need a right


async def test_a_row_that_another_row_makes_names_an_account_only_if_that_one_did(make):
    world = world_of(make, [ACCOUNT], 'lists = ["account"]', route=["kyc"])
    intake, one = world.parts.intake, replace(stored_row("A"), account="au")
    one = replace(one, entity_id="00000000-0000-4000-8000-000000000000")
    by_list, by_default, by_route = (
        made_of_another(intake, one, "lists", route=route)
        for route in (ACCOUNT_COLUMN, "default account", "route 1: country=LT; kyc cannot serve the customer")
    )
    assert (by_list.account, by_list.route, by_list.sets) == ("au", ACCOUNT_COLUMN, (ACCOUNT,))
    assert (by_default.account, by_default.route, by_default.sets) == ("au", "default account", ())
    assert (by_route.account, by_route.sets) == ("kyc", ())
    gone = replace(one, account="gone")
    assert made_of_another(intake, gone, "lists", route=ACCOUNT_COLUMN) is None
    assert made_of_another(intake, gone, "lists", route="default account") is None


async def test_a_row_that_is_kept_back_keeps_no_row_of_another_list_back_nor_gives_it_its_account(make):
    world = world_of(make, [ACCOUNT], route=["kyc"])
    now = world.clock()
    batch, _ = world.parts.batches.open(name="old.csv", digest="old", again=False, now=now)
    named = AcceptedLine(2, customer("A"), "au", ACCOUNT_COLUMN, 3600)
    add_lines(world.parts.batches, batch.id, [named], priority=BATCH, now=now)
    await world.work()
    assert world.job("A").reason == "right_missing"

    bring_in(world, row("A"))
    await world.work()
    assert sent(world).keys() == {"A"}
    assert {(one.account, one.leader_id is None) for one in world.rows(Job)} == {("au", False), ("kyc", True)}


DOORS = ("lists", "library", "senders.signup", "earlier", "uploads", "folders.partner")


@pytest.mark.parametrize("seed", range(12))
async def test_no_value_that_is_not_listed_ever_goes_out_by_any_door(make, seed):
    chance = random.Random(seed)  # noqa: S311 -- no secret

    def some_of(names):
        return chance.sample(sorted(names), chance.randint(0, len(names) // 2))

    per_row = some_of(GUARDED)
    granted = {door: [f"idenfy-kyc.{name}" for name in some_of(GUARDED)] for door in DOORS}
    kinds = {door: json.dumps(columns) for door, columns in granted.items() if "." not in door}
    rights = "\n".join(f"{door} = {columns}" for door, columns in kinds.items())
    rights += f"\nsenders = {{ signup = {json.dumps(granted['senders.signup'])} }}"
    world = world_of(make, per_row, rights)
    given: dict[str, tuple[str, dict[str, object]]] = {}

    def new(door):
        name = f"{door.replace('.', '-')}-{len(given)}"
        given[name] = door, {one: GUARDED[one] for one in chance.sample(sorted(GUARDED), chance.randint(0, 2))}
        return name, given[name][1]

    for _ in range(6):
        for door in ("lists", "uploads"):
            name, values = new(door)
            bring_in(world, row(name, **as_columns(values)), origin=door)
        for door, sender in (("library", None), ("senders.signup", SIGNUP)):
            name, values = new(door)
            event = requested(name, of={"sender": sender} if sender else None, **as_columns(values))
            world.receiver().receive([event])
        for door in DOORS:
            name, values = new(door)
            store(world, stored_row(name, **values), origin="" if door == "earlier" else door)
    await world.work()

    went = sent(world)
    for name, (door, values) in given.items():
        listed = {one.partition(".")[2] for one in granted[door] if door != "folders.partner"} & {*per_row}
        assert (name in went) == (values.keys() <= listed), name
        assert all(went[name].get(one, "absent") == value for one, value in values.items() if name in went), name
    waiting = [one for one in world.rows(Job) if one.state is JobState.WAITING]
    assert all(one.reason == "right_missing" and "idenfy-kyc." in one.detail for one in waiting)
