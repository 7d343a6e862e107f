"""The order in which a transaction locks rows of the main tables, seen while the tests on PostgreSQL run.

Two transactions with two orders wait for each other until PostgreSQL ends one, which is repeated (`outlive_deadlocks`):
that costs time and nothing else. So a few have an order of their own, each for a reason.
"""

import re
import sys

import sqlalchemy as sa

ORDER = ("customer", "invitation", "job", "session")
# The modules that lock rows of an earlier table after those of a later one, and why they cannot know them before.
LATE = {
    "core/rows/cancellation.py": "which row goes on in place of a cancelled one shows once it is locked",
    "core/rows/pending_details.py": "only the cancelled row shows that its customer's details go with it",
    "core/messages/how_many.py": "whose last message it may be is known of claimed messages alone",
    "core/rows/message_rows.py": "retention removes what belongs to the jobs that it has locked",
    "core/work/store/session_reuse.py": "which session a claimed row takes over, with its messages, the claim shows",
    "features/privacy/store/removals.py": "retention removes what belongs to the jobs that it has locked",
    "wiring/store/database_copy.py": "a table after the other, where nothing else works",
    "web/webhooks/store/provider_updates.py": "a result concerns a session; whether its messages end is its verdict",
}
_LOCKS = re.compile(
    r"\bFOR (?:NO KEY )?UPDATE(?: OF (?P<of>\w+))?|\bUPDATE (?P<changed>\w+) SET|\bDELETE FROM (?P<gone>\w+)"
    r"|\bINSERT INTO (?P<held>\w+) .* DO UPDATE ",
    re.DOTALL,
)
_FROM = re.compile(r"\bFROM (\w+)")
out_of_order: list[str] = []  # what the running test has seen


def locked_by(statement: str) -> list[str]:
    """The main tables of which a statement locks rows, in its order. A row that another transaction has is skipped
    where it says so; it is locked all the same."""
    found = []
    for each in _LOCKS.finditer(statement):
        table = each["of"] or each["changed"] or each["gone"] or each["held"]
        if table is None:  # the FROM of its own query: what stands in brackets before it is another's
            before, inner = statement[: each.start()], 1
            while inner:
                before, inner = re.subn(r"\([^()]*\)", "", before)
            table = _FROM.findall(before.rpartition("(")[2])[-1]
        found.append(table)
    return [table for table in found if table in ORDER]


def module_of_ours() -> str | None:
    """The module below `worker/` whose statement is executed; None: a test's own."""
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_code.co_filename.rpartition("/onboarding_worker/")[2]
        if module != frame.f_code.co_filename and not module.startswith("core/database/"):
            return module if "site-packages" not in frame.f_code.co_filename else None
        frame = frame.f_back
    return None


def after(held: list[str], table: str) -> list[str]:
    """The held tables that a transaction should have locked after this one."""
    return [other for other in held if ORDER.index(other) > ORDER.index(table)] if table not in held else []


@sa.event.listens_for(sa.Engine, "begin")
def _begins(connection: sa.Connection) -> None:
    connection.info["locked"] = []


@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def _executes(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
    if connection.dialect.name != "postgresql" or not (tables := locked_by(statement)):
        return
    module = module_of_ours()
    if module is None:
        return
    held = connection.info.setdefault("locked", [])
    for table in tables:
        if (later := after(held, table)) and module not in LATE:
            out_of_order.append(f"{module} locks {table} after {', '.join(later)}")
        if table not in held:
            held.append(table)
