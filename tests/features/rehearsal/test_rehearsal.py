"""A rehearsal is the run itself: the same messages as over real connections, one by one; nothing leaves the process."""

import asyncio
import csv
import random
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from onboarding_sandbox import Sandbox, SandboxOptions
from onboarding_sandbox.options import Share
from onboarding_sandbox.wire import SESSIONS
from onboarding_worker.cli.commands.init import SANDBOX_SECRETS, starter
from onboarding_worker.cli.lists.listed import Listed
from onboarding_worker.core.database import schema
from onboarding_worker.core.database.job_ids import guessable_ids
from onboarding_worker.core.foundation.keyring import new_key
from onboarding_worker.features.rehearsal import play, stand_ins
from onboarding_worker.features.rehearsal.play import STEP, Asked, Rehearsed, SteppedLoop, Steps, add_page, rehearse
from onboarding_worker.features.rehearsal.shown import Event, events_of, shares_of
from onboarding_worker.features.rehearsal.store.happenings import happenings
from onboarding_worker.http import event_loop
from onboarding_worker.lists.importing.judging import options_of
from onboarding_worker.lists.importing.list_import import import_list
from onboarding_worker.lists.lines import ListRefused
from onboarding_worker.providers.webhooks.contract import Delivery
from onboarding_worker.reporting.prices import Prices
from onboarding_worker.runtime.embedded import Embedded
from onboarding_worker.settings.load import load
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.web.webhooks.sources import account_sources
from onboarding_worker.wiring.container import Parts
from tests.suite.of_features import needs

START = datetime(2026, 11, 23, 16, 30, tzinfo=UTC)  # in Vilnius half past six in the evening
DAYS = 12
CUSTOMERS = (Share("finish", 0.3), Share("deny", 0.1), Share("open", 0.4))
ACTS = (timedelta(hours=1), timedelta(days=3))
RULES = """
[invitations]
quiet_hours = { sms = "19:00-08:00" }
messages_per_customer = 3
[follow_up]
reminders = ["2 days", "8 days"]
most = 1
"""
MESSAGES = {"invitation", "new link", "reminder"}
ON_CLICK = '[web]\nbase_url = "{page}"\n[links]\nmode = "stable"\nissue = "on-click"\n'


def list_of(path: Path, rows: int) -> Path:
    """Customers of all five accounts, by email, by text and by both."""
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["customer_id", "kind", "email", "phone", "country", "channel", "entity_id", "timezone"])
        for number in range(rows):
            country = ("DE", "LT", "AU", "NZ", "")[number % 5]
            lines.writerow(
                [
                    f"C-{number:04}",
                    "individual" if country else "company",
                    f"box{number}@example.com",
                    f"+3706{number:07}",
                    country,
                    ("sms", "email", "both")[number % 3],
                    f"00000000-0000-4000-8000-{number:012}" if country == "AU" else "",
                    "Europe/Vilnius",
                ]
            )
    return path


def configured(folder: Path, *, port: int, smtp_port: int, more: str = RULES) -> Settings:
    (folder / "secrets").mkdir(exist_ok=True)
    for name, value in SANDBOX_SECRETS.items():
        (folder / "secrets" / name).write_text(value)
        (folder / "secrets" / name).chmod(0o600)
    for name in ("onboarding.key", "onboarding-digest.key"):
        (folder / name).write_text(new_key())
        (folder / name).chmod(0o600)
    path = folder / "onboarding.toml"
    path.write_text(starter("sandbox.toml", port=port, smtp_port=smtp_port) + more)
    return load(path, environ={})


class Fetched(Listed):
    """As one that is fetched, which takes a loop of its own."""

    @property
    def content(self) -> Path:
        event_loop.run(asyncio.sleep(0))
        return Path(self.path)


def asked(path: Path, *, seed: int = 1, days: int = DAYS, most: int = 1000) -> Asked:
    listed = Fetched(str(path))
    return Asked(listed, START, days, seed, CUSTOMERS, ACTS, most)


# A run over real connections, whose time is stepped.


def receiver(parts: Parts, arrived: asyncio.Event) -> web.Application:
    """Takes webhooks as `onboard web` does, without its timers, which would tick through the days."""
    sources = account_sources(parts.accounts, parts.keyring, parts.clock)

    async def take(request: web.Request) -> web.Response:
        path = tuple(request.match_info["path"].split("/")) if request.match_info["path"] else ()
        headers = {name.lower(): value for name, value in request.headers.items()}
        delivery, source = Delivery(await request.read(), headers, path), sources[request.match_info["account"]]
        assert source.refuses(delivery, "") == ""
        parts.webhooks.keep([source.read(delivery)], now=parts.clock())
        arrived.set()
        return web.Response()

    application = web.Application()
    application.router.add_post(r"/webhooks/{account}{_:/?}{path:.*}", take)
    return application


