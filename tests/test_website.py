"""The site's adapter and its checker, on pages made by hand: each fault must be reported, a sound page must not."""

import re
import sys
from pathlib import Path

import nbformat
import pytest

TOP = Path(__file__).parents[1]
sys.path.insert(0, str(TOP / "website"))

adapter = pytest.importorskip("adapter", reason="the site needs what the dev extra installs")
check = pytest.importorskip("check", reason="Playwright, of the dev extra, is not installed")
navigation = pytest.importorskip("navigation")
notebooks = pytest.importorskip("notebooks", reason="the site needs what the dev extra installs")
warm = pytest.importorskip("warm")

PICTURE = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='300' height='100'/%3E"
PAGE = (
    "<!doctype html><html lang=en><head><link rel=icon href='data:,'><title>t</title>"
    "<meta name=viewport content='width=device-width'></head><body><main>{}</main></body></html>"
)
TYPESET = '<span class=math><mjx-container><svg width=9 height=9 data-a="1">{}</svg></mjx-container></span>'
VIEW = '<script type="application/vnd.jupyter.widget-view+json">{"model_id": "1"}</script>'
WIDE = "<div style='width: 900px'>wide</div>"

SOUND = (
    "<h1 id=top>Sound</h1><a href='#top'>up</a> <a href='https://example.org/'>out</a>"
    f"<p>{TYPESET.format('')}</p><img alt='two curves that cross' src=\"{PICTURE}\">"
    f"<div style='overflow-x: auto'>{WIDE}</div><pre style='overflow: auto'>{'x' * 500} $$</pre>"
    f"<div><div class=widget-subarea><div class=jupyter-widgets>slider</div></div>{VIEW}</div>"
)
FAULTS = {
    "console": ("<script>console.error('oh')</script>", "console: oh"),
    "script": ("<script>missing()</script>", "script error: missing is not defined"),
    "host": ("<script src='https://cdn.example.org/a.js'></script>", "asks another host: https://cdn.example.org/a.js"),
    "file": ("<script src='gone.js'></script>", "answers 404: gone.js"),
    "formula": ("<p><span class=math>\\(a\\)</span></p>", "formula is not typeset"),
    "error": (TYPESET.format('<g data-mml-node="merror"></g>'), "formula has an error"),
    "dollars": ("<p>the share $$ f $$ of</p>", "formula is left as text"),
    "alt": (f'<img src="{PICTURE}">', "figure has no alternative text"),
    "name": (f'<img alt="_images/1 2 3/a.png" src="{PICTURE}">', "figure has no alternative text"),
    "unloaded": ("<img alt='two curves that cross' src='data:image/png,no'>", "figure is not loaded"),
    "widget": (f"<div>{VIEW}</div>", "widget is not drawn"),
    "page": ("<a href='gone.html'>there</a>", "link leads nowhere: gone.html"),
    "anchor": ("<a href='sound.html#gone'>there</a>", "link leads to no anchor: sound.html#gone"),
    "wide": (WIDE, "the page scrolls sideways"),
    "left": ("<div style='position: relative; left: -60px'>cut at the edge</div>", "reaches beyond the window"),
    "scroller": (f"<div style='width: 800px; overflow: auto'>{WIDE}</div>", "reaches beyond the window"),
    "right": (f"<div style='overflow-x: hidden'>{WIDE}</div>", "is cut off in its box"),
    "letters": (
        "<p style='width: 30px; overflow-wrap: anywhere'>one long sentence in a column</p>",
        "text is squeezed",
    ),
    "below": ("<p style='height: 9px; overflow: hidden'>low<br>lower<br>lowest</p>", "is cut off in its box"),
}


def write_pages(site: Path) -> Path:
    """Write a sound page and one page per fault."""
    (site / "sound.html").write_text(PAGE.format(SOUND), encoding="utf-8")
    for name, (body, _) in FAULTS.items():
        (site / f"{name}.html").write_text(PAGE.format(body), encoding="utf-8")
    return site


def test_checker_reports_each_fault_and_nothing_else(tmp_path, monkeypatch):
    executable = check.find_chromium()
    if not executable:
        pytest.skip("Chromium is not installed ($CHROMIUM)")
    monkeypatch.setattr(check, "PATIENCE", 1500)
    found, outside = check.check_site(write_pages(tmp_path), executable, word="LimitCalculator")
    assert outside == ["https://example.org/"]
    assert [one for one in found if one.startswith("sound.html")] == []
    silent = {
        name: [one for one in found if one.startswith(f"{name}.html @ ")]
        for name, (_, wanted) in FAULTS.items()
        if not any(one.startswith(f"{name}.html @ ") and wanted in one for one in found)
    }
    assert silent == {}
    assert "search.html @ 1300: search does not find LimitCalculator" in found
    assert any(one.startswith("wide.html @ 400: ") for one in found)
    assert not any(one.startswith("wide.html @ 1300: ") for one in found)


def test_text_is_turned_from_quarto_to_myst():
    text = 'See [`a`](10_a.ipynb#b){target="_blank" style="x"} and @eq-x.\n\n$$ a = b $$ {#eq-x}\n\n<!-- note -->'
    assert adapter.adapt_text(text) == "See [`a`](10_a.ipynb#b) and {eq}`eq-x`.\n\n$$ a = b $$ (eq-x)"


