"""What breaks down, what is killed, and what is started with another configuration."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.store.shelf import POLICY
from trials.lists import people, removals
from trials.lists.setting import DAYTIME, NIGHT
from trials.lists.world import World
from worker.domain.contact.contact_times import Hours
from worker.engine.maintenance.key_rotation import rotate
from worker.foundation.keyring import new_key
from worker.store.privacy.key_rotation import KeyRotation
from worker.store.privacy.key_use import KeyUse
from worker.store.tables import Budget

MANY = 1_000_000  # rows a second: a rotation waits for nothing
MOST_MADE = 3  # transactions of a command that is killed


def an_account_fails(world: World) -> None:
    """It is stopped, or its breaker opens; or a person tries it again."""
    account = world.chance.choice(world.setting.accounts)
    if world.chance.random() < 0.4:
        if people.resume_account(world, account):
            world.note("account goes on:", account)
        return
    values: dict[str, Any] = {"stopped_at": world.now(), "stop_reason": "HTTP 401"}
    if world.chance.random() < 0.5:
        values = {"opened_at": world.now(), "blocked_until": world.now() + timedelta(minutes=5), "failures": 5}
    world.note("account fails:", account, *values)
    world.shelf.set(Budget, Budget.name == account, **values)


def everything_stops(world: World) -> None:
    """Or goes on, if it is stopped."""
    if world.standstills.is_there():
        world.note("everything goes on")
        world.standstills.go_on(now=world.now())
    elif world.chance.random() < 0.5:
        world.note("everything is stopped")
        world.standstills.stop(by="ann", reason="", now=world.now())


def the_machine_restarts(world: World) -> None:
    """All that is under way dies. The process that starts is alone, and ends all leases."""
    world.note("the machine restarts")
    for _, call in world.calls:
        world.lost(call)
    world.calls, world.messages = [], []
    world.shelf.expired_leases.end(POLICY, now=world.now(), all_of_them=True, listing=world.lists)


COMMANDS = (
    people.a_list_is_paused,
    people.a_run_is_stopped,
    people.a_list_is_resumed,
    people.a_list_is_run_again,
    people.a_list_is_cancelled,
    people.failed_rows_are_retried,
    people.held_rows_are_resolved,
    removals.a_list_is_purged,
    removals.a_person_erases,
)


def a_command_is_killed(world: World) -> None:
    command, after = world.chance.choice(COMMANDS), world.chance.randint(0, MOST_MADE)
    if world.database.kill_after(after, lambda: command(world)):
        world.note("  killed after", after, "transactions")


def keys_change(world: World) -> None:
    """The next step of a rotation: a new key goes first; some or all values are changed; the old key is taken out."""
    if len(world.keys) == 1:
        world.note("a new key goes first")
        world.keys.insert(0, new_key())
        world.digest_keys.insert(0, new_key())
        world.start(world.setting)
        return
    rotation = KeyRotation(world.database, world.keyring, look=5, most=2)
    if world.chance.random() < 0.5:
        world.note("values of some columns are changed")
        for column in world.chance.sample(rotation.columns, 3):
            rotation.chunk(column, now=world.now())
        return
    found = rotate(rotation, per_second=MANY, seconds=lambda: 0.0, pause=lambda _: None, clock=world.now)
    world.note("all values are changed:", {name: one.changed for name, one in found.items() if one.changed})
    use = KeyUse(world.database, world.keyring)
    left = {name: number for name, number in use.to_change().items() if number}
    needs = use.needs(world.keyring.ids[1], now=world.now()).values
    if left or needs or any(one.unreadable for one in found.values()):
        world.complaints.append(f"a rotation leaves {left}, the old key is needed by {dict(needs)}: {found}")
    use.retire(world.keyring.ids[1], now=world.now())
    world.keys.pop()  # what is stored only as a hash still needs the old digest key
    world.start(world.setting)


def quiet_hours_change(world: World) -> None:
    hours = world.chance.choice((NIGHT, DAYTIME, Hours()))
    world.note("quiet hours:", *(f"{channel} {quiet}" for channel, quiet in hours.quiet.items()))
    world.start(replace(world.setting, hours=hours))
