"""Compiled statements that all engines of one kind of database share; SQLAlchemy has one cache for each engine.

Nearly every test opens its own database, and would spend most of its time on compiling the same SQL again.
"""

from typing import Any


class Statements(dict[Any, Any]):
    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(self._of_the_kind(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(self._of_the_kind(key), compiled)

    @staticmethod
    def _of_the_kind(key: Any) -> Any:
        dialect, *statement = key
        return (dialect.name, dialect.driver, *statement)


STATEMENTS = Statements()
