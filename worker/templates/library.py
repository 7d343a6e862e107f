"""Finds the files of a message: the operator's own files, the built-in ones, and the fallback between languages. Each
is checked with the layouts above it, and compiled, at its first use.

    <name>/<locale>/{subject.txt, body.txt, body.html, sms.txt, whatsapp.txt}
    <anywhere above>/layout.html, and other layouts
    <name>/<locale>/page.html      the words of the page behind our own link; its layout is page.html

An own file shadows the built-in file with the same path, which is still there as builtin/<path>, to be extended. A
message is never mixed from two languages: it comes from the first locale that has every part that the channel needs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from jinja2 import Template

from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.templates.language import FILE_LENGTH, LAYOUTS, TemplateProblem, compiled, environment, read
from onboarding_worker.templates.values import PAGE_VARIABLES, VARIABLES

DEFAULT = "default"
BUILT_IN = "builtin"
LAYOUT, PAGE_LAYOUT = "layout.html", "page.html"  # without words
MESSAGES = tuple(CHANNELS)
PAGE = "page"
PARTS = {
    "email": ("subject.txt", "body.txt", "body.html"),
    "sms": ("sms.txt",),
    "whatsapp": ("whatsapp.txt",),  # none is built in: Meta approves each company's own
    PAGE: ("page.html",),
}
# Not every reader can show HTML, so a text part is needed; an HTML part is not.
NEEDED = {channel: frozenset(parts) - {"body.html"} for channel, parts in PARTS.items()}
MOST_FILES = 1000


@dataclass(frozen=True)
class Texts:
    """One template in one locale on one channel: the name of the source file of each part."""

    locale: str
    parts: dict[str, str]


class Library:
    """The built-in template files, and those of the operator, whose names are `own`. Each is read once."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self.own: set[str] = set()
        self.problems: list[str] = []
        self.unreadable: dict[str, str] = {}  # the problem by file
        self._sets: dict[tuple[str, str], Texts] = {}
        self._env = environment(self.sources, self.layout_of)
        self._compiled: dict[str, Template | TemplateProblem] = {}
        self._add(files("onboarding_worker.templates") / "shipped", own=False)

    @staticmethod
    def read(directory: Path | None) -> "Library":
        """The built-in files, and those of the operator's directory, if there is one."""
        if directory is None:
            return _built_in()
        library = Library()
        if directory.is_dir():
            library._add(directory, own=True)
        else:
            library.problems.append(
                "the templates folder does not exist; without the setting, the built-in templates are used"
            )
        return library

    @property
    def names(self) -> frozenset[str]:
        """The names of all templates; "default" always exists."""
        return frozenset(name for name, _ in self._sets)

    @property
    def sets(self) -> list[tuple[str, str]]:
        """Each template's name with each of its locales, spelled as BCP 47."""
        return sorted((name, texts.locale) for (name, _), texts in self._sets.items())

    def find(self, name: str, locale: str, channel: str, *, default: str) -> Texts | None:
        """The first match of: the template in its locale, its language, the `default` locale; then so of "default"."""
        for template in dict.fromkeys((name, DEFAULT)):
            for candidate in dict.fromkeys((*_wider(locale), *_wider(default))):
                texts = self._sets.get((template, candidate))
                if texts and texts.parts.keys() >= NEEDED[channel]:
                    return Texts(texts.locale, {one: texts.parts[one] for one in PARTS[channel] if one in texts.parts})
        return None

    def layout_of(self, name: str, file: str) -> str:
        """The file that is meant where `file` extends `name`. A file that extends its own name extends the built-in
        file that it shadows. An own file of a locale that extends the layout gets the built-in words of its language
        between: the layout itself has no words, and a block that the own file leaves out would be empty."""
        if name == file:
            return f"{BUILT_IN}/{name}" if file in self.own else name
        parts = file.split("/")
        language = _key(parts[1]).partition("-")[0] if len(parts) == 3 else ""
        words = f"{BUILT_IN}/{DEFAULT}/{language}/{parts[-1]}"
        return words if name in (LAYOUT, PAGE_LAYOUT) and file in self.own and words in self.sources else name

    def template(self, name: str) -> Template:
        """The template; its first use checks it with its layouts and compiles it. Raises TemplateProblem."""
        known = self._compiled.get(name)
        if known is None:
            try:
                for file in self.chain(name):
                    if file in self.unreadable:
                        raise TemplateProblem(self.unreadable[file])
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
        chain, sources = [name], self.sources
        try:
            while True:
                file = chain[-1]
                known = PAGE_VARIABLES if file.rpartition("/")[2] in PARTS[PAGE] else VARIABLES
                extended = read(file, sources[file], known)
                if not extended:
                    return chain
                layout = self.layout_of(extended, file)
                if layout not in sources:
                    raise TemplateProblem(f"{file}: the layout that it extends does not exist")
                if len(chain) > LAYOUTS:
                    raise TemplateProblem(f"{name}: more than {LAYOUTS} layouts above it, or one that extends itself")
                chain.append(layout)
        except TemplateProblem:
            if strict:
                raise
        return chain

    def at_fault(self, source: str) -> str:
        """The operator's own file among a file and its layouts, the nearest; else the file itself."""
        return next((name for name in self.chain(source) if name in self.own), source)

    def is_own(self, source: str) -> bool:
        """True if the file or any of its layouts is the operator's."""
        return bool(self.own) and any(name in self.own for name in self.chain(source))

    def built_in(self) -> dict[str, str]:
        """The built-in files by their names, without "builtin/"."""
        before = f"{BUILT_IN}/"
        return {name.removeprefix(before): source for name, source in self.sources.items() if name.startswith(before)}

    def lacking(self, name: str, locale: str, channel: str) -> list[str]:
        """The needed parts that a locale lacks although it has another part of that channel."""
        parts = self._sets[name, _key(locale)].parts.keys()
        return sorted(NEEDED[channel] - parts) if parts & set(PARTS[channel]) else []

    def _add(self, root: Traversable, *, own: bool) -> None:
        if own and (root / BUILT_IN).is_dir():
            self.problems.append(f"{BUILT_IN}/: not used; the name always means the built-in templates")
        every = {part for parts in PARTS.values() for part in parts}
        for count, (path, file) in enumerate(_files(root, ())):
            name = "/".join(path)
            if count >= MOST_FILES:
                self.problems.append(f"more than {MOST_FILES} files in the templates folder; the rest is not read")
                return
            if not name.endswith((".txt", ".html")) or (len(path) == 3 and path[2] not in every):
                self.problems.append(f"{name}: not used; the files are {', '.join(sorted(every))}")
                continue
            try:
                with file.open("rb") as stream:
                    text = stream.read(FILE_LENGTH * 4 + 1).decode("utf-8-sig")  # 4 bytes a character at most
            except (OSError, UnicodeDecodeError):
                self.unreadable[name] = f"{name}: cannot be read as UTF-8"
                self.problems.append(self.unreadable[name])
                text = ""  # still shadows the built-in file: using that one silently would mislead
            if own and path[0] == BUILT_IN:
                continue
            self.sources[name] = text
            if own:
                self.own.add(name)
            else:
                self.sources[f"{BUILT_IN}/{name}"] = text
            if len(path) == 3:
                template, locale, part = path
                texts = self._sets.setdefault((template, _key(locale)), Texts(locale.replace("_", "-"), {}))
                texts.parts[part] = name


def _files(folder: Traversable, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Traversable]]:
    """The files at most three levels deep, without hidden ones."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        path = (*above, entry.name)
        if entry.name.startswith((".", "__")):
            continue
        if entry.is_file():
            yield path, entry
        elif entry.is_dir() and len(path) < 3:
            yield from _files(entry, path)


_built_in = cache(Library)  # one for all parts of a process: each file is compiled once


def _key(locale: str) -> str:
    return locale.strip().replace("_", "-").lower()


def _wider(locale: str) -> list[str]:
    """A locale and its wider ones, such as zh-hant-tw, zh-hant, zh."""
    parts = [part for part in _key(locale).split("-") if part][:4]
    return ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
