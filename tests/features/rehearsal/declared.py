"""What all tests of commands ask of this one."""

WITHOUT_DATABASE = {"rehearse"}  # it makes a database of its own
NEEDS: list[tuple[str, set[str]]] = [("rehearse customers.csv", set())]
FILES_BESIDE = [["rehearse", "one.csv", "--out"]]
