"""Ona's own link, and a visitor who says that it is for another person."""

from datetime import timedelta

from worker.features.stable_links.store.not_me import NotMe, Outcome
from worker.features.stable_links.store.stable_links import StableLinks

LINKS = StableLinks("https://verify.test", timedelta(days=30))


def secret_of_link(shelf, keyring, links=LINKS):
    """The secret part of Ona's link."""
    with shelf.database.write() as connection:
        made = links.ensure(connection, keyring, [("Ona", "onboarding")], now=shelf.clock())
    return made["Ona", "onboarding"].address.rpartition("/")[2]


def say_not_me(shelf, keyring, links=LINKS):
    secret = secret_of_link(shelf, keyring, links)
    assert NotMe(shelf.database, keyring).stop(secret, now=shelf.clock()) is Outcome.STOPPED
