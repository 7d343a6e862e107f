"""The checks of `onboard doctor`. Each looks at one part of the installation; none changes or costs anything."""

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import gettempdir
from urllib.parse import urlsplit

import sqlalchemy as sa

from onboarding_worker.adapters.catalogue import AdapterBroken
from onboarding_worker.cli.exits import CannotStart
from onboarding_worker.cli.feature_checks import DOCTOR_CHECKS, Check, Finding, failure, ok, warning
from onboarding_worker.cli.online import NOT_ASKED, USED_UP, WORKS, answers_of, in_words
from onboarding_worker.cli.opening import why_not_ready
from onboarding_worker.cli.sample_message import example, rendered
from onboarding_worker.core.database import schema
from onboarding_worker.core.foundation.connection_failures import certificate_help
from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.core.model.channels import channels_of
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.rules.contact import Wording
from onboarding_worker.core.rules.text_numbers import EVERYWHERE, NAME_COUNTRIES
from onboarding_worker.features.doctor.destinations import where_is
from onboarding_worker.features.doctor.doctor_brokers import check_brokers
from onboarding_worker.features.doctor.store.languages_in_use import InUse, languages_in_use
from onboarding_worker.http import event_loop
from onboarding_worker.providers.facts import PROVIDERS, facts_of
from onboarding_worker.reporting.store.processes import WORK
from onboarding_worker.reporting.store.restored import why_lost
from onboarding_worker.senders.facts import TEXT_SERVICES, text_facts_of
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.settings.rules import lifetimes_unknown
from onboarding_worker.settings.shape import SECTIONS
from onboarding_worker.templates.checks import problems as problems_of_templates
from onboarding_worker.templates.values import base_of
from onboarding_worker.web.webhooks.sources import Closed, account_sources
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.opening import check_keys
from onboarding_worker.wiring.templates import doubtful_templates

LITTLE_SPACE, NO_SPACE = 1 << 30, 100 << 20  # bytes
CLOCK_MAY_DIFFER = timedelta(seconds=2)
CONNECT_SECONDS = 5

SHOWS = "`onboard template preview` shows the messages"


def check_database(parts: Parts, *, is_there: bool) -> Iterator[Finding]:
    where = where_is(parts.settings, "database") or "SQLite"
    if not is_there:
        yield warning("database", f"{where}: there is none yet", "the first command that needs it makes it")
        return
    why = why_not_ready(parts.database)
    if why:
        yield failure("database", f"{where}: {why}", "")  # it says what helps
    else:
        yield ok("database", f"{where}, revision {schema.newest()}")


def check_adapters(parts: Parts) -> Iterator[Finding]:
    """Which code of other packages runs here. A broken adapter that an account needs stops every command before."""
    accounts = [(name, one.provider) for name, one in parts.settings.accounts.items()]
    sections = ((channel, parts.settings.texting(channel)) for channel in channels_of("phone"))
    channels = [(f"[{channel}]", section.provider) for channel, section in sections if section]
    providers = [("provider", adapter, "account", accounts, facts_of) for adapter in PROVIDERS.foreign]
    senders = [("sender", adapter, "channel", channels, text_facts_of) for adapter in TEXT_SERVICES.foreign]
    for kind, adapter, user, users, load in (*providers, *senders):
        what, unused = f"{kind} {adapter.name}", f"no {user} needs it"
        try:
            load(adapter.name)
        except AdapterBroken as error:
            yield warning(what, str(error), f"{unused}; mend or uninstall {adapter.package}")
        else:
            used = ", ".join(name for name, provider in users if provider == adapter.name)
            yield ok(what, f"{adapter.package}; {f'for {used}' if used else unused}")


def check_encryption_keys(parts: Parts) -> Iterator[Finding]:
    try:
        check_keys(parts.database, parts.keyring)
    except SettingsError as error:
        page = hint("keys", "docs/features/keys.md") or "docs/reference/configuration.md"
        yield failure("keys", "; ".join(error.problems), page)
    else:
        yield ok("keys", "they open what the database holds")


def check_journal(parts: Parts) -> Iterator[Finding]:
    if parts.journal is None or parts.restored is None:
        lost = "there is none: after a restore it is not known who was erased and suppressed since"
        yield warning("journal", lost, "write [privacy] journal (docs/how-to/backup.md)")
        return
    if older := parts.restored.why_older():
        yield failure("journal", older, "docs/how-to/backup.md")
    if lost := why_lost(parts.journal.path):
        yield failure("journal", lost, "docs/how-to/backup.md")
    name = parts.journal.path.name
    try:
        parts.restored.try_files()
    except OSError as error:
        action = "give this user the right to write it, and its directory"
        yield failure("journal", f"{name}, or {name}.mark: {error.strerror}", action)
    else:
        yield ok("journal", f"{name} and its mark can be written")


