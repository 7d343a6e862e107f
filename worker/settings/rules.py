"""Rules about several keys together. Checks the part of the configuration that is valid."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime, time, timedelta
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

from onboarding_worker.core.foundation.notation import listed_in_words, show_duration
from onboarding_worker.core.foundation.tls import is_loopback
from onboarding_worker.core.model.customers import Channel, invitation_channels
from onboarding_worker.core.model.refusals import FRAUD, KNOWN, plain
from onboarding_worker.core.model.sessions import default_floor, never_fresh
from onboarding_worker.core.rules.quiet_hours import QuietHours
from onboarding_worker.providers.facts import PROVIDERS, SPECIAL_KEYS, facts_of, lifetime_of
from onboarding_worker.providers.parameters import unknown_parameter
from onboarding_worker.providers.row_rights import ACCOUNT
from onboarding_worker.settings.accounts import OWN, PLACEHOLDER, Account, facts_in
from onboarding_worker.settings.model import Database, FollowUp, Invitations, LadderStep, RetryAfterDenial, Settings
from onboarding_worker.settings.outside import check_senders
from onboarding_worker.settings.problems import Findings, suggestion
from onboarding_worker.settings.problems import Path as KeyPath
from onboarding_worker.settings.queue_names import check_names
from onboarding_worker.settings.rights import check_rights
from onboarding_worker.settings.routes import Route
from onboarding_worker.settings.secrets import HOW, directory_doubt, is_of_another_user, is_writable_by_others
from onboarding_worker.settings.sending import check_brands, check_whatsapp
from onboarding_worker.settings.shape import SECTIONS
from onboarding_worker.settings.tls import Client, check_one_host, check_tls

Given = Mapping[str, Any]  # the whole file, unchecked
SHORT = timedelta(seconds=60)
SHORT_KEY = 16
A_DAY, LONGEST_QUIET = timedelta(days=1), timedelta(hours=20)
# What all accounts of one budget have.
SHARED = ("limits", "burst", "concurrency", "credits")
BOTH = invitation_channels(Channel.BOTH)
SQLITE_FILES = ("", "-wal", "-shm", "-journal")  # SQLite reads changes from each of these
MOST_TEXTS = 1000  # files of templates; more than are read


def check(settings: Settings, given: Given, findings: Findings) -> None:
    """The rules about several keys together, for what of the file is valid. A section that the file has and `settings`
    lacks has a mistake; so has a table that is None."""
    accounts, senders, brands = good(settings.accounts), good(settings.web.senders), good(settings.brands)
    web, bus, broker, names = settings.web, settings.bus, settings.broker, list(accounts_in(given))
    if not given.get("accounts"):
        needed = "at least one account is needed: [accounts.NAME] with its provider and keys"
        findings.consequence(("accounts",), f"{needed}; `onboard init` writes one")
    if not given.get("routes"):
        example = next(iter(names), "NAME")
        to_send = f'to send every row to `{example}`: [[routes]] accounts = ["{example}"]'
        findings.consequence(("routes",), f"at least one route is needed; {to_send}")
    for name, account in accounts.items():
        check_account(name, account, findings)
    check_routes(good(settings.routes), accounts, names, brands, findings)
    check_brands(brands, given, findings)
    check_rights(settings.rights, senders, findings)
    if "bus" not in given or bus is not None:
        check_senders(senders, bus, broker, findings)
        check_names(broker.prefix, bus, findings)
    if not is_loopback(web.host) and not has_credentials(settings):
        findings.consequence(("web", "bind"), no_credentials())
    clients: dict[KeyPath, Any] = {}
    for name, part in vars(settings).items():
        several = good(part).items() if isinstance(part, dict | tuple) else ()
        clients |= {(name, at): one for at, one in several} | {(name,): part}
    check_tls({path: one for path, one in clients.items() if isinstance(one, Client)}, findings)
    check_one_host(accounts, findings)
    if not settings.database.lacks("url"):
        check_database(settings.database, findings)
    for index, key in enumerate(settings.encryption.digest_key):
        if key in settings.encryption.keys:
            findings.problem(("encryption", "digest_key", index), "one of `keys`: digests have a key of their own")
    if settings.retry.first > settings.retry.most:
        findings.consequence(("retry", "first"), "expected no more than retry.most")
    invitations, follow_up = settings.invitations, settings.follow_up
    check_quiet_hours(invitations, accounts, findings)
    check_templates(invitations, findings)
    if invitations.fallback and invitations.fallback not in given:
        findings.consequence(("invitations", "fallback"), f"needs the section [{invitations.fallback}]")
    check_ladder(good(follow_up.ladder), follow_up.reminders, accounts, given, findings)
    check_ahead(follow_up, accounts, findings)
    check_denial_reasons(settings.retry_after_denial, follow_up.most, findings)
    if settings.whatsapp and "sms" not in given:
        findings.consequence(("sms",), "missing, and needed for [whatsapp]: its account sends them")
    elif settings.whatsapp and settings.sms:
        check_whatsapp(settings.whatsapp, settings.sms, findings)
    for one in SECTIONS.offered():
        section = getattr(settings, one.name)
        if section := good(section) if isinstance(section, dict | tuple) else section:
            one.check(section, given, findings)


def accounts_in(given: Given) -> dict[str, dict[str, Any]]:
    """The accounts' tables, also those with mistakes."""
    tables = given.get("accounts")
    return {name: one for name, one in tables.items() if isinstance(one, dict)} if isinstance(tables, dict) else {}


