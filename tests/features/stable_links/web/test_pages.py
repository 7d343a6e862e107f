"""What a visitor of a stable link reads, and the headers of it."""

import re
from base64 import b64encode
from datetime import timedelta
from hashlib import sha256

import pytest

from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.features.stable_links.landing import Asks, Finished, Gone, Lead, Over, Press, Wait
from onboarding_worker.features.stable_links.routes import OF_LINK
from onboarding_worker.features.stable_links.store.landings import Outcome
from onboarding_worker.web import strangers
from tests.features.stable_links.web.landing import OTHER, SECRET, SESSION, LandingSite
from tests.suite.some import some

NOT_ME = f"/s/{SECRET}/not-me"
UNKNOWN = "/s/AAAAAAAAAAAAAAAAAAAAAAAA"
LINK = re.compile(r'<a href="(/s/[^"]+)"')


async def test_each_decision_has_its_page(subtests: pytest.Subtests):
    for decision, status, heading in [
        (Press(), 200, "Confirm your identity"),
        (Wait(), 200, "One moment, please"),
        (Finished(), 200, "Thank you, you are done"),
        (Over(Reason.JOB_ENDED), 200, "This is not possible at the moment"),
        (Gone(), 404, "This link is not valid"),
    ]:
        with subtests.test(decision=decision, status=status, heading=heading):
            async with LandingSite() as landing:
                landing.landings.decision = decision
                answer = await landing.visitor().get()

            assert (answer.status, answer.heading) == (status, heading)


async def test_every_answer_has_strict_headers(landing: LandingSite):
    visitor = landing.visitor()
    answers = [await visitor.get(path) for path in (f"/s/{SECRET}", NOT_ME, UNKNOWN)]
    landing.landings.decision = Lead()
    answers += [await visitor.get(), await visitor.press()]

    for answer in some(answers):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
        assert answer.headers["X-Frame-Options"] == "DENY"


async def test_the_policy_allows_the_one_style_and_the_logo_and_no_script(landing: LandingSite):
    answer = await landing.visitor().get()

    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = b64encode(sha256(style[1].encode()).digest()).decode()
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "img-src": "https://www.example.com data:",
        "form-action": "'self' https:",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }


async def test_the_page_and_its_policy_are_of_the_customers_brand_and_of_a_brand_that_is_gone_the_default(
    landing: LandingSite,
):
    for brand, name, host in (("nova", "Nova", "cdn.nova.example"), ("gone", "Example Bank", "www.example.com")):
        landing.landings.brand = brand
        answer = await landing.visitor().get()

        assert name in answer.text
        assert f"img-src https://{host} data:" in answer.headers["Content-Security-Policy"]
        style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
        digest = b64encode(sha256(style[1].encode()).digest()).decode()
        assert digest in answer.headers["Content-Security-Policy"]


async def test_without_a_logo_the_policy_allows_the_empty_icon_alone():
    async with LandingSite(is_secure=False) as landing:
        answer = await landing.visitor().get()

    parts = answer.headers["Content-Security-Policy"].split("; ")
    # 'none' counts only where nothing stands beside it: else a browser reports an error on each page.
    assert [part for part in parts if part.startswith("img-src ")] == ["img-src data:"]
    assert not [part for part in parts if "'none'" in part.split() and len(part.split()) > 2]


async def test_a_page_that_waits_looks_again_by_itself_and_less_often_when_it_takes_long(landing: LandingSite):
    visitor = landing.visitor()
    seen = []
    for decision in (Wait(), Wait(since=landing.now), Wait(until=landing.now + timedelta(minutes=9))):
        landing.landings.decision = decision
        answer = await visitor.get()
        seen.append((answer.heading, answer.headers["Refresh"]))
    landing.landings.decision = Wait(since=landing.now)
    landing.pass_time(31)
    late = await visitor.get()

    assert seen == [("One moment, please", "2")] * 2 + [("This takes longer than usual", "60")]
    assert (late.heading, late.headers["Refresh"]) == ("This takes longer than usual", "60")


