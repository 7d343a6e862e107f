"""A corpus of visitors that are no customers: none of them buys a session, and none ends a customer's link.

What each does is reported in public; the source is next to it. And people, some with programs that look alike: their
press counts. Every visitor comes to a link whose session is bought on click.
"""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from onboarding_worker.features.stable_links.landing import Lead
from tests.features.stable_links.web.landing import OTHER, SECRET, LandingSite

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36"
)
OLD_CHROME = CHROME.replace("146.0.0.0", "72.0.3626.109")
SAFARI = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1"
    " Safari/601.2.4"
)
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
ANDROID = (
    "Mozilla/5.0 (Linux; Android 12; {}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36"
)
HERE, NOT_ME = f"/s/{SECRET}", f"/s/{SECRET}/not-me"


@dataclass(frozen=True)
class Robot:
    """What it does, step by step: a method and a path, or seconds that pass. `forgets`: it keeps no cookies."""

    name: str
    source: str
    agent: str
    steps: tuple[object, ...]
    headers: dict[str, str] = field(default_factory=dict)
    forgets: bool = False


GET, HEAD, POST = ("GET", HERE), ("HEAD", HERE), ("POST", HERE)
ASK_NOT_ME, SAY_NOT_ME = ("GET", NOT_ME), ("POST", NOT_ME)
ROBOTS = [
    Robot("Outlook Safe Links asks for the head", "github.com/nextauthjs/next-auth/issues/1840", OLD_CHROME, (HEAD,)),
    Robot("Outlook Safe Links opens it", "github.com/opencollective/opencollective/issues/3656", OLD_CHROME, (GET,)),
    Robot(
        "Outlook Safe Links opens it and posts its form",
        "github.com/FusionAuth/fusionauth-site/pull/2922",
        OLD_CHROME,
        (HEAD, GET, POST),
    ),
    Robot(
        "Office 365 loads it in a whole browser, runs what is there, and posts what it finds again and again",
        "github.com/justingit/dada-mail/issues/1126",
        CHROME,
        (GET, POST, POST, POST, 1, POST),
    ),
    Robot(
        "Microsoft follows a redirect to its end", "github.com/outline/outline/issues/9227", CHROME, (GET, GET, POST)
    ),
    Robot(
        "Outlook.com's BingPreview opens it",
        "github.com/phpList/phplist3/issues/415",
        "Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b",
        (GET, 60, POST),
    ),
    Robot("Barracuda opens every link", "github.com/supabase/auth/issues/1214", CHROME, (GET, 1, GET), forgets=True),
    Robot(
        "a gateway opens it from another network, 12 seconds after the customer",
        "github.com/resend/resend-node/issues/901",
        CHROME,
        (12, GET),
    ),
    Robot(
        "a gateway opens each link of a mail within a moment",
        "github.com/SparkDevNetwork/Rock/issues/7034",
        CHROME,
        (GET, ASK_NOT_ME),
    ),
    Robot("a spam filter asks for the head", "github.com/jdavidbakr/mail-tracker/pull/200", CHROME, (HEAD, HEAD)),
    Robot(
        "a gateway opens it at delivery and again later, without cookies",
        "github.com/mautic/mautic/issues/9798",
        CHROME,
        (GET, 30, GET, POST),
        forgets=True,
    ),
    Robot(
        "Proofpoint names itself", "none: a name that its owner may give", "Proofpoint URL Defense/1.0", (GET, 60, POST)
    ),
    Robot("Mimecast names itself", "none: a name that its owner may give", "Mimecast/1.0", (GET, 60, POST)),
    Robot("WhatsApp's preview", "opengraphplus.com/consumers/whatsapp/crawling", "WhatsApp/2.23.18.78 i", (GET,)),
    Robot(
        "Facebook's preview, for WhatsApp too",
        "opengraphplus.com/consumers/whatsapp/crawling",
        "facebookexternalhit/1.1",
        (GET, 60, POST),
    ),
    Robot(
        "iMessage's preview",
        "peter.upfold.org.uk/blog/2019/02",
        f"{SAFARI} facebookexternalhit/1.1 Facebot Twitterbot/1.0",
        (GET,),
    ),
    Robot(
        "Slack's preview",
        "api.slack.com/docs/unfurling",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        (GET,),
    ),
    Robot("Firefox fetches ahead", "developer.mozilla.org Sec-Purpose", CHROME, (GET,), {"Sec-Purpose": "prefetch"}),
    Robot("Chrome fetches ahead", "developer.mozilla.org Sec-Purpose", CHROME, (GET,), {"Purpose": "prefetch"}),
    Robot(
        "Chrome renders ahead",
        "chromium preloading_headers.cc",
        CHROME,
        (GET, 60, POST),
        {"Sec-Purpose": "prefetch;prerender"},
    ),
    Robot(
        "an earlier Firefox fetches ahead", "developer.mozilla.org Sec-Purpose", CHROME, (GET,), {"X-Moz": "prefetch"}
    ),
    Robot(
        "Safari shows a preview of the page",
        "none found: an earlier Safari did",
        SAFARI,
        (GET,),
        {"X-Purpose": "preview"},
    ),
    Robot("a headless robot posts the form at once", "none: the least that one can do", CHROME, (GET, POST)),
    Robot("a robot without cookies posts the form after a while", "none", CHROME, (GET, 60, POST), forgets=True),
    Robot("a robot posts without having seen the page", "none", CHROME, (POST, 60, POST), forgets=True),
    Robot("a program without a name", "none", "", (GET, 60, POST)),
    Robot(
        "a crawler", "none", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", (GET, 60, POST)
    ),
    Robot("a robot presses every button of every page", "none", CHROME, (GET, ASK_NOT_ME, SAY_NOT_ME, GET, POST)),
    Robot("a named robot presses the other button", "none", "bingbot/2.0", (ASK_NOT_ME, 60, SAY_NOT_ME)),
]
PEOPLE = {
    "with a browser": CHROME,
    "with a phone": PHONE,
    # next-auth's thread takes this for a scanner: it is the program in which a customer reads the mail.
    "in the new Outlook": f"{CHROME} Edg/117.0.2045.47 OneOutlook/1.2023.927.100",
    "in Telegram's own browser": f"{ANDROID.format('SM-A525F')} Telegram-Android/11.4.2 (Samsung SM-A525F; Android 12)",
    "with a phone called Cubot": ANDROID.format("CUBOT KINGKONG 5 Pro"),
    "who has scanned the picture in a letter": f"{ANDROID.format('Pixel 7')} QRScanner/3.2",
}


