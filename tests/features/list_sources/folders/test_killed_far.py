"""A process that dies at any step of its work with an SFTP server: the list is taken once, its files appear.

A step is a call to the server; before each commit `test_killed` kills a process. They are the same for every folder.
"""

from contextlib import contextmanager, suppress

import asyncssh

from onboarding_worker.core.database.tables import Job, SkippedLine
from onboarding_worker.features.list_sources.store.dropped_files import DroppedFiles
from tests.features.list_sources.folders.box import Box
from tests.features.list_sources.folders.servers import log_in, loop, server

__all__ = ["loop", "server"]  # fixtures
CLIENT = ("lstat", "open", "posix_rename", "remove", "scandir")
FILE = ("read", "write", "close")


class Died(BaseException):
    """As a kill: nothing that follows is done either."""


class Dying:
    """Dies right before a call to the server."""

    def __init__(self, monkeypatch) -> None:
        self.left = 0
        self._on = False
        for kind, names in ((asyncssh.SFTPClient, CLIENT), (asyncssh.SFTPClientFile, FILE)):
            for name in names:
                monkeypatch.setattr(kind, name, self._before(getattr(kind, name)))

    def _before(self, call):
        def made(*arguments, **named):
            self._step()
            return call(*arguments, **named)

        return made

    def _step(self) -> None:
        if self._on:
            self.left -= 1
            if self.left < 0:
                raise Died

    @contextmanager
    def before(self, step: int):
        self.left, self._on = step, True
        try:
            with suppress(Died):
                yield
        finally:
            self._on = False


async def test_a_list_is_taken_once_whatever_step_its_process_dies_at(world, server, monkeypatch):
    dying = Dying(monkeypatch)

    def work(owner: str, number: int) -> None:
        here = Box(world, server.root / "in", owner, at=server.at("/in"), **log_in(server))
        here.take()
        batch = world.parts.batches.find("latest")
        if batch is not None and batch.name == f"{number}.csv" and batch.imported_at is not None:
            world.parts.decisions.cancel(batch.id, now=world.clock())
            here.look(after=2)

    number, died = 0, True
    while died:
        number += 1
        name = f"{number}.csv"
        (server.root / "in" / name).write_text(
            f"customer_id,email\nC-{number},c{number}@example.org\nD-{number},none\n"
        )
        with dying.before(number):
            work(f"dead {number}", number)
        died = dying.left < 0
        world.clock.advance(seconds=120)
        work("alive", number)
        assert [row.batch_id for row in world.rows(Job)] == list(range(1, number + 1))
        assert [row.batch_id for row in world.rows(SkippedLine)] == list(range(1, number + 1))
        (file,) = [one for one in DroppedFiles(world.parts.database).all(["in"]) if one.name == name]
        assert (file.state.value, file.reported, file.batch_id) == ("imported", "finished", number)
        beside = [server.root / "in" / f"{name}.{kind}.csv" for kind in ("errors", "report")]
        assert [len(path.read_text().splitlines()) for path in beside] == [2, 3]
        for path in (server.root / "in").iterdir():  # a folder with many lists would only make this slow
            path.unlink()
    assert number > 15  # listed, read, errors, renamed, listed, report, renamed
