"""`onboard keys`: makes keys."""

from secrets import token_urlsafe

import click

from worker.cli.exits import CannotStart
from worker.cli.invocation import Invocation
from worker.domain.model.needs import STORED
from worker.foundation.keyring import derived_digest_key, new_key


@click.group()
def keys() -> None:
    """Make keys: for encryption, and for senders of events."""


@keys.command("new")
@click.option(
    "--for",
    "purpose",
    type=click.Choice(["encryption", "events"]),
    default="encryption",
    show_default=True,
    help="encryption: for keys and digest_key in [encryption]. events: for event_keys in [web], or callback_keys in"
    " [email].",
)
def keys_new(purpose: str) -> None:
    """Print a new key: for encryption, or for senders of events. Needs no configuration."""
    click.echo(new_key() if purpose == "encryption" else token_urlsafe(32))


@keys.command("digest-key")
@click.pass_obj
def keys_digest_key(invocation: Invocation) -> None:
    """Print the digest key that is in use while [encryption] has no digest_key: set it, before you rotate `keys`.

    It is derived from the first of `keys`. As digest_key it changes nothing, and a new key can follow it.
    """
    encryption = invocation.settings(STORED).encryption
    if encryption.digest_key:
        raise CannotStart("encryption.digest_key is set: no key is derived")
    click.echo(derived_digest_key(encryption.keys[0].reveal()))