async def act(landing: LandingSite, robot: Robot) -> None:
    caller = landing.visitor(robot.agent, **robot.headers)
    caller.forgets = robot.forgets
    for step in robot.steps:
        match step:
            case ("POST", str(path)):
                await caller.press(path)
            case (str(method), str(path)):
                await caller.ask(method, path)
            case int(seconds):
                landing.pass_time(seconds)


async def test_a_robot_buys_nothing_and_the_customer_comes_after_it_and_is_served(subtests: pytest.Subtests):
    for robot in ROBOTS:
        with subtests.test(robot=robot.name):
            async with LandingSite() as landing:
                await act(landing, robot)

                assert landing.landings.asked == []
                assert landing.landings.stopped == []
                assert not any(landing.landings.opened)

                customer = landing.visitor(CHROME)
                await customer.get()
                assert (await customer.press(seconds=4)).status == 303
                assert landing.landings.asked == [SECRET]


async def test_with_the_page_first_no_robot_gets_to_a_live_session_or_counts_as_an_opening():
    async with LandingSite(on_click=False, page_first=True) as landing:
        landing.landings.decision = Lead()
        for robot in ROBOTS:
            await act(landing, robot)
            landing.pass_time(3600)

        assert landing.landings.led
        assert not any(landing.landings.led)
        assert not any(landing.landings.opened)


