"""A folder that lists are taken from: each file once, whatever dies, whichever of several processes looks; and when
each folder of [[intake]] is looked into, in threads, since an import may take minutes.

The database decides which process takes a file (`store/dropped_files.py`). An import that is killed goes on: the file's
content names its batch. Next to the list the process writes NAME.errors.csv once the list is imported, and
NAME.report.csv once it is sent and once it has ended.
"""

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TextIO

import sqlalchemy as sa

from onboarding_worker.cli.feature_checks import FeatureCheck, Finding, failure, ok, warning
from onboarding_worker.core.database.audit_entries import Act, note_alone
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.notation import counted, written
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.features.list_sources.dropped_files import DroppedFile, FileState, next_report
from onboarding_worker.features.list_sources.place import (
    ERRORS,
    MOST_FILES,
    REPORT,
    Away,
    Copy,
    Found,
    LocalFolder,
    NotTaken,
    Write,
)
from onboarding_worker.features.list_sources.remote_folders import RemoteFolder, S3Folder, SftpFolder
from onboarding_worker.features.list_sources.settings import Intake as FolderSettings
from onboarding_worker.features.list_sources.settings import Remote
from onboarding_worker.features.list_sources.store.dropped_files import DroppedFiles, problems_of_batch
from onboarding_worker.lists.columns import OwnFile
from onboarding_worker.lists.importing.intake import PREFILLED
from onboarding_worker.lists.importing.judging import judge_all, options_of, problems_of
from onboarding_worker.lists.importing.list_import import CutOff, ImportChoices, TooManyRefused, import_list
from onboarding_worker.lists.known_customers import KnownRule
from onboarding_worker.lists.lines import ListRefused, RefusedLine
from onboarding_worker.lists.listing import open_list
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.lists.returned import ReturnedReport
from onboarding_worker.lists.store.batches import Batches
from onboarding_worker.lists.store.taken import MOST_TRIES, Ending, lease_of
from onboarding_worker.lists.warned import problems_csv
from onboarding_worker.plans.store.plans import Plan, PlanRefused
from onboarding_worker.providers.row_rights import FOLDERS
from onboarding_worker.reporting.batch_report import state_of
from onboarding_worker.reporting.report_lines import write_csv
from onboarding_worker.settings.problems import SettingsError
from onboarding_worker.wiring.background import Looks, Work, Working, settling
from onboarding_worker.wiring.container import Parts

log = logging.getLogger(__name__)
LARGEST_MIB = 1024  # the readers have bounds of their own
TRY_AGAIN = timedelta(minutes=1)  # after a full disk, or a folder that cannot be written
MOST_REMOVED = 20  # of what killed processes left, at one look
NEVER_AGAIN = f"its import was begun {MOST_TRIES} times and never ended: try `onboard check` with it"


