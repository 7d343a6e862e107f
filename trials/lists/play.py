"""Plays one history: its operations, with the rules after each, and its end."""

import traceback
from dataclasses import dataclass

from trials.lists.drain import drained
from trials.lists.operations import step
from trials.lists.rules import broken
from trials.lists.world import World
from trials.simulation import chance
from trials.simulation.database import Databases, PostgresqlDatabases


@dataclass(frozen=True)
class History:
    lines: list[str]
    complaints: list[str]


def play(seed: int, steps: int, databases: Databases | PostgresqlDatabases) -> History:
    """Ends at the first step after which a rule is broken, or that raises."""
    with chance.all_from(seed):
        world = World(seed, databases.fresh())
        try:
            return History(world.lines, _complaints(world, steps))
        except Exception as error:
            raised = f"nothing_raises: {type(error).__name__}: {error}"
            return History(world.lines, [raised, *traceback.format_exception(error)])
        finally:
            world.close()


def _complaints(world: World, steps: int) -> list[str]:
    for _ in range(steps):
        step(world)
        if complaints := broken(world):
            return complaints
    return drained(world)
