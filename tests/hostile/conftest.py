"""One server for each table, over a migrated SQLite database."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

from onboarding_worker.core.rows.own_links import OwnLink, StableLinks
from tests.conftest import SetClock
from tests.hostile import places
from tests.hostile.served import served
from tests.stored.shelf import Shelf, customer
from tests.web.site import FIRST, KEYS, Site

# No limit of events, so that each answer is that of its own case.
WEB = KEYS + '[web]\nevent_limit = "100000/second"\n'


@pytest.fixture(scope="module")
def web(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "onboarding.db").write_bytes(sqlite_template.read_bytes())
    return Site(f"sqlite:///{folder / 'onboarding.db'}", folder, SetClock(), keys=WEB, scripted=False)


# Of the people in the tables' good events and webhooks.
PEOPLE = ("ona@example.com", "quirin", "ostrander", "37060000001", "evil@example.com", FIRST)


@pytest.fixture(scope="module")
def port(web: Site) -> Iterator[int]:
    """Where it listens. After the table, SQLite's files have none of its people in clear."""
    with served(web) as listens_on:
        yield listens_on
    url = sa.make_url(web.parts.settings.database.url)
    if url.get_backend_name() == "sqlite":
        assert places.hits(places.files(Path(url.database or "").parent, but=()), PEOPLE) == []


@pytest.fixture(scope="module")
def invited(web: Site) -> Callable[[], str]:
    """Invites another customer, whose session lives. Returns the secret part of the stable link."""
    parts, numbers = web.parts, count()
    shelf = Shelf(parts.database, parts.keyring, web.clock)
    links = StableLinks("https://verify.example.com", timedelta(days=60))

    def invite() -> str:
        key = (f"linked-{next(numbers)}", "onboarding")
        shelf.add(customer(key[0]))
        shelf.issue(link="https://ui.idenfy.com/start?authToken=t-1")
        with parts.database.write() as connection:
            (found,) = links.ensure(connection, parts.keyring, [key], now=web.clock()).values()
        assert isinstance(found, OwnLink)
        return found.address.rpartition("/")[2]

    return invite
