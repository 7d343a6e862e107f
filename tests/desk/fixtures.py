"""A desk for each test, with a sandbox beside it."""

import contextlib
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from onboarding_worker.cli.commands.init import starter
from onboarding_worker.plans.store import pilots
from onboarding_worker.runtime import batch_run
from tests.desk.desk import DATABASE, Desk, Played
from tests.desk.own_redis import OwnRedis

# Fast enough for tests, and still backing off.
RETRY = '[retry]\nfirst = "20 ms"\nmost = "50 ms"\n'


@pytest.fixture
def play() -> Iterator[Callable[..., Played]]:
    """Starts sandboxes with options; all end with the test."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> Played:
            played = Played(**options)
            stack.callback(played.close)
            return played

        yield start


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A directory without a configuration."""
    monkeypatch.delenv("ONBOARDING_CONFIG", raising=False)
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Path:
    """What `init --sandbox` writes, and an empty database, to copy."""
    folder = tmp_path_factory.mktemp("desk")
    assert Desk(folder).onboard("init", "--sandbox").code == 0
    shutil.copyfile(sqlite_template, folder / DATABASE)
    return folder


@pytest.fixture
def desk_at(bare: Desk, begun: Path) -> Callable[[Played], Desk]:
    """A directory whose configuration points at a sandbox, with an empty database."""
    return lambda played: _at(played, bare, begun)


def _at(played: Played, desk: Desk, begun: Path) -> Desk:
    shutil.copytree(begun, desk.path, dirs_exist_ok=True)
    there = starter("sandbox.toml", port=played.sandbox.port, smtp_port=played.sandbox.smtp_port)
    desk.config.write_text(f"{there}\n{RETRY}", "utf-8")
    return desk


@pytest.fixture(scope="module")
def shared(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Desk, Played]]:
    """A desk and its sandbox for what the tests of a module only read, or copy."""
    played = Played()
    desk = _at(played, Desk(tmp_path_factory.mktemp("shared")), begun)
    yield desk, played
    desk.close()
    played.close()


@pytest.fixture
def played(play: Callable[..., Played]) -> Played:
    """A sandbox where everything works."""
    return play()


@pytest.fixture
def desk(desk_at: Callable[[Played], Desk], played: Played) -> Desk:
    """A directory whose configuration points at `played`."""
    return desk_at(played)


@pytest.fixture
def pilots_looked_at_every(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """How often commands in this process look at pilots: in tests far more often than every five seconds."""

    def set_to(seconds: float) -> None:
        for module in (pilots, batch_run):
            monkeypatch.setattr(module, "LOOK_EVERY", timedelta(seconds=seconds))

    set_to(0.2)
    return set_to


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    if shutil.which("redis-server") is None:
        (pytest.fail if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip)("there is no redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = OwnRedis(tmp_path, port)
    own.start()
    yield own
    own.stop()
