"""The order and the captions of the pages: the sidebar of `_quarto.yml`, the one source for both renderers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml


class SiteError(Exception):
    """What is wrong with the site, in one line."""


@dataclass(frozen=True)
class Section:
    """A caption and what stands under it: notebooks (paths below `nbs/`) and sections."""

    title: str
    entries: tuple[str | Section, ...]

    def pages(self) -> Iterator[str]:
        """Yield the notebooks of this section and of those in it, in order."""
        for entry in self.entries:
            if isinstance(entry, Section):
                yield from entry.pages()
            else:
                yield entry


def _section(title: str, contents: list) -> Section:
    """Turn one list of Quarto's sidebar into a section."""
    entries: list[str | Section] = []
    for item in contents:
        if isinstance(item, dict) and set(item) == {"section", "contents"}:
            entries.append(_section(item["section"], item["contents"]))
        elif isinstance(item, str) and item.endswith(".ipynb"):
            entries.append(item)
        else:
            raise SiteError(f"_quarto.yml: the sidebar takes notebooks and sections with contents, got {item!r}")
    return Section(title, tuple(entries))


def read_navigation(path: Path) -> Section:
    """Return the whole sidebar of a `_quarto.yml`, its sections at the top."""
    website = yaml.safe_load(path.read_text(encoding="utf-8"))["website"]
    book = _section(website["title"], website["sidebar"]["contents"])
    pages = list(book.pages())
    if twice := sorted({page for page in pages if pages.count(page) > 1}):
        raise SiteError(f"_quarto.yml: listed more than once: {', '.join(twice)}")
    return book


def compare(book: Section, folder: Path) -> None:
    """Refuse a sidebar that does not list exactly the notebooks of a folder."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*.ipynb") if ".ipynb_" not in str(path)}
    listed = set(book.pages())
    if missing := sorted(there - listed):
        raise SiteError(f"_quarto.yml: not in the sidebar: {', '.join(missing)}")
    if unknown := sorted(listed - there):
        raise SiteError(f"_quarto.yml: no such notebook: {', '.join(unknown)}")
