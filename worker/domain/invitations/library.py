"""Which file says it: the built-in words, the operator's own over them, and the fallback between languages.

    <name>/<locale>/{subject.txt, body.txt, body.html, sms.txt}      and layouts anywhere above, such as layout.html

An own file shadows the built-in one of the same path. A message is never put together from two languages:
the first locale that has all that a channel needs says all of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from worker.domain.invitations.language import FILE_LENGTH

DEFAULT = "default"
PARTS = {"email": ("subject.txt", "body.txt", "body.html"), "sms": ("sms.txt",)}
# HTML alone is no message for everyone; text alone is.
NEEDED = {"email": frozenset({"subject.txt", "body.txt"}), "sms": frozenset({"sms.txt"})}
MOST_FILES = 1000


@dataclass(frozen=True)
class Words:
    """What one template says in one locale on one channel: the source's name for each part there is."""

    locale: str
    parts: dict[str, str]


@dataclass
class Library:
    """All template files there are, read once. `own` are the names of the operator's."""

    sources: dict[str, str] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    _sets: dict[tuple[str, str], Words] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: Path | None) -> "Library":
        library = cls()
        library._add(files("worker.domain.invitations") / "templates", own=False)
        if directory is None:
            return library
        if directory.is_dir():
            library._add(directory, own=True)
        else:
            library.problems.append(
                "the templates folder is not there; without the setting, the built-in ones are used"
            )
        return library

    @property
    def names(self) -> frozenset[str]:
        """The names of the templates there are; "default" is always one."""
        return frozenset(name for name, _ in self._sets)

    @property
    def sets(self) -> list[tuple[str, str]]:
        """Each template's name with each locale that it has, spelled as BCP 47."""
        return sorted((name, words.locale) for (name, _), words in self._sets.items())

    def find(self, name: str, locale: str, channel: str, *, default: str) -> Words | None:
        """Who speaks: the template's exact locale, its language, the `default` locale; then "default" likewise."""
        for template in dict.fromkeys((name, DEFAULT)):
            for candidate in dict.fromkeys((*_wider(locale), *_wider(default))):
                words = self._sets.get((template, candidate))
                if words and words.parts.keys() >= NEEDED[channel]:
                    return Words(
                        words.locale, {part: words.parts[part] for part in PARTS[channel] if part in words.parts}
                    )
        return None

    def lacking(self, name: str, locale: str, channel: str) -> list[str]:
        """The needed parts that a locale lacks although it has another of that channel's parts."""
        parts = self._sets[name, _key(locale)].parts.keys()
        return sorted(NEEDED[channel] - parts) if parts & set(PARTS[channel]) else []

    def _add(self, root: Traversable, *, own: bool) -> None:
        every = {part for parts in PARTS.values() for part in parts}
        for count, (path, file) in enumerate(_files(root, ())):
            name = "/".join(path)
            if count >= MOST_FILES:
                self.problems.append(f"more than {MOST_FILES} files in the templates folder; the others are not read")
                return
            if not name.endswith((".txt", ".html")) or (len(path) == 3 and path[2] not in every):
                self.problems.append(f"{name}: not used; the files are {', '.join(sorted(every))}")
                continue
            try:
                with file.open("rb") as stream:
                    text = stream.read(FILE_LENGTH * 4 + 1).decode("utf-8-sig")  # 4 bytes a character at most
            except (OSError, UnicodeDecodeError):
                self.problems.append(f"{name}: cannot be read as UTF-8")
                text = "{{ unreadable }}"  # shadows the built-in one all the same: silently using that would mislead
            self.sources[name] = text
            if own:
                self.own.add(name)
            if len(path) == 3:
                template, locale, part = path
                words = self._sets.setdefault((template, _key(locale)), Words(locale.replace("_", "-"), {}))
                words.parts[part] = name


def _files(folder: Traversable, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Traversable]]:
    """Files at most three levels deep, hidden ones left out."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        path = (*above, entry.name)
        if entry.name.startswith((".", "__")):
            continue
        if entry.is_file():
            yield path, entry
        elif entry.is_dir() and len(path) < 3:
            yield from _files(entry, path)


def _key(locale: str) -> str:
    return locale.strip().replace("_", "-").lower()


def _wider(locale: str) -> list[str]:
    """zh-hant-tw, zh-hant, zh."""
    parts = [part for part in _key(locale).split("-") if part][:4]
    return ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
