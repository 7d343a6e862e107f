"""`onboard doctor`: checks the installation, part by part."""

import json
from collections.abc import Iterator
from dataclasses import asdict

import click
import sqlalchemy as sa

from worker.cli.exits import COULD_NOT_START, NEEDS_A_PERSON, CannotStart
from worker.cli.invocation import Invocation, act_of_command
from worker.domain.model.findings import Finding, Grade, failed, failure, ok, warning
from worker.foundation.plural import counted

COLOURS = {Grade.OK: "green", Grade.WARNING: "yellow", Grade.FAILURE: "red"}


@click.command()
@click.option("--egress", is_flag=True, help="Only list the machines and ports that the configuration connects to.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON document.")
@click.pass_obj
def doctor(invocation: Invocation, egress: bool, as_json: bool) -> None:
    """Check the configuration and everything it names, one line each. Changes nothing, sends nothing, costs nothing.

    The database and its schema, the keys, the clock, the disk, the broker and the bus, each provider account and sender
    (by a log-in that costs nothing, or it says that there is none), the templates, the web server, and what works now.

    Exit codes: 0 nothing failed; 1 something failed: its line says what to do; 2 the configuration cannot be used.

    \b
    onboard doctor
    onboard doctor --egress    what the firewall must let through
    """
    if egress:
        _show_destinations(invocation, as_json=as_json)
        return
    findings: list[Finding] = []
    for one in _findings(invocation):
        findings.append(one)
        if not as_json:
            _show(one)
    if as_json:
        click.echo(json.dumps({"findings": [asdict(one) for one in findings]}, ensure_ascii=False))
    else:
        grades = [one.grade for one in findings]
        failures, warnings = grades.count(Grade.FAILURE), grades.count(Grade.WARNING)
        click.echo(f"{counted(len(grades), 'check')}: {counted(failures, 'failure')}, {counted(warnings, 'warning')}")
    if failed(findings):
        raise SystemExit(COULD_NOT_START if findings[0].grade is Grade.FAILURE else NEEDS_A_PERSON)


def _findings(invocation: Invocation) -> Iterator[Finding]:
    """All findings, each as soon as it is known. A part that fails stops only the checks that need it."""
    from worker.cli import doctor_checks as checks  # imported here: takes half a second, which --help does not need
    from worker.cli.opening import does_not_answer, with_what_is_there
    from worker.engine.container import Parts

    try:
        settings = invocation.settings(logs_warnings=True)
    except CannotStart as error:
        yield from _refused(error.format_message())
        return
    with with_what_is_there(settings) as usable:
        try:
            parts = Parts(usable, act=act_of_command())
        except ValueError as error:  # a SettingsError too
            yield from _refused(str(error))
            return
        yield ok("configuration", str(settings.path))
        for line in settings.warnings:
            yield warning("configuration", line, "docs/configuration.md")
        try:
            database = list(checks.check_database(parts, is_there=usable is settings))
            yield from database
            can_be_used = all(one.grade is Grade.OK for one in database)
            for check in (*(checks.WITH_DATABASE if can_be_used else ()), *checks.WITHOUT_DATABASE):
                try:
                    yield from check(parts)
                except sa.exc.DatabaseError as error:  # it answered a moment ago; or a right is missing
                    yield failure("database", does_not_answer(error), "docs/deployment.md")
        finally:
            parts.close()


def _refused(problems: str) -> Iterator[Finding]:
    return (failure("configuration", line, "docs/configuration.md") for line in problems.splitlines())


def _show(one: Finding) -> None:
    grade = click.style(f"{one.grade.value:<8}", fg=COLOURS[one.grade])
    action = f"\n         {one.action}" if one.action else ""
    click.echo(f"{grade} {one.what}: {one.found}{action}")


def _show_destinations(invocation: Invocation, *, as_json: bool) -> None:
    from worker.domain.model.needs import NOTHING
    from worker.settings.destinations import destinations

    found = destinations(invocation.settings(NOTHING))
    if as_json:
        click.echo(json.dumps({"destinations": [asdict(one) for one in found]}))
        return
    for one in found:
        click.echo(f"{one.host}:{one.port}  {one.scheme}  [{one.section}]{'  (this machine)' if one.is_here else ''}")
    if not found:
        click.echo("the configuration connects to no other program")
