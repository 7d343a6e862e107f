"""Many viewers cost what one does."""

import asyncio

import pytest

from onboarding_worker.features.dashboard.site import SharedReads


@pytest.fixture(autouse=True)
def each_request_reads() -> None:
    """In the place of the site's fixture: answers count for a second."""


class Reader:
    """Answers with how often it was asked, when a test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.now = 0.0
        self.reads = SharedReads(lambda: self.now)
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.fails = False

    async def read(self):
        self.asked += 1
        number = self.asked
        await self.goes_on.wait()
        if self.fails:
            raise OSError
        return number

    async def get(self, key="now"):
        return await self.reads.get(key, self.read)


async def test_fifty_viewers_at_once_are_one_reading():
    reader = Reader()
    reader.goes_on.clear()
    viewers = [asyncio.create_task(reader.get()) for _ in range(50)]
    await asyncio.sleep(0)
    viewers[0].cancel()  # who goes away takes nothing from the others
    reader.goes_on.set()

    answers = await asyncio.gather(*viewers, return_exceptions=True)

    assert reader.asked == 1
    assert answers[1:] == [1] * 49


async def test_an_answer_counts_for_a_second_from_its_end():
    reader = Reader()

    assert [await reader.get(), await reader.get(), await reader.get("other")] == [1, 1, 2]
    reader.now = 1.5
    assert [await reader.get(), await reader.get()] == [3, 3]
    reader.reads.forget()
    assert await reader.get() == 4


async def test_a_reading_that_failed_is_no_answer():
    reader = Reader()
    reader.fails = True
    with pytest.raises(OSError):  # noqa: PT011 -- it is the reader's own
        await reader.get()
    reader.fails = False

    assert await reader.get() == 2
