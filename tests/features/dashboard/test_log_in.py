"""Who comes in, for how long, and what each answer has."""

import asyncio
import hashlib
import json
import logging
from http.cookies import SimpleCookie
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.helpers import parse_content_type

from deploy.add_bundled import BUNDLED
from onboarding_worker.features.dashboard import passwords, rendering, visits
from onboarding_worker.features.dashboard.passwords import LONGEST_PASSWORD, is_password
from onboarding_worker.features.dashboard.rendering import ASSETS, asset, asset_url
from onboarding_worker.features.dashboard.users import Person, Role, User
from onboarding_worker.features.dashboard.visits import KNOWN, SAID, Visit, cookie_name, form_token, what_was_said
from onboarding_worker.settings.secrets import Secret
from onboarding_worker.web.events.request_body import FORM
from tests.features.dashboard.conftest import KEY, USERS
from tests.features.dashboard.visitor import CHANGES, FROM_HERE, HASHES, PASSWORDS, changed_users
from tests.suite.some import some

(HTMX,) = [one for one in json.loads(BUNDLED.read_text(encoding="utf-8")) if one["name"] == "htmx.org"]


async def test_without_a_log_in_there_is_only_the_door(visit):
    stranger = visit()

    for path in ("/", "/dashboard/accounts", "/dashboard/nothing", "/dashboard/do/pause?batch=1"):
        refused = await stranger.get(path, follow=False)
        assert (refused.status, refused.text) == (303, "")
        assert refused.headers["Location"].startswith("/dashboard/log-in")
    assert (await stranger.get("/")).title == "Log in"


async def test_one_whose_log_in_ended_over_a_form_is_told_that_nothing_was_done(site, enter, clock):
    ona = await enter("ona")
    asked = await ona.get("/dashboard/do/stop")
    clock.advance(minutes=61)

    late = await ona.post("/dashboard/do/stop", asked.form | {"reason": "wrong template"}, follow=False)

    assert (late.status, late.title, "nothing was done" in late.words) == (403, "Log in", True)
    assert site.parts.operation.report().stopped is None
    again = await ona.post("/dashboard/log-in", late.form | {"name": "ona", "password": PASSWORDS["ona"]})
    assert (again.status, again.path, "nothing was done" in again.words) == (200, "/", False)


async def test_a_person_who_logs_in_goes_on_to_where_it_wanted(visit):
    ona = visit()

    entered = await ona.log_in("ona", to="/dashboard/accounts")

    assert (entered.status, entered.path) == (200, "/dashboard/accounts")
    assert "ona operator" in entered.words


@pytest.mark.parametrize(
    "to", ["https://evil.example", "//evil.example", "/\\evil.example", "/events", "/dashboard/\nx", "javascript:1"]
)
async def test_the_door_leads_nowhere_else(visit, to):
    ona = visit()
    page = await ona.get("/dashboard/log-in")

    form = page.form | {"name": "ona", "password": PASSWORDS["ona"], "to": to}
    entered = await ona.post("/dashboard/log-in", form, follow=False)

    assert (entered.status, entered.headers["Location"]) == (303, "/")


async def test_a_wrong_name_and_a_wrong_password_are_refused_alike_and_slowed(visit, waits, monkeypatch, caplog):
    monkeypatch.setattr(passwords, "_NO_USER", HASHES["vita"])  # as cheap as those of the users
    caplog.set_level(logging.INFO)
    stranger = visit()

    answers = [await stranger.log_in(name, "guess") for name in ("ona", "jonas.petraitis@example.com") * 8]

    assert {(one.status, one.title) for one in answers} == {(403, "Log in")}
    assert len({one.words for one in answers}) == 1
    assert len(waits) == 6  # those after the first ten
    assert "jonas" not in caplog.text
    assert (await stranger.log_in("ona")).status == 200


def test_the_check_of_a_password_needs_a_user():
    assert not is_password(PASSWORDS["ona"], None)
    assert not is_password("x" * (LONGEST_PASSWORD + 1), User(Role.VIEWER, Secret("never read")))


async def test_a_form_of_another_site_logs_nobody_in(visit):
    ona = visit()
    page = await ona.get("/dashboard/log-in")
    form = page.form | {"name": "ona", "password": PASSWORDS["ona"]}

    others = ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://x"})
    for headers in (*others, {"Origin": "http://["}, {}):
        assert (await ona.post("/dashboard/log-in", form, headers=headers)).status == 403
    assert (await ona.post("/dashboard/log-in", form | {"token": "0" * 64})).status == 403
    assert (await ona.get("/")).title == "Log in"


async def test_a_browser_that_says_only_the_origin_is_believed(visit):
    ona = visit()
    page = await ona.get("/dashboard/log-in")
    here = f"http://{ona.client.host}:{ona.client.port}"

    form = page.form | {"name": "ona", "password": PASSWORDS["ona"]}
    assert (await ona.post("/dashboard/log-in", form, headers={"Origin": here})).path == "/"


