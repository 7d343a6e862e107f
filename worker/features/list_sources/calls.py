"""Calls to another machine over one connection, from a thread without an event loop, and a folder that is worked by
them. Each call has its bound of time."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, TypeVar

from worker.core.foundation.clock import monotonic
from worker.features.list_sources.place import Away, Copy, Copying, Found, NotTaken, Write, copying, prepared
from worker.features.list_sources.remote_lists import in_words
from worker.features.list_sources.settings import Intake, Remote
from worker.http import event_loop
from worker.lists.sources import CannotFetch

T = TypeVar("T")
CONNECT_SECONDS = 30.0
# Shorter than the lease of a file that is being taken: a server that is silent for longer loses the file.
CALL_SECONDS = 25.0
LISTING_SECONDS = 120.0
# Of a whole file: each call may bring a byte, and each within its time.
FILE_SECONDS = 3600.0
_CLOSE_SECONDS = 5.0


class Calls:
    """A connection, from `connect`, for the time of a `with` block. All errors of the library are CannotFetch."""

    def __init__(self, connect: Callable[[AsyncExitStack], Coroutine[Any, Any, Any]]) -> None:
        """`connect` opens the connection on the exit stack, and returns what the calls are made with."""
        self._connect = connect
        self._runner = event_loop.runner()
        self._exits = AsyncExitStack()
        self.client: Any = None

    def __enter__(self) -> "Calls":
        self._runner.__enter__()
        try:
            self.client = self.do(self._connect(self._exits), CONNECT_SECONDS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            # A connection that broke cannot be closed in order; what was done is done.
            with suppress(CannotFetch):
                self.do(self._exits.aclose(), _CLOSE_SECONDS)
        finally:
            self._runner.close()

    def do(self, call: Coroutine[Any, Any, T], seconds: float = CALL_SECONDS) -> T:
        """The call's result. Raises CannotFetch."""
        with in_words():
            return self._runner.run(_within(call, seconds))

    def hold(self, opening: AbstractAsyncContextManager[T]) -> T:
        """Open what is closed with the connection. Raises CannotFetch."""
        return self.do(self._exits.enter_async_context(opening))


@dataclass(frozen=True)
class RemoteFolder(ABC):
    """A folder of another machine. Each look is a connection of its own: an import between two of them may take
    minutes, and no server has to keep us."""

    folder: Intake
    at: Remote

    def found(self, *, now: datetime) -> Found:
        try:
            with self._calls() as calls:
                return calls.do(self._listed(calls.client, now), LISTING_SECONDS)
        except CannotFetch as error:
            raise Away(str(error)) from None

    @contextmanager
    def copied(self, name: str, stamp: str, *, largest: int, step: Callable[[], None]) -> Iterator[Copy]:
        until = monotonic() + FILE_SECONDS

        def in_time() -> None:
            step()
            if monotonic() > until:
                raise CannotFetch("the server sends it too slowly")

        with copying(largest=largest, step=in_time) as copy:
            try:
                with self._calls() as calls:
                    self._read(calls, name, stamp, copy)
            except CannotFetch as error:
                raise NotTaken(f"it cannot be read: {error}", for_good=False) from None
            yield copy.copy()

    def write(self, name: str, write: Write) -> None:
        with prepared(write) as content:
            try:
                with self._calls() as calls:
                    self._send(calls, name, content)
            except CannotFetch as error:
                raise NotTaken(f"{name} cannot be written: {error}", for_good=False) from None

    @contextmanager
    def _calls(self) -> Iterator[Calls]:
        folder = self.folder
        try:
            with Calls(self._connected) as calls:
                yield calls
        except CannotFetch:
            for secret in (folder.key, folder.password, folder.access_key, folder.secret_key):
                if secret is not None:  # its file may have been replaced: the next look has the new one
                    secret.reload()
            raise

    @abstractmethod
    async def _connected(self, exits: AsyncExitStack) -> Any:
        """What the calls are made with."""

    @abstractmethod
    async def _listed(self, client: Any, now: datetime) -> Found:
        """What is in the folder."""

    @abstractmethod
    def _read(self, calls: Calls, name: str, stamp: str, copy: Copying) -> None:
        """Give the file's parts to the copy. Raises NotTaken."""

    @abstractmethod
    def _send(self, calls: Calls, name: str, content: BinaryIO) -> None:
        """Write the file."""


async def _within(call: Coroutine[Any, Any, T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await call