def good(tables: Any) -> dict[Any, Any]:
    """The tables that have no mistake, by their names or their positions in the file."""
    return {
        at: one for at, one in (tables.items() if isinstance(tables, dict) else enumerate(tables)) if one is not None
    }


def check_ladder(
    steps: Mapping[int, LadderStep],
    reminders: Collection[timedelta],
    accounts: Mapping[str, Account],
    tree: Mapping[str, Any],
    findings: Findings,
) -> None:
    """Each step has a time of its own, and a sender; and comes while a link may still live."""
    lifetimes = {name: lifetime_of(account) for name, account in accounts.items()}
    times = [*reminders, *(step.after for step in steps.values())]
    for index, step in steps.items():
        path = ("follow_up", "ladder", index)
        if times.count(step.after) > 1:
            findings.consequence((*path, "after"), "another step, or a reminder, has the same time")
        if step.channel and step.channel not in tree:
            findings.consequence((*path, "channel"), f"needs the section [{step.channel}]")
        ended = {name: one for name, one in lifetimes.items() if one is not None and step.after >= one}
        if ended:
            to = "" if ended.keys() == lifetimes.keys() else f" to customers of {', '.join(sorted(ended))}"
            longest = show_duration(max(ended.values()))
            why = f'no link {"there " if to else ""}lives longer than "{longest}"; a new link begins the ladder again'
            findings.warn((*path, "after"), f"this step is never sent{to}: {why}")


def check_denial_reasons(retry: RetryAfterDenial, most: int, findings: Findings) -> None:
    """A code that we do not know is the provider's newest, or one of fraud; and another session must be allowed."""
    if not retry.reasons:
        return
    of_fraud, path = {plain(code) for code in KNOWN if code.startswith(FRAUD)}, ("retry_after_denial", "reasons")
    for index, code in enumerate(retry.reasons):
        if code in of_fraud:
            findings.warn((*path, index), "it speaks of fraud")
        elif code not in KNOWN:
            findings.warn((*path, index), "no code that we know; it is waited for as it is")
    if most == 0:
        findings.warn(path, "no refused customer is asked once more, since [follow_up] most is 0")


def check_ahead(follow_up: FollowUp, accounts: Mapping[str, Account], findings: Findings) -> None:
    """Links are replaced before their end where the provider opens another session then, and live long enough."""
    ahead, path = follow_up.ahead, ("follow_up", "ahead")
    if not ahead:
        return
    facts = {name: facts_of(account.provider) for name, account in accounts.items()}
    early = {name: accounts[name] for name, one in facts.items() if one is not None and one.opens_early}
    short = {name: one for name, account in early.items() if (one := lifetime_of(account)) is not None and one <= ahead}
    for name, lives in sorted(short.items()):
        findings.problem(path, f"expected less than the links of {name} live, which is {show_duration(lives)}")
    for name in sorted(early.keys() - short.keys()):
        longest = lifetime_of(accounts[name])
        if longest is not None and follow_up.spacing >= longest:
            findings.warn(path, f"not kept for {name}: `spacing` lets no link be replaced before its end")
    if others := sorted(accounts.keys() - early.keys()):
        why = "their providers open" if len(others) > 1 else "its provider opens"
        findings.warn(path, f"not for {', '.join(others)}: {why} no other session while a link lives")


def lifetimes_unknown(accounts: Mapping[str, Account]) -> list[str]:
    """The accounts of which no one can say how long their links live, so neither whether a late step is sent."""
    return sorted(name for name, account in accounts.items() if lifetime_of(account) is None)


