"""A person agrees that an uploaded list is sent, or discards it."""

from worker.core.foundation.notation import counted
from worker.features.dashboard.contract import Action, Asked, Done, Plan, Refused, Sources
from worker.features.uploads.pages.lists import PATH, changed, needed, path_of, upload_of, uploads_of
from worker.features.uploads.uploaded import Upload, UploadState


def _as_seen(sources: Sources, asked: Asked) -> Upload:
    """The list, in the version that the person looked at: the link and the form name it. Raises Refused."""
    one = upload_of(sources, asked)
    if one.version != asked.number("version"):
        raise changed(one.id)
    return one


def _plan_approve(sources: Sources, asked: Asked) -> Plan:
    one = _as_seen(sources, asked)
    _, found = uploads_of(sources, asked).how_and_found(one.id)
    if one.state is not UploadState.CHECKED or found is None or found["refused"]:
        raise Refused("Only a list that was checked, and can be read, can be sent.")
    if one.has_agreed(asked.person.actor):
        raise Refused("You have agreed already: another person must agree too.")
    if not found["rows"]["accepted"]:
        raise Refused("No row of the list would be accepted.")
    rows, most = found["rows"], needed(sources)
    left = most - len(one.agreed) - 1
    then = "Then its rows are imported and sent." if not left else f"{counted(left, 'other person')} must agree too."
    calls = {name: int(number) for name, number in found["now"].items() if number}
    asked_for = ", ".join(f"{name} {number:,}" for name, number in calls.items())
    rejected = rows["total"] - rows["accepted"]
    does = [
        f"{counted(rows['accepted'], 'row')} of {one.name} would be sent; {counted(rejected, 'row')} not.",
        f"It was checked {found['at']}: what has become known since changes the numbers.",
        *(f"{name} has agreed." for name in one.agreed),
        then,
    ]
    cost = [f"Sessions that are asked for now, by account: {asked_for}." if asked_for else "No session is asked for."]
    cost += [f"{line[0].upper()}{line[1:]}." for line in map(str.strip, found["costs"]) if line]
    return Plan(
        title=f"Send {one.name}?",
        button="Agree" if left else "Send it",
        does=(*does, f"Version {one.version} of how it is read."),
        cost=cost,
        grave=True,
    )


def _approve(sources: Sources, asked: Asked, reason: str) -> Done:
    one = _as_seen(sources, asked)
    uploads = uploads_of(sources, asked, "approve list", reason)
    agreed = uploads.agree(one.id, one.version, by=asked.person.actor, needed=needed(sources), now=asked.now)
    if agreed is None:
        raise changed(one.id)
    if agreed.state is UploadState.APPROVED:
        return Done(f"{one.name} is approved: it is imported next, and then sent.")
    return Done(f"You have agreed to {one.name}. Another person must agree too.")


def _plan_discard(sources: Sources, asked: Asked) -> Plan:
    one = upload_of(sources, asked)
    if one.state in (UploadState.APPROVED, UploadState.IMPORTED, UploadState.DISCARDED):
        raise Refused("It is approved, or over: pause or cancel its batch instead.")
    return Plan(
        title=f"Discard {one.name}?",
        button="Discard it",
        does=("Its rows are removed from here. Nothing of it was sent.",),
    )


def _discard(sources: Sources, asked: Asked, reason: str) -> Done:
    one = upload_of(sources, asked)
    if not uploads_of(sources, asked, "discard list", reason).discard(one.id, now=asked.now):
        raise changed(one.id)
    return Done(f"{one.name} is discarded.")


def _back(asked: Asked) -> str:
    number = asked.number("list", least=1)
    return PATH if number is None else path_of(number)


ACTIONS = (
    Action(name="approve-list", plan=_plan_approve, carry_out=_approve, back=_back),
    Action(name="discard-list", plan=_plan_discard, carry_out=_discard, back=_back),
)