async def test_a_page_that_waits_names_the_latest_time_unless_it_is_a_matter_of_minutes(landing: LandingSite):
    visitor = landing.visitor()
    texts = []
    for until in (None, timedelta(minutes=9), timedelta(hours=5)):
        landing.landings.decision = Wait(until and landing.now + until, since=landing.now - timedelta(minutes=1))
        texts.append((await visitor.get()).text)

    assert ["in some minutes" in text for text in texts] == [True, True, False]
    assert "after 22 November 2026, 17:04 (UTC)" in texts[2]


async def test_the_page_speaks_the_customers_language_and_a_page_without_customer_the_visitors(landing: LandingSite):
    landing.landings.locale = "lt-LT"
    visitor = landing.visitor(Accept_Language="de-AT, en;q=0.5")
    known, unknown = await visitor.get(), await visitor.get(UNKNOWN)

    assert known.heading == "Patvirtinkite savo tapatybę"
    assert unknown.heading == "Dieser Link ist nicht gültig"


async def test_an_unknown_link_is_told_from_nothing_else(landing: LandingSite):
    """No cookie, no form, and no way on that would differ from another unknown link."""
    visitor = landing.visitor()
    answers = [await visitor.get(path) for path in (UNKNOWN, "/s/x", f"{UNKNOWN}/not-me")]
    landing.landings.decision = Gone()
    answers.append(await visitor.get())

    assert len({(answer.status, answer.text) for answer in answers}) == 1
    assert not any("Set-Cookie" in answer.headers for answer in answers)