def check_clock(parts: Parts) -> Iterator[Finding]:
    """This machine's clock against the database's."""
    if parts.database.is_sqlite:
        return
    apart = abs(parts.clock() - parts.database.now())
    words = f"{apart.total_seconds():.1f} s apart from the database's"
    if apart > CLOCK_MAY_DIFFER:
        yield warning("clock", words, "let both machines take their time from a time server (NTP)")
    else:
        yield ok("clock", words)


def check_disk(parts: Parts) -> Iterator[Finding]:
    """The space where a SQLite database is, or else where lists and reports are kept for a while. The folder in which a
    process runs need not be writable."""
    file = sa.make_url(parts.settings.database.url).database if parts.database.is_sqlite else None
    folder = Path(file).resolve().parent if file else Path(gettempdir())
    free = shutil.disk_usage(folder).free
    words = f"{free / (1 << 30):,.1f} GB free"
    if free < NO_SPACE:
        yield failure("disk", words, "make space: nothing can be written soon, and the work stops")
    elif free < LITTLE_SPACE:
        yield warning("disk", words, "make space")
    elif not os.access(folder, os.W_OK):
        yield failure("disk", "its folder cannot be written to", "give this user the right to write there")
    else:
        yield ok("disk", words)


def check_accounts_and_senders(parts: Parts) -> Iterator[Finding]:
    """Logs in to each, with calls that send nothing and cost nothing."""
    answers = event_loop.run(answers_of(parts, parts.accounts, parts.channels))
    # By the credentials. Other answers may come of a wrong path, or a machine on the way.
    problems = {name: said for name in parts.accounts if isinstance(said := answers[name], Problem)}
    refused = [name for name, one in problems.items() if one.kind is Kind.AUTH and one.status in (401, 403)]
    for name, answer in answers.items():
        section = name if name in parts.channels else f"accounts.{name}"
        where, said = where_is(parts.settings, section), in_words(answer)
        words = said if where in said else f"{where}: {said}"
        is_account = name in parts.accounts
        alike = [one for one in refused if is_account and _log_in(parts, one) == _log_in(parts, name)]
        asked = name if name in alike else next(iter(alike), None)
        if asked is not None and (asked == name or said == NOT_ASKED):
            other = "" if asked == name else f", and {asked}, which has the same credentials, is refused"
            keys = parts.accounts[name].credentials_in_words(parts.settings.sources)
            yield failure(section, words + other, f"the address is right; correct {keys}")
        elif said in (WORKS, NOT_ASKED):
            yield ok(section, words)
        elif said == USED_UP:
            yield warning(section, words, "ask again later; the address and the credentials are right")
        else:
            answered = isinstance(answer, Problem) and answer.status is not None
            helps = f"it answers: check the address and the credentials in [{section}]"
            helps = helps if answered else f"no answer came: check the address in [{section}], and the way there"
            yield failure(section, words, certificate_help(words, section) or helps)


def _log_in(parts: Parts, name: str) -> tuple[object, ...]:
    account = parts.accounts[name]
    return urlsplit(account.address).netloc, account.api_key, account.api_secret, account.customer_id


def check_texts(parts: Parts) -> Iterator[Finding]:
    if parts.settings.sms is not None and parts.settings.sms.countries is None:
        yield warning("sms countries", EVERYWHERE, NAME_COUNTRIES)


def check_templates(parts: Parts) -> Iterator[Finding]:
    problems, doubts = problems_of_templates(parts.templates), doubtful_templates(parts.settings, parts.templates)
    for problem in problems:
        yield failure("templates", problem, SHOWS)
    for doubt in doubts:
        yield warning("templates", doubt, SHOWS)
    if not problems and not doubts:
        yield ok("templates", "all can be rendered")


