"""What people do: decisions about lists and their rows, and the service desk."""

from typing import Any

from trials.lists.world import NAMES, World, key_of
from worker.domain.model.states import JobState
from worker.domain.service_desk.rows import read_rows
from worker.store.operators.decisions import Verdict, Which
from worker.store.service_desk.cases import SeveralPurposes
from worker.store.tables import Batch, InvitationRow, Job


def _list(world: World, done: str, *, chance: float = 1.0, cancelled: bool = False) -> int | None:
    """A list to do this to; None: not now. `cancelled`: also one that is cancelled."""
    batch_id = world.chance.choice(world.batches) if world.batches else None
    if batch_id is None or (not cancelled and world.batch(batch_id).cancelled_at is not None):
        return None
    if world.chance.random() > chance:
        return None
    world.note(done, "list", batch_id)
    return batch_id


def a_list_is_paused(world: World) -> None:
    if batch_id := _list(world, "pause"):
        world.decisions.pause(batch_id, by="ann", now=world.now())


def a_run_is_stopped(world: World) -> None:
    if batch_id := _list(world, "stop"):
        world.decisions.stop(batch_id, by="ann", now=world.now())


def a_list_is_resumed(world: World) -> None:
    if batch_id := _list(world, "resume"):
        world.decisions.resume(batch_id, now=world.now())


def a_list_is_run_again(world: World) -> None:
    if batch_id := _list(world, "run"):
        world.decisions.lift(batch_id, now=world.now())
        world.decisions.take_leads(batch_id, stopped_only=world.chance.random() < 0.5, now=world.now())


def a_list_is_cancelled(world: World) -> None:
    if batch_id := _list(world, "cancel", chance=0.5, cancelled=True):
        world.decisions.cancel(batch_id, now=world.now())


def _which(world: World, batch_id: int) -> Which:
    """The whole list, or only its rows of one account, or one row."""
    account = world.chance.choice(world.setting.accounts) if world.chance.random() < 0.2 else None
    rows = read_rows(str(world.chance.randint(2, 4))) if world.chance.random() < 0.3 else None
    return Which(batch_id, account, rows)


def failed_rows_are_retried(world: World) -> None:
    if batch_id := _list(world, "retry"):
        world.decisions.retry(_which(world, batch_id), now=world.now())


def held_rows_are_resolved(world: World) -> None:
    verdict = world.chance.choice(list(Verdict))
    batch_id = _list(world, verdict, cancelled=verdict is Verdict.ABANDON)
    if batch_id is None:
        return
    which = _which(world, batch_id)
    if verdict is Verdict.REPEAT:  # a person answers for a second session, or a second text
        held = world.rows(Job, batch_id=batch_id, state=JobState.HELD, joins=None)
        held = [job for job in held if which.account in (None, job.account)]
        held = [job for job in held if which.rows is None or which.rows.single == job.row]
        for job in held:
            world.in_doubt[key_of(job)].clear()
        ids = {job.id for job in held}
        world.texts.repeated({one.id for one in world.rows(InvitationRow) if one.job_id in ids})
    world.decisions.resolve(which, verdict, now=world.now())


def the_desk_helps(world: World) -> None:
    name, what = world.chance.choice(NAMES), world.chance.choice(("new link", "resend", "address"))
    purpose = world.chance.choice(world.setting.purposes)
    now, desk = world.now(), world.desk
    said: Any
    try:
        if what == "new link":
            said = desk.new_link(name, purpose=purpose, now=now)
        elif what == "resend":
            channel, same_link = world.chance.choice((None, "email", "sms")), world.chance.random() < 0.5
            said = desk.resend(name, purpose=purpose, now=now, channel=channel, same_link=same_link)
        else:
            new = {"email": f"{name}{world.chance.randint(0, 99)}@example.org".lower()}
            if world.chance.random() < 0.3:
                new = {"phone": f"+370600000{world.chance.randint(10, 99)}"}
            said = desk.correct_address(name, email=new.get("email"), phone=new.get("phone"), purpose=purpose, now=now)
    except SeveralPurposes as refused:
        said = refused
    world.note(f"desk, {what}:", name, said)


def resume_account(world: World, account: str) -> bool:
    ended = world.shelf.budgets.resume(account, by_person_at=world.now())
    if ended:
        world.shelf.jobs.make_snoozed_due([account], now=world.now())
    return bool(ended)


def go_on_with_all(world: World) -> None:
    """Resume each list that is paused, each account that is stopped, and everything."""
    world.standstills.go_on(now=world.now())
    for account in world.setting.accounts:
        resume_account(world, account)
    for batch in world.rows(Batch, cancelled_at=None):
        if batch.pause_cause:
            world.note("resume list", batch.id)
            world.decisions.resume(batch.id, now=world.now())
