"""Measures one message's way out: rendering, MIME, and the hand-over to a mail server that answers at once.

Each side runs in this process, with the mail server in another one. "script" writes the same words with the standard
library: `string.Template`, `EmailMessage` and one kept `smtplib.SMTP`.
"""

import argparse
import asyncio
import os
import smtplib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from benchmarks.processes import Failed, cpu_seconds, free_port, listens, report, running, wait_for
from worker.domain.invitations.render import Templates
from worker.domain.invitations.values import Invitation
from worker.domain.model.customers import Channel, Customer, Person
from worker.senders.contract import Message, Receipt
from worker.senders.email import EmailSender
from worker.senders.mime import From, Mailbox, compose

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FROM = "Example Bank <verify@example.com>"
PEOPLE = (
    ("Ona", "Kazlauskienė", "lt"),
    ("Jürgen", "Müller", "de"),
    ("Siobhán", "O'Brien", "en"),
    ("Zoë", "Dubois", "fr"),
)
ZONES = ("Europe/Vilnius", "Europe/Berlin", "Europe/Dublin", "Europe/Paris")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, default=5000, help="messages of a round [5000]")
    parser.add_argument("--rounds", type=int, default=3, help="how often each step is measured [3]")
    parser.add_argument("--connections", type=int, default=4, help="connections to the mail server [4]")


def run(chosen: argparse.Namespace) -> dict[str, Any]:
    """Measure and return the facts. Progress goes to standard error. Raises Failed."""
    load = os.getloadavg()[0]
    templates = Templates(None)
    invitations = [_invitation(number) for number in range(chosen.messages)]
    messages = [_message(templates, one, number) for number, one in enumerate(invitations)]
    sender, to = From.read(FROM), Mailbox.read("ona@customer.example")
    if to is None:
        raise Failed("the sample's address is not one")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="onboarding-bench-") as folder:
        command = [sys.executable, "-m", "benchmarks.smtp_sink", str(port)]
        with running(command, folder=Path(folder)) as sink:
            wait_for("the mail server", lambda: listens(port))
            steps: dict[str, Callable[[], None]] = {
                "render": lambda: _each(templates.render(one, channel="email", now=NOW) for one in invitations),
                "MIME": lambda: _each(compose(one, sender=sender, to=to) for one in messages),
                "MIME and hand-over": lambda: asyncio.run(_hand_over(port, messages, chosen.connections)),
                "all": lambda: asyncio.run(_whole(port, templates, invitations, chosen.connections)),
                "a script": lambda: _script(port, messages[: chosen.messages // 5]),
            }
            counts = {"a script": chosen.messages // 5}
            found = {}
            for name, step in steps.items():
                found[name] = _measured(step, counts.get(name, chosen.messages), chosen.rounds, sink.pid, port, name)
                report(f"{name}: {found[name]}")
    return {
        "messages": chosen.messages,
        "rounds": chosen.rounds,
        "connections": chosen.connections,
        "load_before": round(load, 1),
        "steps": found,
    }


def table(facts: dict[str, Any]) -> str:
    """The facts as a Markdown table."""
    lines = [
        f"{facts['messages']:,} messages, medians of {facts['rounds']}, {facts['connections']} connections."
        f" Load before the start {facts['load_before']:g}, which should be near 0.",
        "",
        "| step | processor time of a message | of the mail server | messages/s |",
        "|---|---|---|---|",
    ]
    for name, one in facts["steps"].items():
        server = f"{one['server']:.0f} µs" if one["server"] else ""
        lines.append(f"| {name} | {one['own']:.0f} µs | {server} | {one['rate']:,.0f} |")
    return "\n".join(lines)


def _measured(step: Callable[[], None], count: int, rounds: int, pid: int, port: int, name: str) -> dict[str, float]:
    own, server, rates = [], [], []
    for _ in range(rounds):
        _count(port)
        theirs, mine, began = cpu_seconds([pid]) or 0.0, time.process_time(), time.perf_counter()
        step()
        rates.append(count / (time.perf_counter() - began))
        own.append(1e6 * (time.process_time() - mine) / count)
        server.append(1e6 * ((cpu_seconds([pid]) or 0.0) - theirs) / count)
        if (accepted := _count(port)) not in (0, count):
            raise Failed(f"{name}: {accepted} of {count} messages were accepted")
    return {
        name: round(statistics.median(values), 1)
        for name, values in (("own", own), ("server", server), ("rate", rates))
    }


def _count(port: int) -> int:
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.helo("count")
        return int(client.docmd("XCOUNT")[1])


def _each(values: Iterable[object]) -> None:
    for _ in values:
        pass


async def _hand_over(port: int, messages: list[Message], connections: int) -> None:
    queue = iter(messages)
    sender = _sender(port, connections)

    async def one_after_the_other() -> None:
        for message in queue:
            _accepted(await sender.send(message))

    await asyncio.gather(*(one_after_the_other() for _ in range(connections)))
    await sender.close()


async def _whole(port: int, templates: Templates, invitations: list[Invitation], connections: int) -> None:
    queue = iter(enumerate(invitations))
    sender = _sender(port, connections)

    async def one_after_the_other() -> None:
        for number, invitation in queue:
            _accepted(await sender.send(_message(templates, invitation, number)))

    await asyncio.gather(*(one_after_the_other() for _ in range(connections)))
    await sender.close()


def _sender(port: int, connections: int) -> EmailSender:
    return EmailSender(host="127.0.0.1", port=port, from_=FROM, connections=connections)


def _accepted(answer: object) -> None:
    if not isinstance(answer, Receipt):
        raise Failed(f"the mail server did not accept a message: {answer}")


def _script(port: int, messages: list[Message]) -> None:
    with smtplib.SMTP("127.0.0.1", port) as client:
        for one in messages:
            mail = EmailMessage()
            mail["From"], mail["To"], mail["Subject"] = FROM, one.to, one.subject
            mail["Message-ID"] = f"<{one.key}@example.com>"
            mail.set_content(one.text)
            mail.add_alternative(one.html, subtype="html")
            client.send_message(mail)


def _invitation(number: int) -> Invitation:
    first, last, locale = PEOPLE[number % len(PEOPLE)]
    customer = Customer(
        f"C-{number:08}",
        person=Person(email=f"c{number}@mail.example.com", first_name=first, last_name=last),
        country="LT",
        locale=locale,
        timezone=ZONES[number % len(ZONES)],
        channel=Channel.EMAIL,
    )
    link = f"https://ivs.idenfy.com/api/v2/redirect?authToken=bench{number:035}"
    return Invitation(customer, link, NOW + timedelta(days=7, seconds=number), "Example Bank")


def _message(templates: Templates, one: Invitation, number: int) -> Message:
    text = templates.render(one, channel="email", now=NOW)
    return Message(f"bench-{number}", NOW, one.customer.person.email, text.language, text.subject, text.text, text.html)