async def end_connections(loop: SteppedLoop) -> None:
    """A server that ends may accept a connection at that moment, which then belongs to no server."""
    for connection in list(loop._transports.values()):  # type: ignore[attr-defined]
        connection.abort()
    await asyncio.sleep(0)


async def run_in_sandbox(
    folder: Path, path: Path, loop: SteppedLoop, *, links: str = ""
) -> tuple[list[Event], list[tuple[datetime, str]]]:
    """The events by the run's own database, and what arrived: when, and to whom. `links`: the section of our own."""
    webhooks: dict[str, str] = {}
    async with AsyncExitStack() as exits:
        exits.push_async_callback(end_connections, loop)
        listening = exits.enter_context(socket.create_server(("127.0.0.1", 0)))
        worker = f"http://127.0.0.1:{listening.getsockname()[1]}"
        options = SandboxOptions(
            seed=1,
            customers=CUSTOMERS,
            customers_keep=True,
            customers_after=ACTS,
            page=worker if links else None,
            customers_by_message=True,
            webhooks=webhooks,
            clock=loop.now,
        )
        sandbox = await exits.enter_async_context(Sandbox(options))
        more = RULES + links.format(page=worker)
        settings = configured(folder, port=sandbox.port, smtp_port=sandbox.smtp_port, more=more)
        parts = Parts(settings, clock=loop.now, jitter=lambda: 0.5)
        exits.callback(parts.close)
        schema.upgrade(parts.database)
        parts.ready()
        imported = import_list(parts.intake, parts.batches, path, options_of(parts.intake), name=path.name)
        arrived = asyncio.Event()
        embedded = await exits.enter_async_context(Embedded(parts))
        application = receiver(parts, arrived)
        if links:
            add_page(application, parts, embedded, arrived)
        serving = web.AppRunner(application)
        await serving.setup()
        exits.push_async_callback(serving.cleanup)
        await web.SockSite(serving, listening).start()
        taken, secret = f"{worker}/webhooks", "sandbox-webhook-secret"
        webhooks |= {"idenfy-kyc": f"{taken}/kyc", "idenfy-kyb": f"{taken}/kyb"}
        webhooks |= {"frankieone-v1": f"{taken}/au-new/{secret}", "frankieone-v2": f"{taken}/au/{secret}"}
        steps = Steps(embedded, parts.database, loop, arrived=arrived, done=lambda: len(sandbox.log))
        await steps.until(START + timedelta(days=DAYS), show=lambda _now: None)
        found = Rehearsed(happenings(parts.database, imported.batch.id), {}, False, {}, {})
        mails = [(mail.at, mail.recipients[0]) for mail in sandbox.mailbox]
        return events_of(found, Prices.of(settings)), mails + [(text.at, text.to) for text in sandbox.texts]


@pytest.mark.parametrize(
    "links",
    [
        pytest.param("", id="providers' links"),
        pytest.param(ON_CLICK, id="bought on click", marks=needs("stable_links")),
    ],
)
def test_a_rehearsal_and_a_run_in_the_sandbox_do_the_same_one_by_one(tmp_path: Path, links: str):
    path = list_of(tmp_path / "list.csv", 12)
    loop = SteppedLoop(START)
    with guessable_ids(random.Random("1/ids").randbytes):  # noqa: S311 -- invented
        ran, arrived = event_loop.run(run_in_sandbox(tmp_path, path, loop, links=links), lambda: loop)
    more = RULES + links.format(page="https://onboard.example.com")
    settings = configured(tmp_path, port=1, smtp_port=2, more=more)
    rehearsed = in_order(events_of(rehearse(settings, asked(path)), Prices.of(settings)))
    ran = in_order(ran)

    assert [replace(event, at=START) for event in rehearsed] == [replace(event, at=START) for event in ran]
    # The wire takes its time, and a flush waits for it: what is due at the end of a step comes with the next one.
    assert max(abs(one.at - other.at) for one, other in zip(rehearsed, ran, strict=True)) <= STEP
    left = [event for event in ran if event.what in MESSAGES]
    assert sorted((minute(event.at), addresses_of(event)) for event in left) == sorted(
        (minute(at), to) for at, to in arrived
    )
    # A customer who has our own link needs no other: one who left comes again by a reminder, and buys another session.
    does = {"session", "new session", "finished", *MESSAGES} - ({"new link"} if links else set())
    assert {event.what for event in rehearsed} >= does
    sessions = sum(event.what == "session" for event in rehearsed)
    assert sessions < 12 if links else sessions == 12
    assert {event.account for event in left} == set(settings.accounts)


def minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def in_order(events: list[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (event.customer_id, event.what, event.channel, event.at))


def addresses_of(event: Event) -> str:
    number = int(event.customer_id[2:])
    return f"+3706{number:07}" if event.channel == "sms" else f"box{number}@example.com"


def test_the_same_seed_gives_the_same_rehearsal_and_another_seed_other_customers(tmp_path: Path):
    path, settings = list_of(tmp_path / "list.csv", 10), configured(tmp_path, port=1, smtp_port=2)

    def events(seed: int) -> list[Event]:
        return events_of(rehearse(settings, asked(path, seed=seed, days=4)), Prices.of(settings))

    first = events(1)
    assert events(1) == first
    assert events(2) != first


WHATSAPP = """
[whatsapp]
from = "+15005550006"
[invitations]
templates = "templates/"
"""


AT_ONCE, LATER = {"at-once": "+15005550005"}, {"later": "+15005550008"}
CALLBACKS = '[web]\nbase_url = "https://bank.example"\n'


@pytest.mark.parametrize(
    ("links", "numbers", "left"),
    [
        (CALLBACKS, AT_ONCE | LATER, {"at-once": ["sms"], "later": ["whatsapp", "sms"]}),
        (CALLBACKS, LATER, {"later": ["whatsapp", "sms"]}),  # no other text wakes the channel
        ("", AT_ONCE | LATER, {"at-once": ["sms"], "later": ["whatsapp"]}),
    ],
    ids=["with callbacks", "with a callback alone", "without"],
)
def test_numbers_that_are_not_on_whatsapp_get_one_text_as_in_the_sandbox(
    tmp_path: Path, links: str, numbers: dict[str, str], left: dict[str, list[str]]
):
    words = tmp_path / "templates" / "default" / "en" / "whatsapp.txt"
    words.parent.mkdir(parents=True)
    words.write_text(f"content: HX{'0' * 31}1\n1: {{{{ link }}}}\n")
    path = tmp_path / "list.csv"
    rows = [f"{name},{number},US,whatsapp,en\n" for name, number in numbers.items()]
    path.write_text("customer_id,phone,country,channel,locale\n" + "".join(rows))
    settings = configured(tmp_path, port=1, smtp_port=2, more=WHATSAPP + links)
    sent: dict[str, list[Event]] = {}
    for event in events_of(rehearse(settings, asked(path, days=1)), Prices.of(settings)):
        if event.channel:
            sent.setdefault(event.customer_id, []).append(event)
    assert {name: [event.channel for event in events] for name, events in sent.items()} == left
    whatsapp, text = sent["later"][0], sent["later"][-1]
    assert text.at - whatsapp.at <= STEP  # a callback is worked in the step in which it comes


def test_shares_that_leave_no_customers_over_leave_none():
    shares = shares_of(finish=None, deny=0.05, leave=0.0, never=0.95)
    assert (shares["finish"], shares["never"]) == (0.0, 0.95)


def test_time_passes_only_while_all_tasks_wait():
    loop = SteppedLoop(START)

    async def wait() -> list[str]:
        done: list[str] = []

        async def act(days: int) -> None:
            await asyncio.sleep(timedelta(days=days).total_seconds())
            done.append(f"{loop.now():%d}")

        await asyncio.gather(act(3), act(1))
        return done

    assert event_loop.run(wait(), lambda: loop) == ["24", "26"]


def interrupt(_days: float) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("served", "content", "error"),
    [
        ((), "customer_id,email\nC-1,box1@example.com\n", SettingsError),
        (SESSIONS, "customer_id,email,email\n", ListRefused),
        (SESSIONS, "customer_id,email\nC-1,box1@example.com\n", KeyboardInterrupt),
    ],
    ids=["refused settings", "a bad list", "interrupted"],
)
def test_a_rehearsal_that_ends_early_closes_its_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: tuple[str, ...], content: str, error: type[BaseException]
):
    made: list[SteppedLoop] = []

    class Kept(SteppedLoop):
        def __init__(self, start: datetime) -> None:
            super().__init__(start)
            made.append(self)

    monkeypatch.setattr(play, "SteppedLoop", Kept)
    monkeypatch.setattr(stand_ins, "SESSIONS", served)  # the providers that the sandbox serves
    path = tmp_path / "list.csv"
    path.write_text(content)
    settings = configured(tmp_path, port=1, smtp_port=2)
    with pytest.raises(error):
        rehearse(settings, asked(path, days=1), show=interrupt)

    assert [loop.is_closed() for loop in made] == [True]
