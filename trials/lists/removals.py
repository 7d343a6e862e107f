"""What is removed for good: lists that are over, and the personal data of customers."""

from datetime import timedelta

from trials.lists.world import DAY, NAMES, World
from worker.store.inbox.subject_requests import SubjectRequests
from worker.store.privacy.expired_links import ExpiredLinks
from worker.store.privacy.inbox_retention import InboxRetention
from worker.store.tables import Job


def a_list_is_purged(world: World) -> None:
    batch_id = world.chance.choice(world.batches) if world.batches else None
    for begun in world.purging.under_way():
        _purge(world, begun)
    if batch_id is None or world.purging.why_not(batch_id, since=world.now(), now=world.now()) is not None:
        return
    if world.purging.begin(batch_id, world.shelf.facts.counts(batch_id), now=world.now()):
        world.note("purge list", batch_id)
        _purge(world, batch_id)


def _purge(world: World, batch_id: int) -> None:
    while world.purging.chunk(batch_id, now=world.now()):
        pass
    if not world.rows(Job, batch_id=batch_id) and batch_id in world.batches:
        world.batches.remove(batch_id)


def what_is_old_goes(world: World) -> None:
    """Links that have ended, and what is kept to recognise events that come again."""
    links = ExpiredLinks(world.database).drop(since=world.now() - DAY)
    events = InboxRetention(world.database)
    updates = events.erase_updates(since=world.now() - DAY)
    world.note("what is old goes:", links, updates, events.remove(since=world.now() - 3 * DAY))


def a_person_erases(world: World) -> None:
    if world.chance.random() < 0.15:
        name = world.chance.choice(NAMES)
        world.note("erase", name)
        requests = SubjectRequests(world.database, world.keyring)
        requests.erase(name, reason="", forget_suppressed=False, now=world.now())


def retention_erases(world: World) -> None:
    since = world.now() - world.chance.choice((timedelta(0), DAY))
    if world.chance.random() < 0.3:
        done = world.erasing.chunk(after=None, since=since, now=world.now())
        world.note("retention erases", done.customers)
