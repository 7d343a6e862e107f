"""What became of an action is read from a cookie, which may hold anything."""

from types import SimpleNamespace
from typing import Any

from worker.features.dashboard.users import Person, Role
from worker.features.dashboard.visits import Visit, cookie_name, what_was_said


def test_a_cookie_that_is_not_ours_says_nothing(subtests):
    for cookie in [".", "a.b", "\udcff.b", "a.\udcff", "\udcff.\udcff", "YQ==."]:
        with subtests.test(cookie=cookie):
            request: Any = SimpleNamespace(host="site.example", headers={}, cookies={})
            request.cookies[f"{cookie_name(request)}_said"] = cookie
            assert what_was_said(Visit(Person("ona", Role.OPERATOR), "secret", request)) == ""
