"""One server for each table, over a migrated SQLite database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import SetClock
from tests.desk.fixtures import bare, desk_at, own_redis, play
from tests.hostile.served import served
from tests.inbound.web.site import KEYS, Site

__all__ = ["bare", "desk_at", "own_redis", "play"]
# No limit of events, so that each answer is that of its own case.
WEB = KEYS + '[web]\nevent_limit = "100000/second"\n'


@pytest.fixture(scope="module")
def web(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "onboarding.db").write_bytes(sqlite_template.read_bytes())
    return Site(f"sqlite:///{folder / 'onboarding.db'}", folder, SetClock(), keys=WEB, scripted=False)


@pytest.fixture(scope="module")
def port(web: Site) -> Iterator[int]:
    with served(web) as listens_on:
        yield listens_on
