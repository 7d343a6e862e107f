"""A name in core means one thing."""

import ast
from collections import defaultdict

from tests.suite.packages import ROOT


def test_no_class_name_stands_twice_in_core():
    places = defaultdict(list)
    for file in sorted((ROOT / "worker/core").rglob("*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(file.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