@dataclass(frozen=True, kw_only=True)
class DropBox:
    """One folder, as a process looks into it. `owner` names the process."""

    folder: FolderSettings
    place: LocalFolder | RemoteFolder
    parts: Parts
    owner: str
    stopping: Callable[[], bool] = lambda: False

    def look(self) -> None:
        """Write down what is in the folder, take what is due, and write the reports that are due. Raises
        sqlalchemy.exc.OperationalError while the database cannot be used."""
        files, now, name = self._files, self.parts.database_clock(), self.folder.known_as
        known = files.all([name])
        was_away = any(not one.name for one in known)
        try:
            found, reason = self.place.found(now=now), ""
        except Away as error:
            found, reason = Found(), f"the folder cannot be read: {error}"[:400]
        if found.is_full:
            reason = f"the folder holds more than {MOST_FILES:,} lists: move away those that have ended"
        if reason:
            if [one.reason for one in known if not one.name] != [reason]:
                files.away(name, reason, now=now)
            return
        if was_away:
            files.away(name, "", now=now)
        for left in found.left_over[:MOST_REMOVED]:
            self.place.remove(left)
        known = [one for one in known if one.name]
        files.seen(name, found.stamps | dict.fromkeys(found.odd, "odd"), known, now=now)
        for one in files.all([name]):
            if self.stopping():
                return
            if one.name in found.odd:
                if one.state is not FileState.REFUSED and self._has_taken(one):
                    self._refuse(one, found.odd[one.name])
            elif one.is_due(now=now):
                self._take(one)
            elif one.state is FileState.IMPORTED and one.batch_id is not None:
                self._report(one)

    @property
    def _files(self) -> DroppedFiles:
        return DroppedFiles(self.parts.database)

    @property
    def _acting(self) -> Database:
        return self.parts.database.acting(Act(f"folder {self.folder.known_as}", "intake"))

    def _has_taken(self, file: DroppedFile) -> bool:
        now = self.parts.database_clock()
        return self._files.take(file, owner=self.owner, until=lease_of(self.parts.settings.worker.lease, now), now=now)

    def _take(self, file: DroppedFile) -> None:
        if not self._has_taken(file):
            return
        if file.tries >= MOST_TRIES:
            return self._refuse(file, NEVER_AGAIN)
        clock = self.parts.database_clock
        keep = self._files.keeping(
            file, owner=self.owner, lease=self.parts.settings.worker.lease, clock=clock, stopping=self.stopping
        )
        try:
            with self.place.copied(file.name, file.stamp, largest=LARGEST_MIB << 20, step=keep) as copy:
                self._import(file, copy, keep)
        except NotTaken as error:
            if error.for_good:
                self._refuse(file, str(error))
            else:
                self._put_off(file, str(error))
        except (Ending, CutOff):
            self._files.release(file, owner=self.owner)
        except sa.exc.OperationalError:
            raise
        except Exception as error:
            # Its lease ends, and it is tried again; a file that ends every process is refused after some tries.
            log.error("a list of the folder %s: its import ended with %s", self.folder.known_as, type(error).__name__)

    def _import(self, file: DroppedFile, copy: Copy, keep: Callable[[], None]) -> None:
        origin, configured = f"{FOLDERS}.{self.folder.known_as}", self.parts.settings.import_
        intake = self.parts.intake.of(origin, account=self.folder.account or "")
        defaults, ignore = configured.defaults | self.folder.defaults, frozenset(configured.ignore)
        options = options_of(intake, if_used=PREFILLED, defaults=defaults, ignore=ignore, dates=configured.dates)
        now = self.parts.clock()
        hold = f"waits for approval: it came by the folder {self.folder.known_as}, {written(now)}"
        choices = ImportChoices(
            strict=self.folder.strict,
            rule=KnownRule(configured.known),
            plan=Plan("", "", None, self.folder.per_hour) if self.folder.per_hour is not None else None,
            hold=hold if self.folder.approve else "",
        )
        batches = Batches(self._acting, self.parts.keyring, wide=self.parts.batches.wide)
        report = None
        try:
            reading = open_list(copy.content, options)
            # What a report corrects leaves at once: where a person is to look first, it is not taken.
            if reading.own is OwnFile.REPORT and not self.folder.approve:
                given = ReturnedReport(name=file.name, options=options, database=self._acting, origin=origin)
                report = settling(self.parts, given)
            imported = import_list(
                intake,
                batches,
                copy.content,
                options,
                name=file.name,
                choices=choices,
                report=report,
                reading=reading,
                progress=lambda _rows: keep(),
            )
        except ListRefused as error:
            reasons = error.reasons
            return self._refuse(file, "; ".join(reasons), lambda out: _write_reasons(out, reasons))
        except TooManyRefused as error:
            copy.content.seek(0)
            lines = judge_all(intake, batches, open_list(copy.content, options), report=report)
            judged = (line for line in lines if isinstance(line, RefusedLine))
            # All of them first: the list is one stream, and its cells are read next.
            refused = [(line.row, problem) for line in judged for problem in problems_of(line)]
            return self._refuse(file, str(error), lambda out: _write_rows(out, copy, options, refused))
        except PlanRefused as error:
            return self._refuse(file, str(error))
        batch = imported.batch
        is_known = file.digest == copy.digest and file.batch_id == batch.id
        if not is_known and (batch.cancelled_at is not None or batch.purged_at is not None):
            ended = "cancelled" if batch.cancelled_at is not None else "purged"
            again = "`onboard import LIST --again` imports it anew"
            return self._refuse(file, f"batch {batch.id} of this list was {ended}; {again}")
        if batch.purged_at is None:
            problems = problems_of_batch(self.parts.database, batch.id)
            self.place.write(file.name + ERRORS, lambda out: _write_rows(out, copy, options, problems))
        same = "" if imported.new or batch.name == file.name else f"the same list as {batch.name}"
        facts = {"digest": copy.digest, "batch_id": batch.id, "tries": 0, "reason": same[:400]}
        facts["reported"] = file.reported if is_known else ""
        self._files.done(file, owner=self.owner, state=FileState.IMPORTED, **facts)
        log.info("a list of the folder %s is batch %d", self.folder.known_as, batch.id, extra={"batch": batch.id})

    def _report(self, file: DroppedFile) -> None:
        """Write the report of a list that is sent, or has ended, since the last one."""
        now = self.parts.database_clock()
        if file.until is not None and file.until > now:
            return
        batch = self.parts.batches.find(str(file.batch_id))
        if batch is None or batch.purged_at is not None:
            due = "" if file.reported == "finished" else "finished"
        else:
            due = next_report(state_of(batch, self.parts.facts.counts(batch.id)), file.reported)
        if not due or not self._has_taken(file):
            return
        try:
            if batch is not None and batch.purged_at is None:
                lines, columns = self.parts.facts.lines(batch.id), self.parts.reporting.columns(batch)
                self.place.write(file.name + REPORT, lambda out: write_csv(out, lines, columns))
        except NotTaken as error:
            return self._put_off(file, str(error))
        # Once a report that was put off is written, why it was put off is past.
        past = {} if file.until is None else {"reason": ""}
        self._files.done(file, owner=self.owner, state=FileState.IMPORTED, reported=due, **past)

    def _refuse(self, file: DroppedFile, why: str, write: Write | None = None) -> None:
        reason = " ".join(why.split())[:400]
        try:
            self.place.write(file.name + ERRORS, write or (lambda out: _write_reasons(out, [reason])))
        except NotTaken as error:
            reason = f"{reason}; {error}"[:400]
        subject = f"folder {self.folder.known_as}"
        note_alone(self._acting, subject, now=self.parts.clock(), reason="a list was refused")
        self._files.done(file, owner=self.owner, state=FileState.REFUSED, tries=0, reason=reason)
        log.warning("a list of the folder %s is refused: `onboard status` says why", self.folder.known_as)

    def _put_off(self, file: DroppedFile, why: str) -> None:
        until = self.parts.database_clock() + TRY_AGAIN
        self._files.put_off(file, owner=self.owner, reason=why, until=until)