def check_provider_keys(path: KeyPath, given: Mapping[str, Any], findings: Findings) -> None:
    """Check that the account has the keys that its provider needs, and no keys that it does not use."""
    provider, facts = given.get("provider"), facts_in(given)
    if facts is None:
        return
    for key in SPECIAL_KEYS:
        if key in given and key not in facts.keys:
            having = [name for name in PROVIDERS.built_in if (other := facts_of(name)) and key in other.keys]
            findings.problem((*path, key), f"only for {listed_in_words(having)}; leave it out here")
    for key, reason in facts.needs.items():
        if key not in given:
            why = f"needed for {provider}" + (f": {HOW}" if key in ("api_secret", "customer_id") else "")
            findings.consequence((*path, key), f"missing: {reason}" if reason else f"missing, and {why}")
    dialect = given.get("dialect")
    if isinstance(dialect, str) and facts.dialects and dialect not in facts.dialects:
        findings.consequence((*path, "dialect"), f"expected one of {', '.join(facts.dialects)}")
    url = given.get("base_url")
    with suppress(ValueError):  # a bad URL is reported by its type
        if isinstance(url, str) and any(f"{documented}/" in f"{urlsplit(url).path}/" for documented in facts.paths):
            message = "expected the URL up to the provider's documented path, which is appended to it"
            findings.consequence((*path, "base_url"), message)
    if "lifetime" in given and not facts.lifetimes:
        findings.warn((*path, "lifetime"), "not used: the provider's vendor decides how long a session lives")


def check_account(name: str, account: Account, findings: Findings) -> None:
    path = ("accounts", name)
    for index, parameter in enumerate(account.per_row):
        if parameter != ACCOUNT and (why := unknown_parameter(account.provider, parameter, account.dialect)):
            findings.consequence((*path, "per_row", index), why)
    if account.lifetime is not None:
        if account.lifetime % timedelta(seconds=1):
            findings.consequence((*path, "lifetime"), "expected whole seconds")
        if account.lifetime < SHORT:
            findings.warn((*path, "lifetime"), f'below "{show_duration(SHORT)}": links will expire before they arrive')
    if any(not key.is_missing and len(key.reveal()) < SHORT_KEY for key in account.webhook_keys):
        why = f"a key of less than {SHORT_KEY} characters: who guesses it can say that customers are approved"
        findings.consequence((*path, "webhook_keys"), why)
    for value in PLACEHOLDER.findall(account.link or ""):
        facts = facts_of(account.provider)
        if facts and value not in OWN and value.partition(".")[0] not in facts.answers:
            findings.warn((*path, "link"), f"{{{value}}} is always empty: the provider's answers have no such value")


def check_routes(
    routes: Mapping[int, Route],
    accounts: Mapping[str, Account],
    names: list[str],
    brands: Collection[str],
    findings: Findings,
) -> None:
    """Check the routes, by their position in the file. `names` are all accounts, also those with problems."""
    catch_all = None
    for index, route in routes.items():
        path = ("routes", index)
        if route.brand is not None and route.brand not in brands:
            why = suggestion(route.brand, brands) or ": each is a table [brand.NAME]"
            findings.consequence((*path, "brand"), f"no such brand{why}")
        for position, name in enumerate(route.accounts):
            if names and name not in names:  # with no account at all, only that mistake is reported
                findings.consequence((*path, "accounts", position), f"no such account{suggestion(name, names)}")
            lifetime = lifetime_of(accounts[name]) if name in accounts else None
            if route.freshness is not None and lifetime is not None and never_fresh(route.freshness, lifetime=lifetime):
                least = f'expected less than "{show_duration(lifetime)}", the lifetime of accounts.{name}'
                why = "otherwise no link is ever fresh enough to send"
                findings.consequence((*path, "freshness"), f"{least}: {why}")
        if catch_all is not None:
            findings.warn(path, f"never reached: routes[{catch_all + 1}] matches every row")
        elif not route.when:
            catch_all = index


def has_credentials(settings: Settings) -> bool:
    """True if any credentials are configured. Every path of the web server checks credentials, so a server without
    credentials refuses every request, and was configured by mistake."""
    parts = vars(settings)
    return bool(
        any(sender.keys for sender in good(settings.web.senders).values())
        or any(account.hears_results for account in good(settings.accounts).values())
        or any(one.credentials and one.credentials.there(parts.get(one.name), parts) for one in SECTIONS.offered())
    )


def no_credentials() -> str:
    of_features = "".join(f", {one.credentials.words}" for one in SECTIONS.offered() if one.credentials)
    return (
        "an address other than loopback needs credentials to check requests with: `keys` in [web.senders.NAME], an"
        f" account's `webhook_keys`, `jwt_key` or `webhook_secret`{of_features}"
    )


def check_quiet_hours(invitations: Invitations, accounts: Mapping[str, Account], findings: Findings) -> None:
    """Refuse quiet hours that leave almost no time to send in. Warn if the quiet hours of the two channels are so far
    apart that a short link is too old for the second message."""
    for channel, hours in invitations.quiet_hours.items():
        if (quiet := between(hours.start, hours.end)) > LONGEST_QUIET:
            left = f'they leave only "{show_duration(A_DAY - quiet)}" a day for sending'
            why = f"{left}; at most 20 hours can be quiet. Are the two times swapped?"
            findings.consequence(("invitations", "quiet_hours", channel), why)
    both = [hours for channel, hours in invitations.quiet_hours.items() if channel in BOTH]
    if len(both) < len(BOTH):
        return
    gap = apart(*both)
    for name, account in accounts.items():
        lifetime = lifetime_of(account)
        if lifetime is not None and lifetime - default_floor(lifetime) < gap:
            far = f'the hours of email and sms are "{show_duration(gap)}" apart: for rows with channel `both`'
            late = f"a link of accounts.{name} is too old for the second message, so that message is not sent"
            findings.warn(("invitations", "quiet_hours"), f"{far}, {late}")


