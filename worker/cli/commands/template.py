"""`onboard template`: a message as a customer would get it, and the built-in texts to start from."""

import html
import os
import re
import tempfile
import webbrowser
from dataclasses import replace
from pathlib import Path

import click

from onboarding_worker.cli.exits import CannotStart, Stopped
from onboarding_worker.cli.invocation import Invocation, Said, saying
from onboarding_worker.cli.lists.listed import Listed, refusing_lists
from onboarding_worker.cli.sample_message import example, page_of, rendered
from onboarding_worker.cli.shared_options import OUT, together, whole_file
from onboarding_worker.core.foundation.private_files import READABLE
from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.core.model.customers import Customer, invitation_channels
from onboarding_worker.core.rules.contact import Wording
from onboarding_worker.core.rules.contracts import Message
from onboarding_worker.lists.importing.intake import judge
from onboarding_worker.lists.importing.judging import problems_of
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.settings.needs import ENCRYPTING, NOTHING, Need
from onboarding_worker.templates.library import Library
from onboarding_worker.templates.render import Templates
from onboarding_worker.templates.values import Screen
from onboarding_worker.wiring.message_tests import NotSent, hand_over, written
from onboarding_worker.wiring.store.message_tests import begin
from onboarding_worker.wiring.templates import templates_of

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
FOLDER = "templates"
SENDING = ENCRYPTING | {Need.SENDING}
# Which message.
_words = together(
    click.argument("name", required=False),
    click.option("--locale", help="The customer's language: de, pt-BR.  [default: the row's, else en]"),
    click.option("--brand", help="Whose message: a NAME of [brand.NAME].  [default: the row's, else that of [brand]]"),
    click.option(
        "--kind",
        type=click.Choice([kind.value for kind in Wording]),
        default=Wording.INVITATION.value,
        show_default=True,
        help="The first message, a reminder, the link that replaces an earlier one, or the one after a refusal.",
    ),
    click.option(
        "--row",
        nargs=2,
        type=(click.IntRange(min=1), click.Path(dir_okay=False, path_type=Path)),
        metavar="N LIST",
        help="For the customer in row N of LIST, as in a spreadsheet: the header is row 1.",
    ),
)


@click.group()
def template() -> None:
    """Preview messages to customers, and write the built-in texts to start from."""


@template.command()
@_words
@click.option("--channel", type=click.Choice([*CHANNELS]), help="Which message.  [default: the row's, else email]")
@click.option(
    "--page",
    "screen",
    type=click.Choice([screen.value for screen in Screen]),
    help="What the page behind a stable link shows, instead of a message: HTML.",
)
@click.option("--html", "as_html", is_flag=True, help="Show the HTML part instead of the text.")
@click.option("--open", "in_browser", is_flag=True, help="Open the message in the browser.")
@OUT
@click.pass_obj
def preview(
    invocation: Invocation,
    name: str | None,
    locale: str | None,
    channel: str | None,
    brand: str | None,
    kind: str,
    row: tuple[int, Path] | None,
    screen: str | None,
    as_html: bool,
    in_browser: bool,
    out: Path | None,
) -> None:
    """Show the message of a template, for an invented customer or a row of a list. Sends nothing; needs no database.

    NAME is the template's name. Without NAME it is the row's template, or `default`, which serves rows without a
    template. The link is always an example: no session is opened for a preview. So what only a provider's answer has
    (`digits`, `provider`, `vendor.NAME`) is empty in it.

    Your own templates are in the directory of `templates` in [invitations]; docs/how-to/templates.md explains how to
    write them.

    \b
    onboard template preview --locale de --kind reminder
    onboard template preview --row 2 customers.csv --open
    onboard template preview --page ask --locale de --open
    """
    settings = invocation.settings(NOTHING)
    templates = templates_of(settings)
    customer = _of_row(invocation, *row) if row else example(templates)
    customer = _chosen(templates, customer, name, locale, brand)
    if screen is not None:
        page = page_of(settings, customer, Screen(screen))
        _give(page, page if in_browser else None, out)
        return
    channel = channel or next(iter(invitation_channels(customer.channel)), "email")
    words = rendered(settings, templates, customer, channel, kind)
    if as_html and not words.html:
        raise CannotStart(f"--html: {customer.template} has no HTML part for {channel} in {words.language}")
    text = words.html if as_html else words.text
    if channel == "email" and not as_html:
        text = f"Subject: {words.subject}\n\n{text}"
    _give(text, _page(words) if in_browser else None, out, f" ({words.language})")