async def test_a_log_out_ends_the_log_in_and_not_only_the_cookie(visit, ona):
    thief = visit()
    cookie = next(one for one in ona.client.session.cookie_jar if one.key == visits_cookie(ona))
    thief.client.session.cookie_jar.update_cookies({cookie.key: cookie.value}, ona.client.make_url("/"))
    assert (await thief.get("/")).title != "Log in"

    page = await ona.get("/")
    assert (await ona.post("/dashboard/log-out", page.form)).title == "Log in"

    assert (await thief.get("/")).title == "Log in"


async def test_a_log_out_that_another_site_sends_ends_nothing_and_drops_no_cookie(ona):
    page = await ona.get("/")

    for form, headers in ((page.form, {"Sec-Fetch-Site": "cross-site"}), ({"token": "0" * 64}, FROM_HERE)):
        answer = await ona.post("/dashboard/log-out", form, headers=headers, follow=False)
        assert (answer.status, "Set-Cookie" in answer.headers) == (303, False)

    assert (await ona.get("/")).title != "Log in"


def visits_cookie(visitor) -> str:
    return f"onboard_{visitor.client.port}"


async def test_the_cookie_is_for_no_script_and_no_other_site_and_only_on_this_machine_without_tls(visit, site):
    ona = visit()
    page = await ona.get("/dashboard/log-in")
    form = page.form | {"name": "ona", "password": PASSWORDS["ona"]}

    entered = await ona.post("/dashboard/log-in", form, follow=False)

    cookie = entered.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie
    # The second is what anybody can write: nobody has named a proxy.
    for headers, secure in (({"Host": "onboard.example.com"}, True), ({"X-Forwarded-Proto": "https"}, False)):
        door = await ona.client.get("/dashboard/log-in", headers=headers)
        assert ("secure" in door.headers["Set-Cookie"].lower()) is secure


async def test_by_tls_no_other_host_of_the_domain_can_set_the_cookies(visit, open_site):
    ona = visit(await open_site(keys=f'{USERS}[web]\ntrusted_proxies = ["127.0.0.1"]\n'))
    tls = {"X-Forwarded-Proto": "https"}

    def given(answer):
        lines = answer.headers.getall("Set-Cookie")
        assert all("; Secure" in line and "; Path=/" in line and "Domain" not in line for line in some(lines))
        return SimpleCookie("; ".join(line.partition(";")[0] for line in lines))

    door = await ona.client.get("/dashboard/log-in", headers=tls)
    ((name, of_form),) = given(door).items()
    assert name.startswith("__Host-onboard_")
    form = {"to": "/dashboard", "name": "ona", "password": PASSWORDS["ona"], "token": form_token(of_form.value)}
    kept = {**tls, "Cookie": f"{name}={of_form.coded_value}", **FROM_HERE}
    entered = await ona.client.post("/dashboard/log-in", data=form, headers=kept, allow_redirects=False)
    assert entered.status == 303
    visit_, ended, known = sorted(given(entered).items())
    assert (visit_[0] + "_form", ended[0], ended[1].value) == (name, name, "")
    assert (known[0], bool(known[1].value)) == (visit_[0] + KNOWN, True)


async def test_one_who_is_away_for_an_hour_and_one_who_is_here_for_twelve_logs_in_again(enter, clock, monkeypatch):
    monkeypatch.setattr(visits, "SEEN_EVERY", visits.SEEN_EVERY * 0)
    ona = await enter("ona")

    clock.advance(minutes=59)
    assert (await ona.get("/")).title != "Log in"
    clock.advance(minutes=59)
    assert (await ona.get("/")).title != "Log in"
    # A live part asks by itself: nobody need be there.
    clock.advance(minutes=40)
    assert (await ona.get("/", HX_Request="true")).status == 200
    clock.advance(minutes=21)
    assert (await ona.get("/")).title == "Log in"

    await ona.log_in("ona")
    for _ in range(12):
        clock.advance(minutes=59)
        assert (await ona.get("/")).title != "Log in"
    clock.advance(minutes=13)
    assert (await ona.get("/")).title == "Log in"


async def test_a_viewers_page_on_the_wall_stays_open(enter, clock, monkeypatch):
    monkeypatch.setattr(visits, "SEEN_EVERY", visits.SEEN_EVERY * 0)
    vita = await enter("vita")

    for _ in range(11):
        clock.advance(minutes=59)
        assert (await vita.get("/", HX_Request="true")).status == 200
    assert (await vita.get("/")).title != "Log in"


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_user_is_logged_out(ona, tmp_path: Path, change):
    (tmp_path / "site/users.toml").write_text(changed_users(change))

    assert (await ona.get("/")).title == "Log in"


async def test_a_live_part_of_one_who_is_logged_out_asks_for_the_whole_page(visit):
    answer = await visit().get("/", HX_Request="true")

    assert (answer.status, answer.headers["HX-Refresh"], answer.text) == (200, "true", "")


