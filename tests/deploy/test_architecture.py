"""docs/inside/architecture.md is short, and names files and functions that exist; and what holds for all code."""

import ast
import re
from functools import cache
from pathlib import Path

from tests.suite.packages import CODE, ROOT

PAGE = (ROOT / "docs/inside/architecture.md").read_text(encoding="utf-8")
FEATURES = ROOT / "worker/features"
ROOMS = {file.parent.name for floor in ("worker", "worker/core") for file in (ROOT / floor).glob("*/__init__.py")}
PLACE = re.compile(r"`((?:[a-z_\d]+/)*[a-z_\d]+\.py)`(?:: (`\w+`(?:, `\w+`(?!\.))*))?")


def places(page: str) -> list[tuple[str, str]]:
    """(file, name) for each place that the page names; the name is empty where a whole file is meant."""
    found = []
    for path, names in PLACE.findall(page):
        found += [(path, name) for name in re.findall(r"`(\w+)`", names)] or [(path, "")]
    return found


def test_the_page_is_short_and_its_table_names_many_places():
    assert len(PAGE.split()) <= 2000
    assert len(places(PAGE)) > 60


def test_each_place_that_the_page_or_a_features_page_names_exists():
    """Below `worker`, in the feature's folder, or at the top of the checkout."""
    pages = {PAGE: ROOT / "worker"}
    pages |= {_page_of(folder): folder for folder in FEATURES.iterdir() if (folder / "__init__.py").exists()}
    for page, folder in pages.items():
        for path, name in places(page):
            file = next((base / path for base in (folder, ROOT / "worker", ROOT) if (base / path).exists()), None)
            assert file is not None, path
            defined = rf"^(class |def |async def )?{name}\b"
            assert not name or re.search(defined, file.read_text(encoding="utf-8"), re.MULTILINE), (path, name)


def test_the_spine_is_read_in_an_afternoon():
    spine = [path for path, _ in places(PAGE.split("**The spine**")[1].split("\n\n")[0])]
    lines = [(ROOT / "worker" / path).read_text(encoding="utf-8").count("\n") for path in spine]
    assert 10 <= len(spine) <= 15
    assert sum(lines) <= 3700


def test_the_picture_of_the_floors_shows_each_room():
    picture = PAGE.split("## The floors")[1].split("## The way of a row")[0]
    assert ROOMS
    assert [room for room in sorted(ROOMS) if not re.search(rf"\b{room}\b", picture)] == []


def test_each_room_says_what_it_holds():
    rooms = [file.parent for file in CODE if file.name == "__init__.py"]
    assert rooms
    assert [
        str(room) for room in rooms if not (room / "__init__.py").read_text(encoding="utf-8").startswith('"""')
    ] == []


def test_no_room_is_too_large_for_one_look():
    folders = {file.parent for file in CODE}
    assert [str(path) for path in folders if len(list(path.glob("*.py"))) > 25] == []
    assert len([path for path in (ROOT / "worker").iterdir() if path.name != "__pycache__"]) <= 20


# The sandbox imports nothing of the worker.
CLOCKS = {ROOT / "worker/core/foundation/clock.py", ROOT / "onboarding_sandbox/options.py"}
READS_A_CLOCK = re.compile(
    r"\b(datetime\.(now|utcnow|today)|date\.today|time\.(time|time_ns|clock_gettime\w*|gmtime|localtime)|system_clock)\b"
)


@cache
def texts() -> dict[Path, str]:
    """Each file of our packages, on one line."""
    return {file: re.sub(r"\s+(?=\.)", "", " ".join(file.read_text(encoding="utf-8").split())) for file in CODE}


@cache
def code(file: Path) -> str:
    """Without its comments, and as Python itself would write it."""
    return ast.unparse(ast.parse(file.read_text(encoding="utf-8")))


def having(pattern: re.Pattern[str]) -> list[Path]:
    """The files whose code has it. To parse those whose text has it not would take ten times as long."""
    return [file for file, text in texts().items() if pattern.search(text) and pattern.search(code(file))]


def test_no_code_but_the_clocks_own_reads_the_machines_clock():
    """A step of a machine's clock must change nothing after the start: see docs/decisions/0026."""
    assert {*having(READS_A_CLOCK)} == CLOCKS


READS_A_LINK = re.compile(r"(?<!def )\bdecrypt_(opening|link)\(")


def test_a_page_names_each_module_that_reads_a_sessions_link_again():
    """Of a feature, its own page, by the path in its folder."""
    its_own = ROOT / "worker/core/database/encrypted_values.py"
    readers = [file for file in having(READS_A_LINK) if file != its_own]

    assert len(readers) > 2
    assert [str(file) for file in readers if f"{_named(file)}`" not in _page_of(file)] == []


def _named(file: Path) -> str:
    above = FEATURES / file.relative_to(FEATURES).parts[0] if file.is_relative_to(FEATURES) else ROOT / "worker"
    return file.relative_to(above).as_posix()


def _page_of(file: Path) -> str:
    if not file.is_relative_to(FEATURES):
        return PAGE
    page = ROOT / f"docs/features/{file.relative_to(FEATURES).parts[0]}.md"
    return page.read_text(encoding="utf-8") if page.exists() else ""


MAKES_A_LOOP = re.compile(r"\basyncio\.(run|new_event_loop|Runner)\b")


def test_no_code_but_one_module_makes_an_event_loop():
    """Else a process would run on a loop that is slower, and that no test has seen: see docs/decisions/0005."""
    its_own = ROOT / "onboarding_sandbox"  # it imports nothing of the worker
    assert [file for file in having(MAKES_A_LOOP) if not file.is_relative_to(its_own)] == [
        ROOT / "worker/http/event_loop.py"
    ]


# What begins a transaction, or holds one: a call on a Database or an engine, a connection, a driver of its own.
TRANSACTION = re.compile(
    r"\b_?database\.(read|write)\b|\bwith [^\n]*(\.read|\.write|transaction)\(\) as\b"
    r"|\bengine\.(begin|connect|raw_connection)\b|\b(create_engine|sessionmaker)\b|\b(sqlite3|psycopg)\.connect\b"
    r"|\bsa\.(Connection|Engine)\b|\bsqlalchemy\.(engine|orm)\b"
)
MAY_HOLD_ONE = {
    "worker/runtime/python_api.py": "the transaction is the caller's: the event is to be committed with it",
    "worker/events/event_receiver.py": "passes the transaction of a caller of the Python API to the store",
    "onboarding_sandbox/demo/play.py": "makes the demo's database on a server, and removes it; no rows",
    "worker/cli/lists/adopting.py": "passes the transaction that adds a row to the store, which adds its session too",
    "worker/lists/importing/adopting.py": "says so in the contract of what looks sessions up",
    "worker/cli/completions.py": "answers a shell while somebody types: importing the store takes too long",
}

STORE = re.compile(r".*/store/|worker/core/(database|rows|budgets|claim|messages|upkeep)/")


def test_no_transaction_begins_above_the_store():
    """Else two transactions could depend on each other, and fail one by one: see docs/decisions/0036."""
    holds = [file.relative_to(ROOT).as_posix() for file in having(TRANSACTION)]
    assert sorted(file for file in holds if not STORE.match(file)) == sorted(MAY_HOLD_ONE)
