"""`onboard doctor`: checks the installation, part by part."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import asdict

import click
import sqlalchemy as sa

from onboarding_worker.cli.exits import COULD_NOT_START, NEEDS_A_PERSON, CannotStart
from onboarding_worker.cli.feature_checks import Finding, Grade, failure, ok, warning
from onboarding_worker.cli.invocation import Invocation, act_of_command
from onboarding_worker.cli.shared_options import JSON, Read, print_json, print_json_or
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.settings.needs import NOTHING
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.wiring.container import Parts

SELECTOR = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
COLOURS = {Grade.OK: "green", Grade.WARNING: "yellow", Grade.FAILURE: "red"}


def _selector(text: str) -> str:
    if not SELECTOR.fullmatch(text):
        raise ValueError("expected a part of a host's name, such as s1")
    return text


@click.command()
@click.option("--egress", is_flag=True, help="Only list the machines and ports that the configuration connects to.")
@click.option(
    "--mail",
    is_flag=True,
    help="Only check what the DNS says of the sender's domain: MX, SPF, DMARC, and with --dkim the key.",
)
@click.option(
    "--dkim",
    "selector",
    type=Read("selector", _selector),
    help="With --mail: the selector of the key that your mail server signs with, the s= of a DKIM-Signature.",
)
@click.option("--dns", "server", metavar="HOST[:PORT]", help="With --mail: ask this DNS server, as the world sees you.")
@JSON
@click.pass_obj
def doctor(
    invocation: Invocation, egress: bool, mail: bool, selector: str | None, server: str | None, as_json: bool
) -> None:
    """Check the configuration and everything it names, one line each. Changes nothing, sends nothing, costs nothing.

    The database and its schema, the keys, the clock, the disk, the broker and the bus, each provider account and sender
    (by a log-in that costs nothing, or it says that there is none), the templates, the web server, and what works now.

    Exit codes: 0 nothing failed; 1 something failed: its line says what to do; 2 the configuration cannot be used.

    \b
    onboard doctor
    onboard doctor --egress    what the firewall must let through
    onboard doctor --mail --dkim s1 --dns 192.0.2.53    what receivers of your mail read about you
    """
    if ((server is not None or selector is not None) and not mail) or (egress and mail):
        raise click.UsageError("--dkim and --dns belong to --mail, and --egress and --mail are two commands")
    if egress:
        from onboarding_worker.features.doctor.destinations import destinations

        machines = destinations(invocation.settings(NOTHING))
        lines = [
            f"{one.host}:{one.port}  {one.scheme}  [{one.section}]{'  (this machine)' if one.is_here else ''}"
            for one in machines
        ] or ["the configuration connects to no other program"]
        print_json_or({"destinations": [asdict(one) for one in machines]}, *lines, as_json=as_json)
        return
    findings: list[Finding] = []
    for one in _mail_findings(invocation, selector, server) if mail else _findings(invocation):
        findings.append(one)
        if not as_json:
            grade = click.style(f"{one.grade.value:<8}", fg=COLOURS[one.grade])
            action = f"\n         {one.action}" if one.action else ""
            click.echo(f"{grade} {one.what}: {one.found}{action}")
    if as_json:
        print_json({"findings": [asdict(one) for one in findings]})
    else:
        grades = [one.grade for one in findings]
        failures, warnings = grades.count(Grade.FAILURE), grades.count(Grade.WARNING)
        click.echo(f"{counted(len(grades), 'check')}: {counted(failures, 'failure')}, {counted(warnings, 'warning')}")
    if any(one.grade is Grade.FAILURE for one in findings):
        refused = not mail and findings[0].grade is Grade.FAILURE
        raise SystemExit(COULD_NOT_START if refused else NEEDS_A_PERSON)


def _mail_findings(invocation: Invocation, selector: str | None, server: str | None) -> Iterator[Finding]:
    """What the DNS says of the domains that mail comes from and comes back to, asked of this server (HOST[:PORT])."""
    from email.utils import parseaddr

    # Imported here: dnspython, which nothing else needs.
    from onboarding_worker.features.doctor.mail_records import Dns, DnsFailed, check_domain
    from onboarding_worker.wiring.senders import WAYS_BACK

    settings = invocation.settings(NOTHING)
    email = settings.email
    if email is None:
        raise CannotStart("--mail: the configuration has no [email]")
    try:
        ask = Dns(_server(server) if server is not None else None)
    except DnsFailed as error:
        raise CannotStart(f"--mail: {error}; name one with --dns") from None
    # The envelope's address is the From address, but for mails with a return path (`senders.email`).
    comes_back_to = next(filter(None, (one.domain(settings) for one in WAYS_BACK.offered())), "")
    senders = (email.from_, *(brand.addresses(email)[0] for brand in settings.brands.values()))
    found: set[Finding] = set()  # of an envelope that all senders share, once
    for domain in dict.fromkeys(parseaddr(one)[1].rpartition("@")[2].lower() for one in senders):
        for one in check_domain(ask, sender=domain, envelope=comes_back_to or domain, selector=selector):
            if not comes_back_to or one not in found:
                yield one
            found.add(one)


def _server(text: str) -> tuple[str, int]:
    """HOST[:PORT]; an IPv6 address with a port is in brackets."""
    host, _, port = text.rpartition(":") if re.fullmatch(r"\[[^\]]*\]:\d+|[^:]+:\d+", text) else (text, "", "53")
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError:
        raise click.UsageError("--dns: expected an address, such as 192.0.2.53 or 127.0.0.1:5353") from None


def _findings(invocation: Invocation) -> Iterator[Finding]:
    """All findings, each as soon as it is known. A part that fails stops only the checks that need it."""
    # Imported here: it takes half a second, which --help does not need.
    from onboarding_worker.cli.opening import why_unusable, with_what_is_there
    from onboarding_worker.features.doctor import doctor_checks as checks

    try:
        settings = invocation.settings(logs_warnings=True)
    except CannotStart as error:
        yield from _refused(error.format_message())
        return
    with with_what_is_there(settings) as usable:
        try:
            parts = Parts(usable, act=act_of_command())
        except (SettingsError, ValueError) as error:
            yield from _refused(str(error))
            return
        yield ok("configuration", str(settings.path))
        for line in settings.warnings:
            yield warning("configuration", line, "docs/reference/configuration.md")
        try:
            database = list(checks.check_database(parts, is_there=usable is settings))
            yield from database
            can_be_used = all(one.grade is Grade.OK for one in database)
            for check in checks.all_checks(of_database=can_be_used):
                try:
                    yield from check(parts)
                except sa.exc.DatabaseError as error:  # it answered a moment ago; or a right is missing
                    yield failure("database", why_unusable(error), "docs/how-to/deployment.md")
        finally:
            parts.close()


def _refused(problems: str) -> Iterator[Finding]:
    return (failure("configuration", line, "docs/reference/configuration.md") for line in problems.splitlines())