async def test_without_users_the_key_opens_the_pages_to_look_and_nothing_else(open_site, visit):
    site = await open_site(users=None, key_to_look=KEY)
    looker = visit(site)

    assert "no users yet" in (await looker.get("/")).words
    assert (await looker.get("/dashboard/key/wrong")).title == "Log in"
    entered = await looker.get(f"/dashboard/key/{KEY}")

    assert (entered.status, entered.path) == (200, "/")
    assert "only looking" in entered.words
    assert not any("/dashboard/do/" in link for link in entered.links)
    refused = await looker.get("/dashboard/do/stop")
    assert (refused.status, refused.title) == (409, "Not possible")
    assert "You came with the key to look" in refused.words
    assert (await looker.post("/dashboard/log-in", {"name": "", "password": ""})).status == 403


async def test_without_users_and_without_a_key_there_is_no_dashboard(open_site, visit):
    stranger = visit(await open_site(users=None))

    assert (await stranger.get("/")).status == 404
    assert (await stranger.get("/dashboard/log-in")).status == 404


@pytest.mark.parametrize(
    "path", ["/", "/dashboard/log-in", "/dashboard/nothing", "/dashboard/do/stop", "/dashboard/do/nothing"]
)
async def test_each_page_forbids_scripts_of_others_frames_and_copies(ona, path):
    page = await ona.get(path)

    assert rendering.HEADERS.items() <= dict(page.headers).items()
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert "style=" not in page.text
    assert "onclick" not in page.text
    assert "<script>" not in page.text


async def test_the_assets_are_ours_kept_for_ever_and_htmx_is_as_it_was_published(visit):
    stranger = visit()
    for name in ASSETS:
        found = await stranger.get(asset_url(name))
        assert (found.status, found.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
    assert (await stranger.get("/dashboard/static/htmx.LICENSE")).status == 404
    assert [one["content"] for one in HTMX["hashes"]] == [hashlib.sha256(asset("htmx.min.js")).hexdigest()]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"name=" + b"x" * 100_000, FORM, 413),
        (b"name=ona&name=vita", FORM, 400),
        (b"name=%ff&" + b"a=&" * 100, FORM, 400),
        (b"name=\xff", FORM, 400),
        (b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n--x--', "multipart/form-data; boundary=x", 415),
        (b'{"name": "ona"}', "application/json", 415),
    ],
)
async def test_what_is_no_form_of_ours_is_not_read(visit, ona, body, kind, status):
    for person, path in ((visit(), "/dashboard/log-in"), (ona, "/dashboard/do/stop"), (ona, "/dashboard/log-out")):
        headers = FROM_HERE | {"Content-Type": kind}
        async with person.client.post(path, data=body, headers=headers, allow_redirects=False) as answer:
            assert answer.status == status


async def test_the_parameters_of_a_forms_type_are_not_read(visit, ona):
    """aiohttp reads them in a time that grows with the square of their length, on the loop."""
    read_before = parse_content_type.cache_info().misses

    for kind, status in ((f'{FORM}; a="{";" * 8000}', 403), (f'x{FORM}; a="{";" * 8000}', 415)):
        for person in (visit(), ona):
            headers = FROM_HERE | {"Content-Type": kind}
            async with person.client.post("/dashboard/do/stop", data=b"a=b", headers=headers) as answer:
                assert answer.status == (status if person is ona else 403)

    assert parse_content_type.cache_info().misses == read_before


async def test_a_form_that_comes_slowly_is_given_up(open_site, visit):
    site = await open_site(body_seconds=0.05)

    async def slowly():
        yield b"name="
        await asyncio.sleep(60)

    headers = FROM_HERE | {"Content-Type": FORM}
    async with visit(site).client.post("/dashboard/log-in", data=slowly(), headers=headers) as answer:
        assert answer.status == 408


async def test_it_is_the_same_over_postgresql(open_site, visit, empty_postgresql_url):
    site = await open_site(url=empty_postgresql_url)
    ona = visit(site)

    assert (await ona.log_in("ona")).status == 200
    assert "Everything is stopped." in (await ona.do("/dashboard/do/stop", reason="wrong template")).words
    assert "Everything goes on." in (await ona.do("/dashboard/do/go-on", reason="right again")).words
    for path in ("/", "/dashboard/batches", "/dashboard/accounts", "/dashboard/outgoing", "/dashboard/audit/check"):
        assert (await ona.get(path)).status == 200
    audit = await ona.get("/dashboard/audit?actor=ona")
    assert audit.words.count("ona (operator), dashboard") == 2


async def test_a_database_that_is_not_upgraded_is_said_on_a_page(open_site, visit, tmp_path):
    site = await open_site(url=f"sqlite:///{tmp_path / 'empty.db'}")

    page = await visit(site).get("/")

    assert (page.status, page.title) == (503, "The database is not ready")
    assert page.headers["X-Frame-Options"] == "DENY"


def test_a_cookie_that_is_not_ours_says_nothing(subtests):
    for cookie in [".", "a.b", "\udcff.b", "a.\udcff", "\udcff.\udcff", "YQ==."]:
        with subtests.test(cookie=cookie):
            request: Any = SimpleNamespace(host="site.example", headers={}, cookies={})
            request.cookies[cookie_name(request, SAID)] = cookie
            assert what_was_said(Visit(Person("ona", Role.OPERATOR), "secret", request)) == ""
