"""Turn processed notebooks from Quarto's dialect into MyST, and the sidebar into pages with tables of contents."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import nbformat
import yaml
from navigation import Section, SiteError
from nbformat import NotebookNode

STATE = "application/vnd.jupyter.widget-state+json"
OPTION = re.compile(r"^#\| *([\w-]+) *: *(.*)$")
HEADING = re.compile(r"^(#{1,6}) +(?=\S)")
FENCE = re.compile(r"^(```+|~~~+)")
ATTRIBUTES = re.compile(r"(?<=\))\{[^{}\n]*target=[^{}\n]*\}")
LABEL = re.compile(r"\$\$[ \t]*\{#(eq-[\w-]+)\}")
REFERENCE = re.compile(r"(?<![\w@`])@(eq-[\w-]+)")


@dataclass(frozen=True)
class Front:
    """What the first cell of a processed notebook says of its page."""

    title: str
    description: str


def split_options(source: str) -> tuple[dict[str, str], str]:
    """Return Quarto's options (`#| key: value`) of a code cell, and its source without any `#|` line."""
    options: dict[str, str] = {}
    lines = source.splitlines()
    while lines and lines[0].startswith("#|"):
        if found := OPTION.match(lines.pop(0)):
            options[found[1]] = str(yaml.safe_load(found[2]) if found[2][:1] in "\"'" else found[2]).strip()
    return options, "\n".join(lines).strip("\n")


def adapt_text(text: str) -> str:
    """Rewrite what MyST writes differently: link attributes, labels of equations and references to them."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = ATTRIBUTES.sub("", text)
    text = LABEL.sub(r"$$ (\1)", text)
    return REFERENCE.sub(r"{eq}`\1`", text).strip("\n")


def front_matter(cell: NotebookNode) -> Front:
    """Read the raw first cell."""
    if cell.cell_type != "raw":
        raise SiteError(f"the first cell must hold a title and a sentence, got {cell.source[:60]!r}")
    found = yaml.safe_load(cell.source.strip().strip("-"))
    return Front(str(found["title"]), " ".join(str(found.get("description") or "").split()))


def is_prose(outputs: list[NotebookNode]) -> bool:
    """Return whether printed lines are long sentences, which may wrap, and no columns, which may not."""
    text = "\n".join(output.text for output in outputs if output.output_type == "stream")
    return "  " not in text.strip() and any(len(line) > 90 for line in text.splitlines())


def _code(cell: NotebookNode) -> NotebookNode | None:
    """Adapt a code cell: its options become tags, alternative text, or the text itself."""
    options, source = split_options(cell.source)
    if options.get("include") == "false":
        return None
    if options.get("output") == "asis":
        texts = [output.data["text/markdown"] for output in cell.outputs if "text/markdown" in output.get("data", {})]
        return nbformat.v4.new_markdown_cell(adapt_text("\n\n".join(texts))) if texts else None
    tags = [tag for key, tag in (("echo", "remove-input"), ("output", "remove-output")) if options.get(key) == "false"]
    tags += ["prose"] * is_prose(cell.outputs)
    tags += ["exported"] * (options.get("code-summary") == "Exported source")
    if not source.strip() or (not cell.outputs and "remove-input" in tags):
        return None
    metadata: dict = {"tags": tags}
    if options.get("code-fold") == "true":
        tags.append("hide-input")
        metadata["mystnb"] = {"code_prompt_show": options.get("code-summary", "Code")}
    if alternative := options.get("fig-alt"):
        metadata["mystnb"] = metadata.get("mystnb", {}) | {"image": {"alt": alternative}}
    return nbformat.v4.new_code_cell(source, outputs=cell.outputs, metadata=metadata)


def _levels(cells: list[NotebookNode]) -> None:
    """Keep one title per page and let no heading skip a level: what documents code may stand below the title."""
    last = 1
    for cell in cells[1:]:
        if cell.cell_type != "markdown":
            continue
        lines, fence = cell.source.splitlines(), ""
        for number, line in enumerate(lines):
            if mark := FENCE.match(line):
                fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
            elif not fence and (found := HEADING.match(line)):
                last = min(max(len(found[1]), 2), last + 1)
                lines[number] = "#" * last + line[len(found[1]) :]
        cell.source = "\n".join(lines)


def adapt(notebook: NotebookNode) -> tuple[NotebookNode, Front]:
    """Return a notebook that myst-nb shows, and what it says of itself."""
    front = front_matter(notebook.cells[0])
    lead = f"\n\n{{.lead}}\n{front.description}" if front.description else ""
    cells = [nbformat.v4.new_markdown_cell(f"# {front.title}{lead}")]
    for cell in notebook.cells[1:]:
        if cell.cell_type == "markdown":
            cell.source = adapt_text(cell.source)
        kept = _code(cell) if cell.cell_type == "code" else cell
        if kept is not None and kept.source.strip():
            cells.append(kept)
    _levels(cells)
    metadata: dict = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    if notebook.metadata.get("widgets", {}).get(STATE, {}).get("state"):
        metadata["widgets"] = notebook.metadata["widgets"]
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata), front


def slug(title: str) -> str:
    """Return a section's title as a file name."""
    return re.sub(r"\W+", "_", title.lower()).strip("_")