@template.command()
@_words
@click.option("--to", required=True, metavar="ADDRESS", help="Your own email address, or a phone number with +.")
@saying()
def send(
    invocation: Invocation,
    name: str | None,
    locale: str | None,
    brand: str | None,
    kind: str,
    row: tuple[int, Path] | None,
    to: str,
) -> Said:
    """Send the message to an address of your own, to see how it arrives. For an invented customer or a row of a list.

    It goes by the configured sender, by email or as a text, in the row's brand and language. Subject, words and the
    header X-Onboard-Test say that it is a test. WhatsApp's approved words cannot, so none goes there. It opens no
    session: its link is an example that leads nowhere. Nothing is stored but an entry in the audit log, and no limit or
    cap counts it; a text costs what a text costs. It leaves also while everything is stopped.

    \b
    onboard template send --to me@example.com --row 2 customers.csv
    onboard template send --to me@example.com --brand nova --kind reminder
    onboard template send --to +37060000000 --row 2 customers.csv
    """
    given = _of_row(invocation, *row) if row else None
    with invocation.parts(SENDING, migrate=True) as parts:
        customer = given or example(parts.templates)
        customer = _chosen(parts.templates, customer, name, locale, brand)
        where = f"row {row[0]} of a list" if row else "an invented customer"
        try:
            test = written(parts.settings, parts.templates, customer, to, kind=kind, now=parts.clock())
            address, now = (test.channel, test.message.to), parts.database_clock()
            reason = f"{where}, by {test.channel}"
            if refused := begin(parts.database, parts.keyring, "test message", address, reason=reason, now=now):
                raise NotSent(refused)
            receipt = hand_over(parts.settings, parts.clock, parts.keyring, test)
        except NotSent as error:
            raise Stopped(f"not sent: {error}") from None
    facts = {"channel": test.channel, "brand": customer.brand or None, "language": test.message.language, **receipt}
    return Said(facts, [f"handed over to {to}: marked as a test, with a link that leads nowhere"])


@template.command()
@click.argument("name", default="default")
@click.option("--locale", help="Only the texts of this language: de.  [default: all languages]")
@click.option(
    "--layout", is_flag=True, help="Write the frames as well: of the emails, layout.html, and of the page, page.html."
)
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), help="The directory to write to.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@click.pass_obj
def export(invocation: Invocation, name: str, locale: str | None, layout: bool, to: Path | None, force: bool) -> None:
    """Write the built-in texts as files of the template NAME, to start from. Overwrites nothing without --force.

    Without NAME it is `default`, which serves rows without a template. The files go to the directory of `templates` in
    [invitations], or else to `templates` next to the configuration. Delete the files that you do not change: then the
    built-in ones of each release are used.

    \b
    onboard template export --locale de
    onboard template export vip
    """
    if not re.fullmatch(NAME, name) or name == "builtin":
        raise CannotStart(f"{name!r}: a template's name has at most 64 letters, digits, - and _, and is not builtin")
    settings = invocation.settings(NOTHING)
    root = to or settings.invitations.templates or settings.directory / FOLDER
    built_in = Library.read(None).built_in()
    languages = sorted({file.split("/")[1] for file in built_in if "/" in file})
    if locale is not None and locale not in languages:
        raise CannotStart(f"--locale: there are no built-in texts in {locale!r}; they are in {', '.join(languages)}")
    files = {
        root / file.replace("default/", f"{name}/", 1): text
        for file, text in sorted(built_in.items())
        if (layout if "/" not in file else locale in (None, file.split("/")[1]))
    }
    there = [path for path in files if path.exists()]
    if there and not force:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise CannotStart(f"{there[0]}{more}: already there, so nothing was written; --force overwrites")
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotStart(f"{path.parent}: {error.strerror or 'cannot be written'}") from None
        with whole_file(path, option=str(path), mode=READABLE) as stream:
            stream.write(text)
        click.echo(path)
    if settings.invitations.templates is None and to is None:
        click.echo(f'to use them, write in {settings.path.name}: [invitations] templates = "{FOLDER}/"', err=True)


