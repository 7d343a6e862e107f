"""Log-in at an identity provider that does everything right, and at one that does not."""

from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest

from onboarding_worker.core.database.tables import Audit
from onboarding_worker.features.oidc import issuer as asking
from onboarding_worker.features.oidc import log_in as way
from onboarding_worker.features.oidc.issuer import flow_of, new_flow
from onboarding_worker.web import strangers
from tests.features.dashboard.conftest import rows
from tests.features.dashboard.visitor import Visitor, users_toml
from tests.features.oidc.issuer import BACK, KEYS, FakeIssuer, none, public

LEAVE = "/dashboard/log-in/oidc"


@pytest.fixture
async def issuer(clock):
    async with FakeIssuer(clock) as made:
        yield made


@pytest.fixture
async def bank(open_site, issuer):
    """A dashboard without users of its own."""
    return await open_site(users=None, keys=issuer.settings())


@pytest.fixture
async def rita(visit, bank):
    return visit(bank)


async def leave(person: Visitor, to: str = "/") -> str:
    """Press the button; returns the issuer's address that it leads to."""
    left = await person.get(f"{LEAVE}?{urlencode({'to': to})}", follow=False)
    assert left.status == 303, left.words
    return left.headers["Location"]


async def log_in(person: Visitor, issuer: FakeIssuer, to: str = "/", **more: str):
    back = issuer.sign_in(await leave(person, to)) | more
    return await person.get(f"{BACK}?{urlencode(back)}")


async def test_a_person_whom_the_issuer_names_is_let_in_with_the_highest_role_of_its_groups(rita, issuer):
    door = await rita.get("/dashboard/accounts")
    assert "Log in with single sign-on" in door.words
    assert "Password" not in door.words
    assert f"{LEAVE}?to=%2Fdashboard%2Faccounts" in door.links
    entered = await log_in(rita, issuer, "/dashboard/accounts")
    assert (entered.status, entered.path) == (200, "/dashboard/accounts")
    assert "oidc:rita operator" in entered.words
    assert issuer.asked == ["discovery", "token", "keys"]