def toctree(entries: list[str], *, caption: str = "", hidden: bool = True) -> str:
    """Return MyST's table of contents."""
    options = (f":caption: {caption}\n" if caption else "") + (":hidden:\n" if hidden else "")
    return "```{toctree}\n" + options + "\n" + "\n".join(entries) + "\n```"


def place(section: Section) -> str:
    """Return where a section is: its page, or the only notebook in it."""
    pages = list(section.pages())
    return (
        f"{section.title} <{pages[0].removesuffix('.ipynb') if len(pages) == 1 else f'sections/{slug(section.title)}'}>"
    )


def section_page(section: Section, fronts: dict[str, Front], up: str = "../") -> str:
    """Return the page of a section: what each notebook says of itself, under the captions of the sidebar."""
    blocks, plain = [f"# {section.title}"], [entry for entry in section.entries if isinstance(entry, str)]
    groups = [Section("", tuple(plain))] * bool(plain)
    groups += [entry for entry in section.entries if isinstance(entry, Section)]
    for group in groups:
        pages = [page for page in group.pages() if page != "index.ipynb"]
        blocks += [f"## {group.title}"] * bool(group.title)
        blocks += ["\n".join(f"- [{fronts[page].title}]({up}{page}): {fronts[page].description}" for page in pages)]
        blocks += [toctree([f"{up}{page.removesuffix('.ipynb')}" for page in pages], caption=group.title)]
    return "\n\n".join(blocks) + "\n"


def write_source(processed: Path, book: Section, target: Path) -> None:
    """Write Sphinx's source folder: adapted notebooks, their pictures, a page per section, the root's contents."""
    fronts: dict[str, Front] = {}
    for page in book.pages():
        try:
            notebook, fronts[page] = adapt(nbformat.read(processed / page, 4))
        except (KeyError, yaml.YAMLError) as error:
            raise SiteError(f"{page}: cannot be adapted ({error!r})") from error
        if page == "index.ipynb":
            sections = [entry for entry in book.entries if isinstance(entry, Section)]
            notebook.cells.append(nbformat.v4.new_markdown_cell(toctree([place(section) for section in sections])))
        (target / page).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target / page)
    (target / "sections").mkdir()
    for entry in book.entries:
        if not isinstance(entry, Section):
            raise SiteError(f"_quarto.yml: {entry} must stand in a section")
        if len(list(entry.pages())) > 1:
            text = section_page(entry, fronts)
            (target / "sections" / f"{slug(entry.title)}.md").write_text(text, encoding="utf-8")
    for folder in processed.rglob("images"):
        shutil.copytree(folder, target / folder.relative_to(processed), dirs_exist_ok=True)