def _chosen(
    templates: Templates, customer: Customer, name: str | None, locale: str | None, brand: str | None
) -> Customer:
    """The customer with the words that were asked for. Raises CannotStart if there are none of that name."""
    brand = customer.brand if brand is None else brand
    if brand not in templates.brands:
        there = ", ".join(filter(None, sorted(templates.brands)))
        known = f"they are {there}" if there else "[brand.NAME] in the configuration makes one"
        raise CannotStart(f"there is no brand {brand!r}; {known}")
    customer = replace(
        customer,
        locale=customer.locale if locale is None else locale,
        template=name or customer.template or templates.brands[brand].template or "default",
        brand=brand,
    )
    if customer.template not in templates.names:
        raise CannotStart(f"there is no template {customer.template!r}; they are {', '.join(sorted(templates.names))}")
    return customer


def _of_row(invocation: Invocation, number: int, path: Path) -> Customer:
    """The customer in a row of a list. Raises CannotStart if there is no such row, or it is refused."""
    with invocation.parts(NOTHING, migrate=True, or_empty=True) as parts, refusing_lists(path.name):
        lines = (judge(parts.intake.of(), line) for line in open_list(path, Listed(str(path)).options(parts)))
        line = next((line for line in lines if line.row >= number), None)
        if line is not None and line.row == number:
            if isinstance(line, AcceptedLine) and not line.lacks:
                return line.customer
            found = line.lacks if isinstance(line, AcceptedLine) else problems_of(line)
            problems = "; ".join(one.named for one in found)
            raise CannotStart(f"--row: row {number} would be rejected: {problems}")
    raise CannotStart(f"--row: there is no row {number} in {path.name}; rows are numbered as in a spreadsheet")


def _page(words: Message) -> str:
    """A page with the message as a mail program or a phone shows it. No script and no form of the message runs."""
    shown = words.html or f"<pre style='white-space:pre-wrap;font:16px sans-serif'>{html.escape(words.text)}</pre>"
    title = html.escape(words.subject or "Text message")
    return (
        f'<!DOCTYPE html><html lang="{html.escape(words.language)}"><head><meta charset="utf-8"><title>{title}</title>'
        "</head><body style='margin:0;font:16px sans-serif'>"
        f"<p style='margin:0;padding:12px 16px;border-bottom:1px solid #ccc'><b>{title}</b></p>"
        f'<iframe sandbox title="{title}" srcdoc="{html.escape(shown)}"'
        " style='border:0;width:100%;height:calc(100vh - 50px)'></iframe></body></html>\n"
    )


def _give(text: str, page: str | None, out: Path | None, note: str = "") -> None:
    """Print the text, or write it to `out`; or open this page."""
    if page is None and out is None:
        click.echo(text)
        return
    if out is None:
        # Only its owner may read it: it may hold a customer's name.
        handle, file = tempfile.mkstemp(prefix="onboard-preview-", suffix=".html")
        os.close(handle)
        out = Path(file)
    with whole_file(out) as stream:
        stream.write(text if page is None else page)
    if page is None:
        click.echo(f"written to {out}{note}", err=True)
    else:
        opened = webbrowser.open(out.absolute().as_uri())
        click.echo(f"{'opened' if opened else 'no browser was found; open'} {out}", err=True)