def _write_rows(out: TextIO, copy: Copy, options: ListOptions, refused: Iterable[tuple[int, FieldProblem]]) -> None:
    """The problems, with the cells of the rejected rows: mended there, the file is a list."""
    copy.content.seek(0)
    titles, rows = open_list(copy.content, options).originals()
    try:
        problems_csv(out, ((row, problem, "error") for row, problem in refused), originals=(titles, rows))
    finally:  # the reading ends here, also on a full disk, since the copy is closed next
        if isinstance(rows, Generator):
            rows.close()


def _write_reasons(out: TextIO, reasons: Sequence[str]) -> None:
    problems_csv(out, ((None, FieldProblem("", reason, ""), "error") for reason in reasons))


def place_of(folder: FolderSettings) -> LocalFolder | RemoteFolder:
    """The folder, as the drop box uses it. Opens no connection."""
    if not isinstance(folder.folder, Remote):
        return LocalFolder(folder.folder, folder.mode)
    return (S3Folder if folder.folder.scheme == "s3" else SftpFolder)(folder, folder.folder)


def check(parts: Parts) -> Iterator[Finding]:
    """Each folder of [[intake]] can be read from here."""
    for folder in parts.settings.tables(FolderSettings):
        what = f"folder {folder.known_as}"
        try:
            found = place_of(folder).found(now=parts.clock())
        except Away as error:
            yield failure(what, f"cannot be read: {error}", "docs/features/list_sources.md")
        except SettingsError as error:
            yield warning(what, f"not asked: {'; '.join(error.problems)}", "run it where the credentials are set")
        else:
            lists = counted(len(found.stamps), "list")
            more = f", and {counted(len(found.odd), 'file')} that cannot be taken" if found.odd else ""
            yield ok(what, f"can be read; it holds {lists}{more}")


CHECK = FeatureCheck(check)


END_SECONDS = 30.0  # a chunk of an import is through by then; after a kill its batch goes on


def _look(boxes: Sequence[DropBox], outages: Mapping[str, Outage]) -> None:
    for box in boxes:
        name = box.folder.known_as
        try:
            box.look()
        except sa.exc.OperationalError:
            return  # the work logs it
        except Exception as error:
            why = f"looking into the folder {name} ended with {type(error).__name__}"
            outages[name].lasts(why, monotonic())
        else:
            outages[name].over(f"the folder {name} is looked into again")


class FolderSchedule(Working):
    """Looks into each folder at its times. The folders of this machine have one thread, and are looked into one after
    the other; each other folder has its own, since its server may be slow or away."""

    def __init__(self, parts: Parts, folders: Sequence[FolderSettings]) -> None:
        self._ends, lanes = threading.Event(), dict[str, list[DropBox]]()
        for folder in folders:
            box = DropBox(
                folder=folder, place=place_of(folder), parts=parts, owner=parts.owner[:80], stopping=self._ends.is_set
            )
            lanes.setdefault(folder.known_as if isinstance(folder.folder, Remote) else "", []).append(box)
        outages = {folder.known_as: Outage(log, logging.WARNING) for folder in folders}
        self._lanes = []
        for boxes in lanes.values():
            seconds, look = boxes[0].folder.looks_every.total_seconds(), partial(_look, boxes, outages)
            self._lanes.append(Looks("folders", look, seconds, self._ends, END_SECONDS))

    @classmethod
    def of(cls, parts: Parts) -> "FolderSchedule | None":
        """None without folders."""
        folders = parts.settings.tables(FolderSettings)
        return cls(parts, folders) if folders else None

    def step(self) -> None:
        for lane in self._lanes:
            lane.step()

    def close(self) -> None:
        """End all after the present chunks of their imports."""
        self._ends.set()
        until = monotonic() + END_SECONDS
        for lane in self._lanes:
            lane.join(max(0.0, until - monotonic()))


WORK = Work(FolderSchedule.of, in_run=False)
