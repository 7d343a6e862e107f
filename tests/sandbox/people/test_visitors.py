"""Customers who come by our own link in a message: when, how often, and what they do at the page."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise

import pytest

from onboarding_sandbox import Sandbox, SandboxOptions
from onboarding_sandbox.options import Share
from onboarding_sandbox.people.customers import LOADS, Visit, Visited
from onboarding_sandbox.people.webhook_sender import Webhook
from onboarding_worker.http import event_loop
from tests.sandbox.people.test_played_page import TOKEN
from tests.simulated.virtual_time import VirtualLoop

SECRET = "0123456789abcdefABCDEF-_"
MAIL = f"Please open https://onboard.example.com/s/{SECRET}\n"
ASK = Visited(200, text='<input type="hidden" name="form" value="1.abc">', cookie="me")
DONE = Visited(200, text="Thank you, you are done")
WAIT = Visited(200, {"refresh": f"2; url=/s/{SECRET}?pressed"})
BUSY, AWAY = Visited(429, {"retry-after": "7"}), Visited(0)
Page = Callable[[Sandbox, Visit], Visited]


class World:
    """A sandbox whose customers come to a scripted page. `visits`: each with the hours since the start."""

    def __init__(self, page: Page, *, does: str = "finish") -> None:
        self.visits: list[tuple[float, Visit]] = []
        self.webhooks: list[str] = []
        self._page, self._does = page, does

    def play(self, *messages: tuple[float, str, str]) -> "World":
        """`messages`: the hour, the address and the text of each."""
        self.loop = VirtualLoop()
        event_loop.run(self._live(messages), lambda: self.loop)
        return self

    async def _live(self, messages: tuple[tuple[float, str, str], ...]) -> None:
        options = SandboxOptions(
            seed=1,
            customers=(Share(self._does, 1.0),),
            customers_keep=True,
            customers_after=(timedelta(hours=1), timedelta(hours=9)),
            page="https://page.example.com",
            webhooks={"": "https://worker.example.com"},
            clock=self.loop.clock,
        )

        def take(webhook: Webhook, _headers: object) -> int:
            self.webhooks.append(webhook.event)
            return 200

        sandbox = Sandbox(options, taker=take, browse=self._browse)
        self.sandbox = sandbox
        for hour, address, text in messages:
            await asyncio.sleep(hour * 3600 - self.loop.clock.elapsed)
            sandbox.visitors.got(address, text)
        await sandbox.idle()
        self.states = [one.does for one in sandbox.customers.sessions]
        await sandbox.stop()

    async def _browse(self, visit: Visit) -> Visited:
        self.visits.append((self.loop.clock.elapsed / 3600, visit))
        return self._page(self.sandbox, visit)

    @property
    def asked(self) -> list[str]:
        return [f"{visit.method} {visit.path}" for _, visit in self.visits]


def session(sandbox: Sandbox) -> Visited:
    """Lead to a session that is opened now."""
    answer = sandbox.answer(*TOKEN)
    return Visited(303, {"location": f"https://ivs.idenfy.com/api/v2/redirect?authToken={answer.token}"})


def button(sandbox: Sandbox, visit: Visit) -> Visited:
    return session(sandbox) if visit.method == "POST" else ASK


def test_a_customer_reads_the_page_presses_its_button_and_acts_at_once():
    world = World(button).play((0, "ona@example.com", MAIL))

    assert world.asked == [f"GET /s/{SECRET}", f"POST /s/{SECRET}"]
    (came, first), (pressed, press) = world.visits
    assert 1 <= came <= 9
    assert (pressed - came) * 3600 == pytest.approx(5)
    assert (press.body, press.headers["Cookie"]) == (b"form=1.abc", "visit=me")
    assert "Cookie" not in first.headers
    assert world.webhooks == ["IDENTIFICATION_AUTO_FINISHED"]
    log = [(one["event"], one["client"], one["processed"]) for one in world.sandbox.log if one["endpoint"] == "page"]
    assert log == [("visit", "ona@example.com", False), ("press", "ona@example.com", True)]


@pytest.mark.parametrize("does", ["never", "expire"])
def test_customers_who_do_not_come_do_not_press(does: str):
    assert World(button, does=does).play((0, "ona@example.com", MAIL)).visits == []


def test_a_message_without_our_own_link_brings_no_customer():
    text = f"https://ivs.idenfy.com/api/v2/redirect?authToken={SECRET}"
    assert World(button).play((0, "ona@example.com", text)).visits == []


def test_an_email_and_a_text_of_one_moment_bring_one_customer_whichever_is_first():
    """Which of them arrives first differs from run to run."""
    messages = [(0, "ona@example.com", MAIL), (0, "+37060000001", MAIL)]
    first, other = (World(button).play(*order) for order in (messages, messages[::-1]))

    assert len(first.visits) == 2
    assert [at for at, _ in first.visits] == [at for at, _ in other.visits]


def test_a_customer_whose_session_is_open_comes_again_by_the_next_message():
    found: list[Visited] = []

    def page(sandbox: Sandbox, visit: Visit) -> Visited:
        if not found and visit.method == "POST":
            found.append(session(sandbox))
        return found[0] if found else ASK

    world = World(page, does="open").play((0, "ona@example.com", MAIL), (100, "ona@example.com", MAIL))

    assert world.asked == [f"GET /s/{SECRET}", f"POST /s/{SECRET}", f"GET /s/{SECRET}"]
    assert world.states == ["open"]
    assert world.webhooks == ["IDENTIFICATION_EXPIRED"]  # once: the customer was back in the session that it had left


def test_a_customer_waits_where_the_page_says_and_as_long_as_it_says():
    answers = iter([AWAY, BUSY, ASK, WAIT, DONE])
    world = World(lambda _sandbox, _visit: next(answers)).play((0, "ona@example.com", MAIL))

    get, pressed = f"GET /s/{SECRET}", f"GET /s/{SECRET}?pressed"
    assert world.asked == [get, get, get, f"POST /s/{SECRET}", pressed]
    times = [at * 3600 for at, _ in world.visits]
    assert [round(later - at) for at, later in pairwise(times)] == [60, 7, 5, 2]


def test_a_customer_who_is_led_to_no_session_gives_up():
    world = World(lambda _sandbox, _visit: WAIT).play((0, "ona@example.com", MAIL))
    assert len(world.visits) == LOADS + 1