async def test_what_leaves_for_the_issuer_shows_no_part_of_the_cookie_and_differs_each_time(rita, issuer):
    one, two = [parse_qs(urlsplit(await leave(rita)).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert one[name] != two[name]
    assert len({one["state"][0], one["nonce"][0], one["code_challenge"][0]}) == 3
    flow = new_flow("/dashboard/batches?x=1")
    assert flow_of(flow.cookie) == flow
    assert all(value not in flow.cookie for value in (flow.state, flow.nonce, flow.verifier))


async def test_passwords_stay_and_a_user_of_the_same_name_is_another_person(open_site, issuer, visit):
    site = await open_site(users=users_toml(), keys='[dashboard]\nusers = { file = "users.toml" }' + issuer.settings())
    issuer.claims = {"preferred_username": "ona", "groups": ["kyc-desk"]}
    ona, other = visit(site), visit(site)
    assert "ona operator" in (await ona.log_in("ona")).words
    assert "oidc:ona service desk" in (await log_in(other, issuer)).words


async def test_what_the_person_does_has_its_name_in_the_audit_log(rita, issuer, bank):
    await log_in(rita, issuer)
    await rita.do("/dashboard/do/stop")
    assert rows(bank, Audit.actor) == [("oidc:rita (operator), dashboard",)]


async def test_a_log_in_ends_as_those_with_passwords_do(rita, issuer, clock, bank, visit):
    await log_in(rita, issuer)
    page = await rita.get("/")
    left = await rita.post("/dashboard/log-out", page.form)
    assert left.title == "Log in"
    await log_in(rita, issuer)
    clock.advance(minutes=61)
    assert (await rita.get("/")).title == "Log in"


async def test_a_log_in_ends_when_the_table_of_roles_is_another(rita, issuer, bank, open_site, visit):
    await log_in(rita, issuer)
    changed = issuer.settings().replace('operator = ["kyc-operators"]', 'operator = ["kyc-leads"]')
    other = visit(await open_site(users=None, keys=changed, key=None))
    other.client.session.cookie_jar.update_cookies(
        {
            cookie.key.replace(str(rita.client.port), str(other.client.port)): cookie.value
            for cookie in rita.client.session.cookie_jar
        }
    )
    assert (await other.get("/")).title == "Log in"


BAD = [
    {"claims": {"nonce": "f" * 64}},
    {"claims": {"aud": "other"}},
    {"claims": {"exp": 1}},
    {"token": none},
    {"token": lambda claims: jwt.encode(claims, KEYS["other"], "RS256", headers={"kid": "one"})},
]


async def test_a_token_that_is_not_good_lets_no_person_in(rita, issuer, waits):
    for bad in BAD:
        issuer.claims, issuer.token = bad.get("claims", {}), bad.get("token", issuer.signed)
        refused = await log_in(rita, issuer)
        assert (refused.status, refused.title) == (403, "Log in")
        assert "You were not logged in" in refused.words
        assert (await rita.get("/")).title == "Log in"


async def test_refused_log_ins_are_counted_and_slowed_as_those_with_passwords(rita, issuer, waits):
    issuer.claims = {"nonce": "wrong"}
    for _ in range(8):
        assert (await log_in(rita, issuer)).status == 403
        assert (await rita.get(f"{BACK}?state=invented&code=1")).status == 403
    assert len(waits) == 6  # those after the first ten
    assert waits == sorted(waits)


async def test_a_state_is_good_for_its_browser_and_once(rita, issuer, visit, bank, waits):
    issuer.redeems_twice = True
    back = issuer.sign_in(await leave(rita))
    stranger = visit(bank)
    assert (await stranger.get(f"{BACK}?{urlencode(back)}")).status == 403
    assert (await rita.get(f"{BACK}?{urlencode(back | {'state': 'f' * 64})}")).status == 403
    back = issuer.sign_in(await leave(rita))
    jar = {cookie.key: cookie.value for cookie in rita.client.session.cookie_jar}
    assert (await rita.get(f"{BACK}?{urlencode(back)}")).status == 200
    again = visit(bank)
    again.client.session.cookie_jar.update_cookies(jar)  # a copy of the cookie from before
    replayed = await again.get(f"{BACK}?{urlencode(back)}")
    assert replayed.status == 403
    assert "too old" in replayed.words
    assert (await rita.get(f"{BACK}?{urlencode(back)}")).status == 403


async def test_an_answer_without_a_code_or_of_another_issuer_lets_no_person_in(rita, issuer, waits):
    state = issuer.sign_in(await leave(rita))["state"]
    said = await rita.get(f"{BACK}?{urlencode({'state': state, 'error': 'access_denied', 'code': 'code-0'})}")
    assert said.status == 403
    assert "access_denied" not in said.text
    assert (await log_in(rita, issuer, iss="https://login.example.com")).status == 403
    assert (await log_in(rita, issuer, code="invented")).status == 403
    assert (await log_in(rita, issuer, iss=issuer.url)).status == 200


async def test_it_leads_nowhere_else(rita, issuer):
    for to in ("https://evil.example", "//evil.example", "/\\evil.example", "/events"):
        back = issuer.sign_in(await leave(rita, to))
        entered = await rita.get(f"{BACK}?{urlencode(back)}", follow=False)
        assert (entered.status, entered.headers["Location"]) == (303, "/")


BROKEN = {
    "names another issuer": {"issuer": "https://login.example.com"},
    "has no token endpoint": {"token_endpoint": None},
    "has an address of a script": {"authorization_endpoint": "javascript:alert(1)"},
    "has an address with a password": {"token_endpoint": "http://a:b@127.0.0.1/"},
    "leads to another machine without TLS": {"token_endpoint": "http://login.example.com/token"},
    "has no PKCE": {"code_challenge_methods_supported": ["plain"]},
    "is huge": {"filler": "x" * 2_000_000},
}


async def test_a_discovery_document_that_is_none_is_asked_for_again_later(rita, issuer, monkeypatch):
    issuer.metadata = {"issuer": "https://login.example.com"}
    for _ in range(2):
        said = await rita.get(LEAVE)
        assert (said.status, said.title) == (502, "Log in")
    assert issuer.asked == ["discovery"]
    monkeypatch.setattr(asking, "LEFT_ALONE_SECONDS", -1.0)
    for metadata in BROKEN.values():
        issuer.metadata = metadata
        assert (await rita.get(LEAVE)).status == 502
    issuer.metadata = {}
    assert (await log_in(rita, issuer)).status == 200


async def test_a_slow_issuer_is_not_waited_for_and_huge_keys_are_not_read(rita, issuer, monkeypatch):
    issuer.waits = 5
    monkeypatch.setattr(asking, "LEFT_ALONE_SECONDS", -1.0)
    monkeypatch.setattr(asking, "TIMEOUT", timedelta(seconds=0.5))
    assert (await rita.get(LEAVE)).status == 502
    issuer.waits = 0
    for keys in ([public("one", filler="x" * 300_000)], [public("one")] * 101, "none"):
        issuer.keys = keys
        assert (await log_in(rita, issuer)).status == 502
    issuer.keys = [public("one")]
    assert (await log_in(rita, issuer)).status == 200


async def test_a_new_key_of_the_issuer_is_found_and_unknown_ones_do_not_make_it_ask_on_and_on(
    rita, issuer, waits, monkeypatch
):
    await log_in(rita, issuer)
    issuer.token = lambda claims: issuer.signed(claims, by="other")
    for _ in range(3):
        assert (await log_in(rita, issuer)).status == 403
    assert issuer.asked.count("keys") == 1
    monkeypatch.setattr(asking, "AGAIN_SECONDS", 0.0)
    issuer.keys = [public("one"), public("other")]
    assert (await log_in(rita, issuer)).status == 200


@pytest.mark.parametrize("name", [None, "signing"])
async def test_a_new_key_is_found_where_the_issuer_names_none_or_keeps_the_name(rita, issuer, waits, monkeypatch, name):
    named = {} if name is None else {"kid": name}

    def becomes(key: str) -> None:
        issuer.keys = [{part: value for part, value in public(key).items() if part != "kid"} | named]
        issuer.token = lambda claims: jwt.encode(claims, KEYS[key], "RS256", headers=named)

    becomes("one")
    assert (await log_in(rita, issuer)).status == 200
    becomes("other")
    assert (await log_in(rita, issuer)).status == 403  # they were asked for within the minute
    monkeypatch.setattr(asking, "AGAIN_SECONDS", 0.0)
    assert (await log_in(rita, issuer)).status == 200


async def test_a_wrong_client_secret_is_the_servers_mistake_and_not_the_persons(open_site, issuer, visit, caplog):
    site = await open_site(users=None, keys=issuer.settings().replace('"HOOK"', '"OLD_HOOK"'))
    assert (await log_in(visit(site), issuer)).status == 502
    assert "webhook-key" not in caplog.text


async def test_a_group_may_be_inside_an_object_and_times_are_this_processs(open_site, issuer, visit, clock):
    site = await open_site(users=None, keys=issuer.settings(more='role_claim = "realm_access.roles"'))
    issuer.claims = {"groups": None, "realm_access": {"roles": ["kyc-desk"]}}
    clock.advance(days=400)
    assert "oidc:rita service desk" in (await log_in(visit(site), issuer)).words
    issuer.claims |= {"exp": int((clock() - timedelta(minutes=2)).timestamp())}
    assert (await log_in(visit(site), issuer)).status == 403


async def test_a_flood_of_codes_does_not_go_on_to_the_issuer(open_site, issuer, visit, waits, monkeypatch):
    monkeypatch.setattr(strangers, "MOST_WAITING", (0, 0, 0))
    said = await log_in(visit(await open_site(users=None, keys=issuer.settings())), issuer)
    assert (said.status, said.title) == (429, "Log in")
    assert issuer.asked == ["discovery"]


async def test_codes_that_the_issuer_answers_with_an_error_of_its_own_are_counted_and_slowed(
    rita, issuer, waits, caplog
):
    issuer.fails = True
    for _ in range(strangers.FREE + 1):
        assert (await log_in(rita, issuer)).status == 502
    assert len(waits) == 1
    assert caplog.text.count("log-in at the issuer of [oidc] is not possible") == 1


async def test_a_code_is_looked_up_only_for_a_log_in_that_was_begun_here_within_ten_minutes(rita, issuer, clock, waits):
    (name, mine), *_ = [
        (cookie.key, cookie.value)
        for _ in [await leave(rita)]
        for cookie in rita.client.session.cookie_jar
        if cookie.key.endswith(way.FLOW)
    ]
    own = new_flow("/")  # a stranger can make a state that fits a cookie, and cannot sign the cookie
    for cookie in (own.cookie, own.cookie + mine[mine.rindex(".", 0, mine.rindex(".")) :]):
        rita.client.session.cookie_jar.update_cookies({name: cookie})
        assert (await rita.get(f"{BACK}?{urlencode({'state': own.state, 'code': 'code-0'})}")).status == 403
    back = issuer.sign_in(await leave(rita))
    clock.advance(minutes=10)
    assert (await rita.get(f"{BACK}?{urlencode(back)}")).status == 403
    assert "token" not in issuer.asked
    assert (await log_in(rita, issuer)).status == 200


async def test_a_browser_in_which_somebody_was_let_in_goes_before_strangers(rita, issuer, monkeypatch, clock):
    await log_in(rita, issuer)
    clock.advance(minutes=61)
    came = []
    come = strangers.Line.come
    monkeypatch.setattr(strangers.Line, "come", lambda line, who, now: came.append(who) or come(line, who, now))

    assert (await log_in(rita, issuer)).status == 200
    await rita.post("/dashboard/log-out", (await rita.get("/")).form)
    assert (await log_in(rita, issuer)).status == 200

    assert [bool(one.browser) for one in came] == [True, False]
