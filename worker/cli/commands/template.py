"""`onboard template preview`: a message as a customer would get it."""

from datetime import timedelta
from pathlib import Path

import click

from worker.cli.exits import CannotStart
from worker.cli.invocation import Invocation
from worker.domain.invitations import Invitation, TemplateProblem, Templates
from worker.domain.model.customers import Customer, Person
from worker.engine.adapters import display_name
from worker.foundation.clock import system_clock


@click.group()
def template() -> None:
    """Preview messages to customers."""


@template.command()
@click.argument("name", default="default")
@click.option("--locale", default="en", show_default=True, help="The customer's language: de, pt-BR.")
@click.option(
    "--channel",
    type=click.Choice(["email", "sms"]),
    default="email",
    show_default=True,
    help="Which message to show.",
)
@click.option("--html", "as_html", is_flag=True, help="Show the HTML part instead of the text.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@click.pass_obj
def preview(invocation: Invocation, name: str, locale: str, channel: str, as_html: bool, out: Path | None) -> None:
    """Show the message of a template, for an invented customer. Sends nothing; needs no database.

    NAME is the template's name. Without NAME the template `default` is shown: it serves rows without a `template`.

    Your own templates are in the directory of `templates` in [invitations]; docs/templates.md explains how to write
    them.
    """
    settings = invocation.settings()
    templates = Templates(settings.invitations.templates, locale=settings.invitations.locale)
    if name not in templates.names:
        raise CannotStart(f"there is no template {name!r}; they are {', '.join(sorted(templates.names))}")
    now = system_clock()
    customer = Customer("sample", person=Person(first_name="Maria", last_name="Example"), locale=locale, template=name)
    sender = display_name(settings.email.from_) if settings.email else "Example Bank"
    invitation = Invitation(customer, "https://verify.example.com/sample", now + timedelta(days=7), sender)
    try:
        words = templates.render(invitation, channel=channel, now=now)
    except TemplateProblem as error:
        raise CannotStart(str(error)) from None
    if as_html and not words.html:
        raise CannotStart(f"--html: {name} has no HTML part for {channel} in {words.language}")
    text = words.html if as_html else words.text
    if channel == "email" and not as_html:
        text = f"Subject: {words.subject}\n\n{text}"
    if out is None:
        click.echo(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CannotStart(f"--out: {error.strerror or 'cannot be written'}") from None
    click.echo(f"written to {out} ({words.language})", err=True)
