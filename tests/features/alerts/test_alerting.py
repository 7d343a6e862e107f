"""People are told once what begins and ends to need a person, whatever processes look."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from onboarding_worker.core.database.database import Database
from onboarding_worker.features.alerts.alerting import tell_news
from onboarding_worker.reporting.waits import Wait
from tests.conftest import NOON

STOPPED = Wait("account", "kyc", "stopped: HTTP 401 for ona@example.com", "onboard account list")
HELD = Wait("batch", "12 (customers of ona.csv)", "2 rows wait", "onboard report 12")
REFUSED = Wait("list", "in/customers of ona.csv", "refused: it is empty", "onboard check it")


class Chat:
    """What was told, and whether it accepts more."""

    def __init__(self) -> None:
        self.got: list[list[str]] = []
        self.answer = ""

    async def send(self, lines: Sequence[str]) -> str:
        if not self.answer:
            self.got.append(list(lines))
        return self.answer


class World:
    def __init__(self, database: Database) -> None:
        self.database, self.now, self.needs = database, NOON, list[Wait]()
        self.chats = {"email": Chat(), "webhook": Chat()}

    def tell(self) -> None:
        targets = {name: chat.send for name, chat in self.chats.items()}
        tell_news(targets, self.database, lambda: self.needs, lambda: self.now)

    def look(self, *needs: Wait, minutes: float = 1) -> list[str]:
        """What the webhook is told by a process that has just started."""
        self.now += timedelta(minutes=minutes)
        self.needs, before = list(needs), len(self.chats["webhook"].got)
        self.tell()
        return [line for lines in self.chats["webhook"].got[before:] for line in lines]


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


def test_what_needs_a_person_is_told_once_when_it_begins_and_once_when_it_ends(world: World):
    assert world.look(STOPPED) == []
    assert world.look(STOPPED) == ["account kyc needs a person: onboard status"]
    assert world.look(STOPPED) == []
    assert world.look() == []
    assert world.look() == ["account kyc needs no person any more"]
    assert world.look() == []
    assert world.chats["email"].got == world.chats["webhook"].got


def test_accounts_that_share_a_budget_are_told_in_the_plural(world: World):
    shared = STOPPED._replace(name="kyc, kyc-lt")
    world.look(shared)
    assert world.look(shared) == ["accounts kyc, kyc-lt need a person: onboard status"]
    world.look()
    assert world.look() == ["accounts kyc, kyc-lt need no person any more"]


def test_what_one_look_shows_is_no_alert(world: World):
    assert world.look(STOPPED) == world.look() == world.look(STOPPED) == world.look() == []


def test_what_is_away_for_one_look_is_not_over(world: World):
    world.look(STOPPED)
    world.look(STOPPED)
    assert world.look() == world.look(STOPPED) == world.look(STOPPED) == []


def test_of_two_processes_that_look_together_one_tells(world: World):
    world.look(STOPPED)
    assert world.look(STOPPED) != []
    assert world.look(STOPPED, HELD, minutes=0.1) == []


@pytest.mark.both_databases
def test_no_file_no_folder_and_no_reason_is_told(world: World):
    world.look(STOPPED, HELD, REFUSED)
    told = world.look(STOPPED, HELD, REFUSED)
    assert [line.partition(" needs")[0] for line in told] == ["account kyc", "batch 12", "list"]
    assert "ona" not in "".join(told)


def test_what_one_target_does_not_accept_is_told_to_it_again_and_to_the_others_once(world: World):
    world.chats["webhook"].answer = "HTTP 500"
    world.look(STOPPED)
    assert world.look(STOPPED) == []
    world.chats["webhook"].answer = ""
    assert world.look(STOPPED) == ["account kyc needs a person: onboard status"]
    assert len(world.chats["email"].got) == 1