async def test_too_many_requests_get_a_page_that_says_so(landing: LandingSite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onboarding_worker.features.stable_links.routes.seconds", lambda: 0.0)
    visitor = landing.visitor()
    answers = [await visitor.get() for _ in range(OF_LINK.count + 1)]

    assert [answer.status for answer in answers[:-1]] == [200] * OF_LINK.count
    assert (answers[-1].status, answers[-1].heading) == (429, "Please wait a moment")
    assert int(answers[-1].headers["Retry-After"]) >= 1


async def test_links_that_are_none_and_one_true_link_close_no_other_of_the_same_address(
    landing: LandingSite, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("onboarding_worker.features.stable_links.routes.seconds", lambda: 0.0)
    stranger, customer = landing.visitor(), landing.visitor()  # of one address, as behind a proxy that nobody named
    misses = [await stranger.get(f"/s/made-up-{number}") for number in range(20)]
    misses += [await stranger.press(path, form="x") for path in ("/s/x", "/s/x/not-me")]
    asked = [await stranger.get(f"/s/{OTHER}") for _ in range(700)]

    assert {one.status for one in misses} == {404}
    assert [one.status for one in asked] == [200] * OF_LINK.count + [429] * (700 - OF_LINK.count)
    assert (await customer.get()).status == 200


async def test_where_too_many_come_at_once_the_page_says_so(landing: LandingSite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(strangers, "MOST_WAITING", (0, 0, 0))
    answer = await landing.visitor().get()

    assert (answer.status, answer.heading) == (429, "Please wait a moment")
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(("replaces", "by"), [(False, [Asks.VISIT]), (True, [])])
async def test_a_visit_buys_the_first_session_and_replaces_none(replaces: bool, by: list[Asks]):
    async with LandingSite(on_click=False) as landing:
        landing.landings.decision = Press(replaces)
        customer = landing.visitor()
        await customer.get()
        assert landing.landings.by == by
        await customer.press(seconds=4)

    assert landing.landings.by[len(by) :] == ([Asks.PRESS] if replaces else [])


async def test_a_database_that_is_away_gets_a_page_that_says_so(landing: LandingSite):
    landing.readiness.why_not = "the database cannot be used"
    answer = await landing.visitor().get()

    assert (answer.status, answer.heading) == (503, "We cannot answer at the moment")
    assert "database" not in answer.text


async def test_a_person_says_that_the_link_is_for_another(landing: LandingSite):
    person = landing.visitor()
    page = await person.get()
    assert f'href="{NOT_ME}"' in page.text
    asked = await person.get(NOT_ME)
    landing.pass_time(4)
    landing.landings.locale = "lt"
    said = await person.press(NOT_ME)
    again = await person.press(NOT_ME)

    assert asked.heading == "Was this message not meant for you?"
    assert (said.status, said.heading) == (200, "Ačiū, kad pranešėte")
    assert again.heading == "Thank you for telling us"
    assert landing.landings.stopped[0] == SECRET
    assert (await person.get()).status == 404
    assert landing.landings.asked == []


async def test_not_me_pressed_too_soon_says_that_the_press_did_not_count(landing: LandingSite):
    person = landing.visitor()
    asked = await person.get(NOT_ME)
    soon = await person.press(NOT_ME)

    assert (asked.heading, soon.heading) == ("Was this message not meant for you?",) * 2
    assert ("your press did not count" in asked.text, "your press did not count" in soon.text) == (False, True)
    assert landing.landings.stopped == []
    assert (await person.press(NOT_ME, seconds=4)).heading == "Thank you for telling us"


async def test_while_a_session_is_being_asked_for_the_person_is_asked_to_come_again(landing: LandingSite):
    landing.landings.outcome = Outcome.MOMENT
    person = landing.visitor()
    await person.get(NOT_ME)
    assert (await person.press(NOT_ME, seconds=4)).heading == "This takes longer than usual"


async def test_the_link_itself_is_in_no_log(landing: LandingSite, caplog: pytest.LogCaptureFixture):
    person = landing.visitor()
    await person.get()
    await person.press()
    landing.landings.decision = Over(Reason.JOB_ENDED)
    await person.get()

    assert SECRET not in caplog.text


async def test_with_the_page_first_a_live_session_is_led_to_by_the_button_alone():
    async with LandingSite(on_click=False, page_first=True) as landing:
        landing.landings.decision = Lead()
        visitor = landing.visitor()
        head, page = await visitor.ask("HEAD"), await visitor.get()
        pressed = await visitor.press(seconds=4)

    assert (head.status, page.status, page.heading) == (200, 200, "Confirm your identity")
    assert SESSION not in page.text
    assert f'href="/s/{SECRET}/not-me"' in page.text
    assert (pressed.status, pressed.headers["Location"]) == (303, SESSION)
    assert landing.landings.led == [False, True]  # the page alone is no visit of the session


async def test_with_the_page_first_a_visit_buys_nothing_and_who_pressed_is_led_from_the_page_that_waits():
    async with LandingSite(on_click=False, page_first=True) as landing:
        visitor = landing.visitor()
        await visitor.get()
        assert landing.landings.asked == []
        landing.pass_time(4)
        landing.landings.answer = Wait(until=landing.now)
        landing.landings.decision = Wait(until=landing.now)
        waits = await visitor.press()
        again = await visitor.get(looks_again := LINK.findall(waits.text)[0])
        landing.landings.decision = Lead()
        led = await visitor.get(looks_again)
        passer_by = await landing.visitor().get()

    # By itself and by its link, the first time and the next.
    assert {waits.headers["Refresh"], again.headers["Refresh"]} == {f"60; url={looks_again}"}
    assert LINK.findall(again.text)[0] == looks_again
    assert landing.landings.asked == [SECRET]
    assert (led.status, led.headers["Location"]) == (303, SESSION)
    assert (passer_by.status, passer_by.heading) == (200, "Confirm your identity")


async def test_where_a_page_that_waits_looks_again_buys_nothing():
    async with LandingSite(page_first=True) as landing:
        robot = landing.visitor()
        pages = [await robot.get(f"/s/{SECRET}?pressed") for _ in range(2)]

    assert {page.heading for page in pages} == {"Confirm your identity"}
    assert landing.landings.asked == []
