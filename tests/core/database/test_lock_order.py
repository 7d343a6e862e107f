"""Two transactions that lock the same rows in two orders wait for each other.

Each query that locks several rows has an order for them. In which order a transaction locks those of several tables,
each test on PostgreSQL sees (`tests/suite/locks.py`); here is what that is based on.
"""

import ast
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.suite.locks import LATE, after, locked_by
from tests.suite.packages import ROOT

# Queries without an order: each locks one row, but for the chunk of `decisions._move`, which has ordered it.
ALONE = {
    "core/budgets/budgets.py": 2,
    "lists/decisions/store/emergency_stop.py": 1,
    "features/alerts/store/alerts.py": 1,
    "features/audit/store/sealing.py": 1,
    "features/service_desk/store/cases.py": 1,
    "features/stable_links/store/landings.py": 1,
    "features/uploads/store/uploads.py": 2,
    "lists/decisions/store/decisions.py": 2,
    "lists/store/added_lines.py": 1,
    "lists/store/admission.py": 1,
    "plans/store/pilots.py": 2,
    "plans/store/plans.py": 1,
    "web/webhooks/store/delivery_reports.py": 1,
    "web/webhooks/store/webhook_list.py": 1,
    "wiring/store/database_copy.py": 1,
}


def texts_of(scopes: tuple[ast.AST, ...], node: ast.expr) -> str:
    """The query's own text, and that of the assignments to the names in it, in its module and its functions alone:
    another function may have the name for something else."""
    text, names = ast.unparse(node), {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    for scope in scopes:
        for each in scope.body if isinstance(scope, ast.Module) else ast.walk(scope):
            if isinstance(each, ast.Assign) and names & {
                name.id for name in each.targets if isinstance(name, ast.Name)
            }:
                text += ast.unparse(each.value)
    return text


def locking(node: ast.AST, scopes: tuple[ast.AST, ...] = ()) -> Iterator[tuple[ast.Attribute, tuple[ast.AST, ...]]]:
    """The calls that lock rows, each with the module and the functions around it."""
    if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
        scopes = (*scopes, node)
    locks = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "with_for_update"
    if locks and not any(word.arg == "skip_locked" for word in node.keywords):
        yield node.func, scopes
    for child in ast.iter_child_nodes(node):
        yield from locking(child, scopes)


def unordered() -> Counter[str]:
    found = Counter[str]()
    for file in sorted((ROOT / "worker").rglob("*.py")):
        for call, scopes in locking(ast.parse(file.read_text(encoding="utf-8"))):
            if "order_by" not in texts_of(scopes, call.value):
                found[str(file.relative_to(ROOT / "worker"))] += 1
    return found


def test_each_query_that_locks_rows_says_in_which_order():
    here = {file: number for file, number in ALONE.items() if (ROOT / "worker" / file).exists()}  # features may be out
    assert unordered() == here


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("SELECT job.id FROM job WHERE job.id IN (SELECT id FROM session) ORDER BY job.id FOR UPDATE", ["job"]),
        ("SELECT job.id FROM session JOIN job ON true FOR NO KEY UPDATE OF job", ["job"]),
        (
            "WITH due AS (SELECT id FROM invitation JOIN unnest(ARRAY[(1)]) AS k ON true FOR UPDATE SKIP LOCKED) "
            "UPDATE job SET state = 'working'",
            ["invitation", "job"],
        ),
        ("INSERT INTO customer (customer_id) VALUES ('C') ON CONFLICT DO UPDATE SET changed_at = 1", ["customer"]),
        ("DELETE FROM session WHERE id = 1", ["session"]),
        ("SELECT job.id FROM job", []),
    ],
)
def test_it_is_known_of_which_tables_a_statement_locks_rows(statement, tables):
    assert locked_by(statement) == tables


def test_a_table_is_locked_too_late_after_one_that_comes_behind_it_but_not_once_more():
    assert after(["customer", "job", "session"], "invitation") == ["job", "session"]
    assert after(["customer", "job"], "customer") == []
    assert after(["invitation"], "job") == []


def test_each_module_that_may_lock_later_is_there():
    assert [file for file in LATE if not (ROOT / "worker" / file).exists() and not file.startswith("features/")] == []