async def test_the_press_of_a_person_counts(subtests: pytest.Subtests):
    for who in PEOPLE:
        with subtests.test(who=who):
            async with LandingSite() as landing:
                person = landing.visitor(PEOPLE[who])
                page = await person.get()
                pressed = await person.press(seconds=4)

                assert page.heading == "Confirm your identity"
                assert (pressed.status, landing.landings.asked) == (303, [SECRET])
                assert landing.landings.opened[-1] is True


async def test_a_person_whose_browser_rendered_the_page_ahead_presses_its_button(landing: LandingSite):
    ahead = landing.visitor(CHROME, Sec_Purpose="prefetch;prerender")
    await ahead.get()
    ahead._headers.pop("Sec-Purpose")  # the page that is there is shown, and the press is an ordinary request
    assert (await ahead.press(seconds=10)).status == 303


@pytest.mark.parametrize(("shown_for", "status"), [(1.9, 200), (2.1, 303)])
async def test_a_press_counts_after_two_seconds_whenever_the_page_was_shown(
    landing: LandingSite, shown_for: float, status: int
):
    person = landing.visitor(CHROME)
    landing.pass_time(0.2)  # a time that is no whole second
    await person.get()
    assert (await person.press(seconds=shown_for)).status == status


async def test_a_page_of_a_process_whose_clock_stood_still_is_no_older_for_it(landing: LandingSite):
    robot = landing.visitor(CHROME)
    landing.behind = timedelta(seconds=26)
    await robot.get()
    landing.behind = timedelta(0)

    assert (await robot.press()).heading == "Please press the button once more"
    assert landing.landings.asked == []


async def test_a_person_who_was_too_fast_presses_once_more(landing: LandingSite):
    person = landing.visitor(CHROME)
    await person.get()
    first = await person.press()
    second = await person.press(seconds=4)

    assert (first.heading, second.status) == ("Please press the button once more", 303)
    assert landing.landings.asked == [SECRET]


async def test_a_page_that_was_open_for_hours_is_shown_anew(landing: LandingSite):
    person = landing.visitor(CHROME)
    await person.get()
    first = await person.press(seconds=3600)
    landing.pass_time(4)

    assert first.status == 200
    assert "or very long after" in first.text
    assert (await person.press()).status == 303


async def test_a_form_of_another_visitor_does_not_count(landing: LandingSite):
    person, thief = landing.visitor(CHROME), landing.visitor(CHROME)
    await person.get()
    await thief.get()
    assert (await thief.press(form=person.form, seconds=10)).status == 200
    assert landing.landings.asked == []


async def test_a_form_of_another_link_or_of_the_other_page_does_not_count(landing: LandingSite):
    person = landing.visitor(CHROME)
    await person.get(f"/s/{OTHER}")
    of_other = person.form
    await person.get(NOT_ME)
    of_not_me = person.form
    await person.get()
    of_this = person.form
    await person.press(form=of_other, seconds=10)
    await person.press(form=of_not_me)
    await person.press(NOT_ME, form=of_this)

    assert (landing.landings.asked, landing.landings.stopped) == ([], [])


async def test_a_form_that_was_never_made_does_not_count(subtests: pytest.Subtests):
    for form in ["", "1.2", "9" * 12 + "." + "0" * 64, "💥", "a" * 10_000]:
        with subtests.test(form=form):
            async with LandingSite() as landing:
                person = landing.visitor(CHROME)
                await person.get()
                await person.press(form=form, seconds=10)

                assert landing.landings.asked == []


async def test_a_visitor_who_comes_back_has_opened_the_link(landing: LandingSite):
    person = landing.visitor(CHROME)
    await person.get()
    landing.pass_time(60)
    await person.get()

    assert landing.landings.opened == [False, True]
