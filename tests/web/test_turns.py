"""Machines take turns at a few places."""

import asyncio
from contextlib import suppress

from worker.web.turns import Turns


async def holding(turns: Turns, machine: str, held: list[str], seconds: float = 0.0) -> None:
    async with turns.turn(machine):
        held.append(machine)
        await asyncio.sleep(seconds)


async def test_who_asks_once_waits_behind_one_of_each_other_machine():
    turns, held = Turns(1), list[str]()

    await asyncio.gather(*(holding(turns, machine, held) for machine in "aaaabac"))

    assert "".join(held) == "aabcaaa"


async def test_who_gives_up_while_waiting_leaves_the_place_to_the_next():
    turns, held = Turns(1), list[str]()
    first, gives_up, last = (asyncio.create_task(holding(turns, machine, held)) for machine in "abc")
    await asyncio.sleep(0)

    gives_up.cancel()
    await asyncio.gather(first, last)

    assert held == ["a", "c"]


async def test_a_place_that_is_given_to_one_who_just_left_is_passed_on():
    turns, held = Turns(1), list[str]()
    async with turns.turn("a"):
        leaves = asyncio.create_task(holding(turns, "b", held))
        await asyncio.sleep(0)
    leaves.cancel()  # its turn has come, and it does not know it yet
    with suppress(asyncio.CancelledError):
        await leaves

    await asyncio.wait_for(holding(turns, "c", held), 1)

    assert held == ["c"]
