"""The list of uploaded lists, with the form for another one; and one of them: what its check found, how it is
read, and whether a person agrees that it is sent, or discards it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from tempfile import TemporaryFile
from typing import Any

from onboarding_worker.core.database.audit_entries import note_alone
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.features.dashboard.contract import (
    Action,
    Arrival,
    Asked,
    Done,
    Download,
    Elsewhere,
    File,
    NotThere,
    Page,
    Part,
    Plan,
    Refused,
    Sources,
)
from onboarding_worker.features.dashboard.users import Role
from onboarding_worker.features.uploads.agreeing import Agreeing
from onboarding_worker.features.uploads.store.uploads import PROBLEMS, Uploads
from onboarding_worker.features.uploads.uploaded import AGREED, ENDED, MOST_BYTES, OPEN, PATH, How, Upload, UploadState
from onboarding_worker.lists.dates import DateForm
from onboarding_worker.lists.rules import COLUMNS, WORDED
from onboarding_worker.reporting.store.processes import WORK

SHOWN = 30
LONGEST_WORD = 100  # of ours
IGNORED = "-"


def path_of(list_id: int) -> str:
    return f"{PATH}/{list_id}"


def uploads_of(sources: Sources, asked: Asked, action: str = "", reason: str = "") -> Uploads:
    """`action`: what the person does, for the audit log."""
    stores = sources.acting(asked, action, reason) if action else sources.parts
    return Uploads(stores.database, stores.keyring)


def upload_of(sources: Sources, asked: Asked) -> Upload:
    """The list that a request names, with the agreements that count. Raises NotThere."""
    number, agreeing = asked.number("list", least=1), Agreeing(sources.parts.settings)
    found = uploads_of(sources, asked).find(number, agreeing, now=asked.now) if number is not None else None
    if found is None:
        raise NotThere("There is no such list.")
    return found


def is_worked(sources: Sources) -> bool:
    """Whether a process runs that checks and imports lists."""
    return any(one.kind in WORK for one in sources.parts.processes.running(now=sources.parts.clock()))


def changed(sources: Sources, asked: Asked) -> Refused:
    """What has become of the list, since a person looked at it."""
    one = upload_of(sources, asked)
    became = "read in another way" if one.state in (UploadState.ARRIVED, UploadState.CHECKED) else one.state.value
    refused = Refused(f"Since you looked, the list was {became}. Look again.")
    refused.back = path_of(one.id)
    return refused


def _read_all(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    first = asked.number("from") or 0
    found, total = uploads_of(sources, asked).all(most=SHOWN, after=first)
    return {
        "uploads": found,
        "total": total,
        "most": MOST_BYTES >> 20,
        "working": is_worked(sources),
        "newer": f"{PATH}?from={max(first - SHOWN, 0)}" if first else "",
        "older": f"{PATH}?from={first + SHOWN}" if total > first + SHOWN else "",
    }


def _read_one(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    one = upload_of(sources, asked)
    _, found = uploads_of(sources, asked).how_and_found(one.id)
    return {
        "upload": one,
        "found": found,
        "can_read": one.state in OPEN and found is not None,
        "needed": Agreeing(sources.parts.settings).needed,
        "has_agreed": one.has_agreed(asked.person.actor),
        "working": is_worked(sources),
        "ended": one.state in ENDED,
    }


def _read_how(sources: Sources, asked: Asked) -> Mapping[str, Any]:
    """The form: which title is which column, which word is which of ours. Posted: what was typed into it."""
    one = upload_of(sources, asked)
    before, found = uploads_of(sources, asked).how_and_found(one.id)
    if found is None or one.state not in OPEN:
        raise changed(sources, asked)
    if not asked.posted:
        return {"upload": one, "how": before, "found": found, "ours": COLUMNS, "ignored": IGNORED}
    version, how = asked.number("version"), how_given(before, found, asked)
    uploads = uploads_of(sources, asked, "read list")
    if version != one.version or not uploads.read_otherwise(one.id, version, how, now=asked.now):
        raise changed(sources, asked)
    raise Elsewhere(path_of(one.id))


def how_given(before: How, found: Mapping[str, Any], asked: Asked) -> How:
    """What the form says. Fields that the page did not have change nothing. Raises Refused."""
    mapping, ignore = dict(before.mapping), list(before.ignore)
    for place, (title, name) in enumerate(found["columns"]):
        given = asked.text(f"column-{place}", most=LONGEST_WORD)
        if not given or given == (IGNORED if name == "" else name):
            continue
        mapping.pop(title, None)
        ignore = [one for one in ignore if one != title]
        if given == IGNORED:
            ignore.append(title)
        elif given in COLUMNS:
            mapping[title] = given
        else:
            raise Refused(f"There is no column {given!r}.")
    words = {column: dict(ours) for column, ours in before.values.items()}
    for column, ones in found.get("words", {}).items():
        for place, word in enumerate(ones):
            given = asked.text(f"word-{column}-{place}", most=LONGEST_WORD)
            if given and column in WORDED:
                words.setdefault(column, {})[word.casefold()] = given
    dates, sheet = asked.text("dates", most=20), asked.text("sheet", most=100)
    try:
        dates = DateForm.parse(dates).text if dates else ""
    except ValueError as error:
        raise Refused(f"The form of dates cannot be read: {error}.") from None
    return How(mapping, tuple(ignore), words, dates, sheet)


@dataclass
class _Coming:
    """A file that is coming: each part is stored as it comes."""

    uploads: Uploads
    list_id: int
    now: datetime
    size: int = 0
    number: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, content: bytes) -> None:
        self.uploads.add(self.list_id, self.number, content)
        self.digest.update(content)
        self.size, self.number = self.size + len(content), self.number + 1

    def end(self) -> str:
        self.uploads.arrived(self.list_id, digest=self.digest.hexdigest(), size=self.size, now=self.now)
        return path_of(self.list_id)

    def give_up(self) -> None:
        self.uploads.discard(self.list_id, now=self.now, why="it did not come whole")


def _begin(sources: Sources, asked: Asked, name: str) -> _Coming:
    uploads = uploads_of(sources, asked, "upload list")
    return _Coming(uploads, uploads.begin(name, by=asked.person.actor, now=asked.now), asked.now)


def _problems(sources: Sources, asked: Asked) -> File:
    one = upload_of(sources, asked)
    if uploads_of(sources, asked).how_and_found(one.id)[1] is None:
        raise Refused("The list is being checked, or it has ended: then its batch's report has the rejected rows.")
    database = sources.acting(asked, "problems of list", "").database
    note_alone(database, f"uploaded list {one.id}", now=asked.now, reason="the file of its problems")
    out = TemporaryFile("w+b")  # noqa: SIM115 -- the site closes it
    for content in uploads_of(sources, asked).content(one.id, PROBLEMS):
        out.write(content)
    out.seek(0)
    return File(f"{one.name.rpartition('.')[0] or one.name}-problems.csv", "text/csv", out)


def _as_seen(sources: Sources, asked: Asked) -> Upload:
    """The list, in the version that the person looked at: the link and the form name it. Raises Refused."""
    one = upload_of(sources, asked)
    if one.version != asked.number("version"):
        raise changed(sources, asked)
    return one


def _plan_approve(sources: Sources, asked: Asked) -> Plan:
    one = _as_seen(sources, asked)
    if one.has_agreed(asked.person.actor) and one.state in AGREED:
        missing = one.state is UploadState.CHECKED
        raise Refused(f"You have agreed already: {'another person must agree too' if missing else 'it is approved'}.")
    if one.state is not UploadState.CHECKED:
        raise changed(sources, asked)
    _, found = uploads_of(sources, asked).how_and_found(one.id)
    if found is None:
        raise changed(sources, asked)
    rows, needed = found["rows"], Agreeing(sources.parts.settings).needed
    left = needed - len(one.agreed) - 1
    then = "Then its rows are imported and sent." if not left else f"{counted(left, 'other person')} must agree too."
    calls, worst = (
        ", ".join(f"{name} {number:,}" for name, number in found[of].items() if number) for of in ("now", "credits")
    )
    rejected = rows["total"] - rows["accepted"]
    does = [
        f"{counted(rows['accepted'] - found['served'], 'row')} of {one.name} would be sent;"
        f" {found['served']:,} need no session (served, finished or held), and {rejected:,} are not accepted.",
        f"It was checked {found['at']}: what has become known since changes the numbers.",
        *(f"{name} has agreed." for name in one.agreed),
        then,
    ]
    cost = [f"Sessions, by account: now {calls or 'none'}; at most, with every reissue, {worst or 'none'}."]
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
    uploads, settings = uploads_of(sources, asked, "approve list", reason), sources.parts.settings
    agreed = uploads.agree(one.id, one.version, Agreeing(settings), by=asked.person, now=asked.now)
    if agreed is None:
        raise changed(sources, asked)
    if agreed.state is not UploadState.CHECKED:
        return Done(f"{one.name} is approved: it is imported next, and then sent.")
    return Done(f"You have agreed to {one.name}. Another person must agree too.")


def _plan_discard(sources: Sources, asked: Asked) -> Plan:
    one = upload_of(sources, asked)
    if one.state in (UploadState.APPROVED, UploadState.IMPORTED, UploadState.DISCARDED):
        raise Refused("It is approved, or over: pause or cancel its batch instead.")
    batch = sources.parts.batches.of_content(one.digest) if one.digest else None
    sent = f"Those that are in batch {batch.id} stay there." if batch is not None else "Nothing of it was sent."
    return Plan(title=f"Discard {one.name}?", button="Discard it", does=(f"Its rows are removed from here. {sent}",))


def _discard(sources: Sources, asked: Asked, reason: str) -> Done:
    one = upload_of(sources, asked)
    if not uploads_of(sources, asked, "discard list", reason).discard(one.id, now=asked.now):
        raise changed(sources, asked)
    return Done(f"{one.name} is discarded.")


def _back(asked: Asked) -> str:
    number = asked.number("list", least=1)
    return PATH if number is None else path_of(number)


ACTIONS = (
    Action(name="approve-list", plan=_plan_approve, carry_out=_approve, back=_back),
    Action(name="discard-list", plan=_plan_discard, carry_out=_discard, back=_back),
)
ONE = f"{PATH}/{{list}}"
_page = partial(Page, least=Role.OPERATOR)
_of_one = partial(_page, shared=False)
PAGES = (
    _page(
        path=PATH, template="uploads.html", live="uploads_live.html", read=_read_all, title="Lists", navigation="Lists"
    ),
    _of_one(path=ONE, template="upload.html", live="upload_live.html", read=_read_one, title="List"),
    _of_one(path=f"{ONE}/read", template="upload_read.html", read=_read_how, title="How the list is read", posted=True),
)
PART = Part(
    package="onboarding_worker.features.uploads",
    pages=PAGES,
    actions=ACTIONS,
    downloads=(Download(path=f"{ONE}/problems.csv", least=Role.OPERATOR, read=_problems),),
    arrivals=(Arrival(path=PATH, least=Role.OPERATOR, most=MOST_BYTES, begin=_begin),),
)
