"""Run every notebook in a copy outside the checkout, then process the copy as nbdev does for its site."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from navigation import SiteError
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from warm import warm_kernels

UNFOLDED = re.compile(r"^#\| *code-(fold|summary):.*\n", re.MULTILINE)
HEAD = re.compile(r"# +[^\n]+\n(?:[ \t]*\n)*(?:>[^\n]*(?:\n|$))*")
BESIDE = ("settings.ini", "_quarto.yml")
HANGS = 3600  # seconds without an answer of one cell: a way out of an endless loop, no judgement of speed


def copy_book(top: Path, folder: Path) -> Path:
    """Copy the notebooks, not the package, to `folder`/main; what they read beside the checkout is linked."""
    main = folder / "main"
    shutil.copytree(top / "nbs", main / "nbs", ignore=shutil.ignore_patterns(".*", "_proc", "_docs"))
    for name in BESIDE:
        shutil.copy2(top / name, main / name)
    shutil.copytree(top / "benchmarks" / "results", main / "benchmarks" / "results")
    if (top.parent / "shared").is_dir():
        (folder / "shared").symlink_to((top.parent / "shared").resolve())
    return main


def find_notebooks(nbs: Path) -> list[Path]:
    """List the notebooks of a folder: tutorials and top floors first, which take longest."""
    found = [path for path in nbs.rglob("*.ipynb") if ".ipynb_" not in str(path)]
    return sorted(found, key=lambda path: (path.parent != nbs, path.name), reverse=True)


def _failure(client: NotebookClient, name: str, error: Exception) -> str:
    """Say in one line what stopped a notebook, and in which cell."""
    cells = client.nb.cells
    code = [number for number, cell in enumerate(cells) if cell.cell_type == "code"]
    ran = [number for number in code if cells[number].execution_count is not None or cells[number].outputs]
    where = ran[-1] if ran else code[0]
    if isinstance(error, CellTimeoutError):
        what = f"hangs: nothing came of it in {HANGS} s"
    elif isinstance(error, CellExecutionError):
        what = f"{error.ename}: {' '.join(str(error.evalue).split())[:300]}"
    else:
        what = f"the kernel died ({error})"
    first = next((line for line in cells[where].source.splitlines() if line.strip()), "")
    return f"{name}, cell {where} ({first[:60]}): {what}"


def run_notebook(path: Path, name: str, kernel: str) -> tuple[str, float, str]:
    """Run one notebook in place in a fresh kernel; return its name, seconds, and what failed ("" if nothing)."""
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    place = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook,
        timeout=HANGS,
        kernel_name=kernel,
        resources=place,
        store_widget_state=True,
        extra_arguments=["--IPKernelApp.log_level=40"],
    )
    start, failure = time.perf_counter(), ""
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        failure = _failure(client, name, error)
    nbformat.write(notebook, path)
    return name, time.perf_counter() - start, failure


def run_all(nbs: Path, *, workers: int = 3) -> dict[str, float]:
    """Run all notebooks of a folder in place; return the seconds of each, longest first."""
    os.environ["IN_TEST"] = "1"  # nbdev's own mark: the last cell of a notebook exports nothing
    paths = find_notebooks(nbs)
    with warm_kernels() as kernel, ThreadPoolExecutor(workers) as pool:
        done = list(pool.map(lambda path: run_notebook(path, str(path.relative_to(nbs)), kernel), paths))
    if failures := [failure for _, _, failure in done if failure]:
        raise SiteError("\n".join(failures))
    return dict(sorted(((name, seconds) for name, seconds, _ in done), key=lambda pair: -pair[1]))


def public_names(source: str) -> list[str]:
    """Return the functions and classes that a cell defines for its readers."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in ast.parse(source).body if isinstance(node, kinds) and not node.name.startswith("_")]


def _is_type(value: ast.expr) -> bool:
    """Return whether a value is the name of a type: `NDArray[float64]`, `TypeVar("Answer")`."""
    made = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "TypeVar"
    return made or isinstance(value, ast.Subscript)


def only_imports(source: str) -> bool:
    """Return whether a cell does nothing but import, and name types (`Array = NDArray[float64]`)."""
    kinds = (ast.Import, ast.ImportFrom)
    try:
        lines = ast.parse(source).body
    except SyntaxError:  # IPython's own commands
        return False
    body = [line for each in lines for line in (each.body if isinstance(each, ast.If) else [each])]
    named = [line for line in body if not (isinstance(line, ast.Assign) and _is_type(line.value))]
    return bool(named) and all(isinstance(line, kinds) for line in named)


def _shown(cell: NotebookNode) -> Iterator[NotebookNode]:
    """Let nbdev show the source of an exported cell, under a heading with the names that it defines."""
    if cell.cell_type == "code" and re.search(r"^#\| *export *$", cell.source, re.MULTILINE):
        cell.source = re.sub(r"^#\| *export *$", "#| exports", cell.source, flags=re.MULTILINE)
        if names := public_names(cell.source):
            yield nbformat.v4.new_markdown_cell("### " + ", ".join(f"`{name}`" for name in names))
    yield cell


def split_head(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Part the title and the sentence under it from what follows in the first cell, which nbdev would drop."""
    if not cells or cells[0].cell_type != "markdown":
        return cells
    found = HEAD.match(cells[0].source.lstrip())
    rest = cells[0].source.lstrip()[found.end() :].strip() if found else ""
    if not rest:
        return cells
    return [nbformat.v4.new_markdown_cell(text) for text in (found[0].strip(), rest)] + cells[1:]


def _each(folder: Path) -> Iterator[tuple[Path, NotebookNode]]:
    """Yield the notebooks of a folder, and write them after they were changed."""
    for path in find_notebooks(folder):
        notebook = nbformat.read(path, 4)
        yield path, notebook
        nbformat.write(notebook, path)


def fold_imports(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Fold cells that only import, one after the other under one line."""
    folded, kept = '#| code-fold: true\n#| code-summary: "Imports"\n', []
    for cell in cells:
        if cell.cell_type == "code" and only_imports(cell.source):
            source = UNFOLDED.sub("", cell.source)
            if kept and kept[-1].source.startswith(folded) and not source.startswith("#|"):
                kept[-1].source += f"\n{source}"
                continue
            cell.source = folded + source
        kept.append(cell)
    return kept


def process(main: Path) -> Path:
    """
    Process the copy in `main`/nbs with nbdev into `main`/_proc, which Quarto and the adapter read.

    Exported cells are shown whole, docstring and code, so that nbdev need not run them again for `show_doc`.
    """
    for _, notebook in _each(main / "nbs"):
        notebook.cells = [each for cell in split_head(notebook.cells) for each in _shown(cell)]
    with (main / "settings.ini").open("a", encoding="utf-8") as file:
        file.write("\nskip_procs = add_show_docs,exec_show_docs,mv_exports\n")
    command = "from nbdev.serve import proc_nbs\nif __name__ == '__main__':\n    proc_nbs(path='nbs', n_workers=2)"
    run = [sys.executable, "-W", "ignore", "-c", command]
    done = subprocess.run(run, cwd=main, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SiteError(f"nbdev cannot process the notebooks: {done.stderr.strip()[-2000:]}")
    for _, notebook in _each(main / "_proc"):
        notebook.cells = fold_imports(notebook.cells)
    return main / "_proc"
