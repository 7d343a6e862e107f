"""`onboard customer find`: the customers with an id, an email address or a phone number."""

import click

from onboarding_worker.cli.exits import NotDone
from onboarding_worker.cli.invocation import Said, saying
from onboarding_worker.features.service_desk.case import wanted
from onboarding_worker.features.service_desk.store.finding import MOST, Finder
from onboarding_worker.settings.needs import STORED
from onboarding_worker.wiring.container import Parts

ROW = ("batch", "row", "purpose", "state", "result", "brand")


@click.command()
@click.argument("text", metavar="EMAIL|PHONE|ID")
@click.option("--country", default="", help="Only of this country (LT), if the phone number is written without a +.")
@saying(STORED, migrate=True)
def find(parts: Parts, text: str, country: str) -> Said:
    """Find customers by email address, phone number or id.

    An address is found by its keyed hash, and must be whole. Addresses are shown masked. Exit code 1: there is none.

    \b
    onboard customer find ona@example.com
    onboard customer find "+370 600 00001"
    onboard customer find "8 600 00001"
    """
    found, lines = Finder(parts.database, parts.keyring).find(wanted(text, country.upper())), list[str]()
    facts = [
        {"customer": one.customer_id, "email": one.email, "phone": one.phone, "erased": one.erased}
        | {"rows": [{name: getattr(row, name) for name in ROW} for row in one.rows]}
        for one in found
    ]
    for one in found:
        without = "erased" if one.erased else "cannot be read" if one.unreadable else "no address"
        lines.append(f"{one.customer_id}  {', '.join(filter(None, (one.email, one.phone))) or without}")
        for row in one.rows:
            result = f" {row.result}" if row.result else ""
            lines.append(f"  batch {row.batch}, row {row.row}, {row.purpose}: {row.state}{result}")
    if len(found) == MOST:
        click.echo(f"these are the first {MOST}; there may be more", err=True)
    none = NotDone("no customer has this id, email address or phone number")
    return Said({"customers": facts}, lines, None if found else none)