def processed():
    """Return a notebook as nbdev's processing leaves it."""
    picture = nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo="})
    cells = [
        nbformat.v4.new_raw_cell("---\ndescription: One\n  sentence.\noutput-file: a.html\ntitle: a_b\n\n---\n\n"),
        nbformat.v4.new_markdown_cell("<!-- WARNING: THIS FILE WAS AUTOGENERATED! DO NOT EDIT! -->"),
        nbformat.v4.new_markdown_cell("### `deep`\n\n```\n# not a heading\n```"),
        nbformat.v4.new_code_cell('#| echo: false\n#| fig-alt: "A curve: it falls."\nplot()', outputs=[picture]),
        nbformat.v4.new_code_cell('#| code-fold: show\n#| code-summary: "Exported source"\ndef f(): ...'),
        nbformat.v4.new_code_cell("#| include: false\nsecret()"),
        nbformat.v4.new_code_cell(""),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def test_notebook_is_turned_from_quarto_to_myst():
    made, front = adapter.adapt(processed())
    assert front == adapter.Front("a_b", "One sentence.")
    assert made.cells[0].source == "# a_b\n\n{.lead}\nOne sentence."
    assert made.cells[1].source == "## `deep`\n\n```\n# not a heading\n```"
    assert made.cells[2].metadata == {"tags": ["remove-input"], "mystnb": {"image": {"alt": "A curve: it falls."}}}
    assert made.cells[2].source == "plot()"
    assert (made.cells[3].source, made.cells[3].metadata) == ("def f(): ...", {"tags": ["exported"]})
    assert len(made.cells) == 4


@pytest.mark.parametrize(("text", "tags"), [("a sentence " * 10, ["prose"]), ("a  column " * 10, []), ("short", [])])
def test_printed_sentences_may_wrap_and_columns_not(text, tags):
    notebook = processed()
    notebook.cells.append(nbformat.v4.new_code_cell("say()", outputs=[nbformat.v4.new_output("stream", text=text)]))
    assert adapter.adapt(notebook)[0].cells[-1].metadata.tags == tags


def test_notebook_without_front_matter_is_refused():
    with pytest.raises(navigation.SiteError, match="must hold a title"):
        adapter.adapt(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("text")]))


SIDEBAR = "website:\n  title: t\n  sidebar:\n    contents:\n      - section: One\n        contents:\n"


def test_navigation_is_read_once_and_compared(tmp_path):
    file = tmp_path / "_quarto.yml"
    file.write_text(SIDEBAR + "          - a.ipynb\n          - section: Two\n            contents: [b/c.ipynb]\n")
    book = navigation.read_navigation(file)
    assert list(book.pages()) == ["a.ipynb", "b/c.ipynb"]
    page = adapter.section_page(
        book.entries[0], {"a.ipynb": adapter.Front("a", "A."), "b/c.ipynb": adapter.Front("c", "C.")}
    )
    assert "- [a](../a.ipynb): A." in page
    assert ":caption: Two\n:hidden:\n\n../b/c" in page
    (tmp_path / "nbs").mkdir()
    (tmp_path / "nbs" / "a.ipynb").touch()
    with pytest.raises(navigation.SiteError, match=r"no such notebook: b/c\.ipynb"):
        navigation.compare(book, tmp_path / "nbs")
    (tmp_path / "nbs" / "d.ipynb").touch()
    with pytest.raises(navigation.SiteError, match=r"not in the sidebar: d\.ipynb"):
        navigation.compare(book, tmp_path / "nbs")


@pytest.mark.parametrize(
    ("entry", "match"), [("- a.ipynb\n          - a.ipynb", "more than once: a"), ("- text: x", "takes notebooks")]
)
def test_faulty_navigation_is_refused(tmp_path, entry, match):
    (tmp_path / "_quarto.yml").write_text(f"{SIDEBAR}          {entry}\n")
    with pytest.raises(navigation.SiteError, match=match):
        navigation.read_navigation(tmp_path / "_quarto.yml")


@pytest.mark.filterwarnings("default")
def test_notebooks_run_in_kernels_of_their_own_and_a_failure_is_named_with_its_cell(tmp_path):
    sources = {
        "good": "assert 'left' not in globals()\nleft = 1",
        "other": "assert 'left' not in globals()",
        "bad": "1 / 0",
    }
    said = {}
    with warm.warm_kernels() as kernel:
        for name, source in sources.items():
            cells = [nbformat.v4.new_code_cell("a = 1"), nbformat.v4.new_code_cell(source)]
            path = tmp_path / f"{name}.ipynb"
            nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
            said[name] = notebooks.run_notebook(path, f"{name}.ipynb", kernel)[2]
    assert said["good"] == said["other"] == ""
    assert re.fullmatch(r"bad\.ipynb, cell 1 \(1 / 0\): ZeroDivisionError: division by zero", said["bad"])


def test_what_follows_the_title_in_its_cell_is_kept():
    cells = [
        nbformat.v4.new_markdown_cell("# a\n\n> One sentence.\n\nText: more.\n\n- item"),
        nbformat.v4.new_code_cell("x"),
    ]
    assert [cell.source for cell in notebooks.split_head(cells)] == [
        "# a\n\n> One sentence.",
        "Text: more.\n\n- item",
        "x",
    ]
    for alone in ("# a\n\n> One sentence.", "# a", "text"):
        assert [cell.source for cell in notebooks.split_head([nbformat.v4.new_markdown_cell(alone)])] == [alone]


def test_imports_one_after_the_other_are_folded_once():
    sources = ("import a", "import b\n\nArray = c[d]", "e()", "import f", "g = 1")
    kept = notebooks.fold_imports([nbformat.v4.new_code_cell(source) for source in sources])
    assert [cell.source.split("\n", 2)[-1] for cell in kept] == [
        "import a\nimport b\n\nArray = c[d]",
        "e()",
        "import f",
        "g = 1",
    ]
    assert [cell.source.startswith("#| code-fold: true") for cell in kept] == [True, False, True, False]
