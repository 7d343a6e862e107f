"""The template files of a library, checked with the layouts above them and compiled at their first use."""

from collections.abc import Mapping

from jinja2 import DictLoader, Template

from worker.templates.language import LAYOUTS, TemplateProblem, compiled, environment, read
from worker.templates.library import PARTS, Library
from worker.templates.page_values import PAGE_VARIABLES
from worker.templates.values import VARIABLES


class TemplateFiles:
    def __init__(self, library: Library) -> None:
        self.library = library
        self._env = environment(DictLoader(library.sources), library.layout_of)
        self._compiled: dict[str, Template | TemplateProblem] = {}

    def template(self, name: str) -> Template:
        """The template; its first use checks it with its layouts and compiles it. Raises TemplateProblem."""
        known = self._compiled.get(name)
        if known is None:
            try:
                for file in self.chain(name):
                    if file in self.library.unreadable:
                        raise TemplateProblem(self.library.unreadable[file])
                self.chain(name, strict=True)
                known = compiled(self._env, name)
            except TemplateProblem as problem:
                known = problem
            self._compiled[name] = known
        if isinstance(known, TemplateProblem):
            raise TemplateProblem(str(known))
        return known

    def chain(self, name: str, *, strict: bool = False) -> list[str]:
        """The file and the layouts above it. With `strict`, raises TemplateProblem for a problem in any of them."""
        chain, sources = [name], self.library.sources
        try:
            while name_of := read(chain[-1], sources[chain[-1]], variables_of(chain[-1])):
                layout = self.library.layout_of(chain[-1], name_of)
                if layout not in sources:
                    raise TemplateProblem(f"{chain[-1]}: the layout that it extends does not exist")
                if len(chain) > LAYOUTS:
                    raise TemplateProblem(f"{name}: more than {LAYOUTS} layouts above it, or one that extends itself")
                chain.append(layout)
        except TemplateProblem:
            if strict:
                raise
        return chain

    def at_fault(self, source: str) -> str:
        """The operator's own file among a file and its layouts, the nearest; else the file itself."""
        return next((name for name in self.chain(source) if name in self.library.own), source)

    def is_own(self, source: str) -> bool:
        """True if the file or any of its layouts is the operator's."""
        return bool(self.library.own) and any(name in self.library.own for name in self.chain(source))


def variables_of(file: str) -> Mapping[str, str]:
    """The variables that a file may use: those of the page behind our own link, or those of a message."""
    return PAGE_VARIABLES if file.rpartition("/")[2] in PARTS["page"] else VARIABLES