def between(one: time, other: time) -> timedelta:
    """From one hour to the next time that it is the other, by a clock without changes."""
    midnight = datetime(2000, 1, 1)  # noqa: DTZ001  # a clock's face, which is in no zone
    return (datetime.combine(midnight, other) - datetime.combine(midnight, one)) % A_DAY


def apart(one: QuietHours, other: QuietHours) -> timedelta:
    """The least time from an hour outside `one` to an hour outside `other`, by one clock; zero: they share an hour."""
    one_free, other_free = between(one.end, one.start), between(other.end, other.start)
    gaps = (between(one.end, other.end) - one_free, between(other.end, one.end) - other_free)
    return max(min(gaps), timedelta(0))


def check_database(database: Database, findings: Findings) -> None:
    """Only this user, root or the owner of its directory may own SQLite's files and change them."""
    file = database.sqlite_file
    if file is None:
        return
    for name in (f"{file}{ending}" for ending in SQLITE_FILES):
        with suppress(OSError):  # there is none
            found = Path(name).stat()
            if is_writable_by_others(found):
                why = f"can be changed by other users of this machine: `chmod o-w {quote(name)}`"
                findings.consequence(("database", "url"), f"the file {name} {why}")
            if is_of_another_user(found) and found.st_uid != Path(name).parent.stat().st_uid:
                why = "is another user's: if it is to be used, make it this user's with `chown`; else move it away"
                findings.consequence(("database", "url"), f"the file {name} {why}")
    with suppress(OSError):  # the directory is reported where it is used
        if doubt := directory_doubt(file, has_siblings=True):
            findings.warn(("database", "url"), doubt)


def check_templates(invitations: Invitations, findings: Findings) -> None:
    """Other users may not change the texts, which leave in the company's name."""
    directory, doubt = invitations.templates, ""
    for file in islice(directory.rglob("*.*"), MOST_TEXTS) if directory else ():
        with suppress(OSError):  # what cannot be read is reported where it is used
            if is_writable_by_others(file.stat()):
                why = f"can be changed by other users of this machine: `chmod -R o-w {quote(str(directory))}`"
                return findings.consequence(("invitations", "templates"), f"the file {file} {why}")
            doubt = doubt or directory_doubt(file)
    if doubt:
        findings.warn(("invitations", "templates"), doubt)


def share_budgets(
    accounts: Mapping[str, Account], given: Mapping[str, Mapping[str, Any]], findings: Findings
) -> dict[str, Account]:
    """The accounts, each with its budget's name and the values that all accounts of the budget share: the provider
    counts those with the same host and credential together. `given` has the values that the file itself sets for each
    account. A value from the file wins over a default; two different values from the file are a problem."""
    names: dict[str, str] = {}
    seen: list[tuple[tuple[Any, ...], str]] = []  # a secret has no hash, so no dict
    for name, account in sorted(accounts.items()):  # their order in the file may change
        if "budget" not in given[name]:
            credential = (account.api_key, account.api_secret, account.customer_id, account.customer_child_id)
            place = (account.provider.partition("-")[0], urlsplit(account.base_url).netloc.lower())
            names[name] = next((first for counted_as, first in seen if counted_as == (*place, *credential)), name)
            seen.append(((*place, *credential), name))
    # `budget = "NAME"` with an account's name means that account's budget, even if the budget has another name.
    budgets = {name: names.get(name) or names.get(one.budget, one.budget) for name, one in accounts.items()}
    shared: dict[str, dict[str, Any]] = {budget: {} for budget in budgets.values()}
    for budget, values in shared.items():
        members = sorted((name for name in accounts if budgets[name] == budget), key=lambda one: (one != budget, one))
        for key in SHARED:
            first, *rest = [name for name in members if key in given[name]] or members[:1]
            values[key] = getattr(accounts[first], key)
            for name in rest:
                if getattr(accounts[name], key) != values[key]:
                    differs = f"differs from accounts.{first}.{key}, but both share the budget `{budget}`"
                    instead = 'set it once, or separate the accounts with budget = "NAME"'
                    findings.consequence(("accounts", name, key), f"{differs}: {instead}")
    return {
        name: account.model_copy(update={"name": name, "budget": budgets[name], **shared[budgets[name]]})
        for name, account in accounts.items()
    }