def check_languages(parts: Parts) -> Iterator[Finding]:
    """Each message that rows have to come is rendered once, with an example's data."""
    in_use = languages_in_use(parts.database) or [InUse("", "", "", Channel.BOTH, 0)]
    refused, replaced = Counter[str](), Counter[tuple[str, str]]()
    for one in in_use:
        sample = example(parts.templates, locale=one.locale, template=one.template, brand=one.brand)
        given = set[str]()
        for channel in (each for each in parts.channels if one.channel in (each, Channel.BOTH)):
            try:
                made = [rendered(parts.settings, parts.templates, sample, channel, kind) for kind in Wording]
            except CannotStart as error:
                refused[f"{channel}, locale {one.locale or 'of none'}: {error.format_message()}"] += one.rows
            else:
                given |= {each.language for each in made}
        replaced.update(
            {(one.locale, each): one.rows for each in given if one.locale and base_of(each) != base_of(one.locale)}
        )
    for words, rows in refused.items():
        yield failure("languages", f"{words} ({counted(rows, 'row')})", SHOWS)
    for (asked, instead), rows in replaced.items():
        words = f"{counted(rows, 'row')} with locale {asked}: no texts in that language, so in {instead}"
        yield warning("languages", words, "docs/how-to/templates.md, or leave it so")
    if not refused and not replaced:
        names = sorted({one.locale for one in in_use if one.locale})
        default = parts.settings.invitations.locale
        yield ok("languages", f"{', '.join(names) or f'{default}, the default'}: each message was rendered")


def check_web(parts: Parts) -> Iterator[Finding]:
    """Whether `onboard web` or `onboard up` listens where it is configured to, its proxy is named, and each account's
    webhooks can be verified."""
    web = parts.settings.web
    for source in account_sources(parts.accounts, parts.keyring, parts.clock).values():
        if isinstance(source, Closed):
            yield warning("web", source.why, "until it is corrected, this account's webhooks are refused")
    pages = (getattr(parts.settings, one.name) for one in SECTIONS.offered())
    ours = [getattr(part, "base_url", None) for part in (web, *pages)]
    if not web.trusted_proxies and any(str(url).startswith("https:") for url in ours):
        said = "base_url is https, which a proxy in front speaks, and none is named: all visitors count as one machine"
        yield warning("web", said, 'write [web] trusted_proxies = ["ADDRESS OF THE PROXY"]')
    host, _, port = web.bind.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))  # noqa: S104 -- compared, not bound

    async def connect() -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()

    try:
        event_loop.run(connect())
    except OSError:
        if web.senders or any(account.hears_results for account in parts.accounts.values()):
            yield warning("web", f"nothing listens at {web.bind}", "start `onboard web`, or `onboard up`")
    else:
        yield ok("web", f"{web.bind} listens")


def check_ladder(parts: Parts) -> Iterator[Finding]:
    """Whether each step is sent cannot be promised where a vendor decides how long links live."""
    steps, unknown = parts.settings.follow_up.ladder, lifetimes_unknown(parts.settings.accounts)
    if steps and unknown:
        words = f"for {', '.join(unknown)} the provider's vendor decides how long a link lives"
        yield ok("ladder", f"{counted(len(steps), 'step')}; {words}: a step is sent only while the link opens")
    elif steps:
        yield ok("ladder", f"{counted(len(steps), 'step')}; the start warns of those later than a link lives")


def check_writes(parts: Parts) -> Iterator[Finding]:
    """Whether the database server takes writes. SQLite's disk has a check of its own."""
    if not parts.database.is_sqlite and (why := parts.database.why_nothing_is_written()):
        action = "let it take writes, or name the server that takes them in [database] url"
        yield failure("database", f"{where_is(parts.settings, 'database')}: {why}", action)


def check_processes(parts: Parts) -> Iterator[Finding]:
    whole = parts.operation.report()
    working = sum(one.kind in WORK for one in whole.running)
    if not working and whole.due:
        start = "`onboard worker` and `onboard beat`" if parts.settings.broker.wakes_workers else "`onboard up`"
        action = "none can work until the database takes writes" if whole.unwritable else f"start {start}"
        yield warning("processes", "no process is working", action)
    else:
        at_work = f"{counted(working, 'process', 'processes')} at work"
        yield ok("processes", at_work if working else f"none; {whole.nothing_to_do}")
    for one in whole.attention:
        if one.what == "database":  # `check_writes` or `check_disk` says it, and what helps
            continue
        yield warning("attention", f"{one.name}: {one.detail}" if one.name else one.detail, one.step)


def all_checks(*, of_database: bool) -> list[Check]:
    """The checks to make, in the order in which one needs the other, with those of features last. `of_database`: also
    those that need one."""
    checks: list[Check] = []
    if of_database:
        checks += [check_encryption_keys, check_journal, check_clock, check_languages, check_writes, check_processes]
    checks += [check_adapters, check_disk, check_brokers, check_accounts_and_senders]
    checks += [check_texts, check_templates, check_ladder, check_web]
    return checks + [one.run for one in DOCTOR_CHECKS.offered() if of_database or not one.of_database]
