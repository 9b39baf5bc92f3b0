"""Build the site: run the notebooks in a copy, process them with nbdev, adapt them to MyST, render them with Sphinx."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from adapter import write_source
from navigation import SiteError, compare, read_navigation
from notebooks import copy_book, process, run_all

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
ASSETS = {
    "mathjax/es5/tex-svg.js": "mathjax/tex-svg.js",
    "mathjax/es5/input/tex/extensions": "mathjax/input/tex/extensions",
    "requirejs/require.js": "require.js",
    "@jupyter-widgets/html-manager/dist/embed-amd.js": "embed-amd.js",
}


def say(text: str) -> None:
    """Report progress."""
    print(text, flush=True)


def call(command: list[str], what: str, **options: object) -> str:
    """Run a program and return what it says on its error stream; its last words become the error."""
    if not shutil.which(command[0]):
        raise SiteError(f"{what} needs {command[0]}, which is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SiteError(f"{what} failed:\n{(done.stderr.strip() or done.stdout.strip())[-6000:]}")
    return done.stderr.strip()


def install_assets(static: Path) -> None:
    """Copy MathJax and the widgets from npm, as the lock file says, and the style sheet."""
    modules = HERE / "node_modules"
    installed, lock = modules / ".package-lock.json", HERE / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        call(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], "Installing the pages' scripts", cwd=HERE)
    shutil.copytree(HERE / "static", static)
    for source, name in ASSETS.items():
        (static / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (modules / source).is_dir() else shutil.copy2
        copy(modules / source, static / name)


def replace(source: Path, target: Path) -> None:
    """Put a new folder in the place of one that this program made; touch no other."""
    ours = (target / ".buildinfo").exists() or (target / "_proc").exists()
    if target.exists() and not ours and (not target.is_dir() or any(target.iterdir())):
        raise SiteError(f"output {target}: exists and is not a site that was built here")
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, target, symlinks=True)


def render(processed: Path, work: Path, *, draft: bool) -> Path:
    """Render processed notebooks with Sphinx; a warning is an error, but in a draft."""
    source, pages = work / "source", work / "pages"
    book = read_navigation(TOP / "_quarto.yml")
    write_source(processed, book, source)
    install_assets(source / "_static")
    shutil.copy2(HERE / "conf.py", source / "conf.py")
    strict = [] if draft else ["-W", "--keep-going"]
    command = [sys.executable, "-m", "sphinx", *strict, "-q", "-j", "2", "-b", "html", "-d", str(work / "doctrees")]
    alone = [
        pages[0].removesuffix(".ipynb") for pages in (list(entry.pages()) for entry in book.entries) if len(pages) == 1
    ]
    environment = {**os.environ, "PRODCONF_TOP": str(TOP), "PRODCONF_ALONE": " ".join(alone)}
    if warnings := call([*command, str(source), str(pages)], "Sphinx", env=environment):
        say(warnings)
    return pages


def build(options: argparse.Namespace, work: Path) -> None:
    """Make the folder that was asked for."""
    compare(read_navigation(TOP / "_quarto.yml"), TOP / "nbs")
    start = time.perf_counter()
    processed = prepare(options, work) if options.book is None else options.book / "_proc"
    if not processed.is_dir():
        raise SiteError(f"from {options.book}: holds no processed notebooks; make them with --processed")
    if options.processed:
        shutil.rmtree(processed.parent / "nbs")
        replace(processed.parent, options.output)
        say(f"processed notebooks: {options.output / '_proc'}")
    else:
        replace(render(processed, work, draft=options.draft), options.output)
        say(f"site: {options.output / 'index.html'} ({time.perf_counter() - start:.0f} s)")


def prepare(options: argparse.Namespace, work: Path) -> Path:
    """Run the notebooks in a copy, unless stored outputs will do, and process them."""
    main, start = copy_book(TOP, work), time.perf_counter()
    if options.execute:
        seconds = run_all(main / "nbs", workers=options.workers)
        longest = ", ".join(f"{name} {spent:.0f} s" for name, spent in list(seconds.items())[:8])
        say(f"{len(seconds)} notebooks ran in {time.perf_counter() - start:.0f} s; longest: {longest}")
    return process(main)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=TOP / "_site", help="folder of the site (_site)")
    parser.add_argument("--no-execute", dest="execute", action="store_false", help="use the outputs that are stored")
    steps = parser.add_mutually_exclusive_group()
    steps.add_argument("--processed", action="store_true", help="run the notebooks, and stop before rendering")
    steps.add_argument("--from", dest="book", type=Path, help="folder that --processed made: render only")
    parser.add_argument("--draft", action="store_true", help="print Sphinx's warnings instead of stopping at them")
    parser.add_argument("--workers", type=int, default=3, help="notebooks that run at a time (3)")
    return parser.parse_args()


def main() -> int:
    """Build, and say in one line what is wrong."""
    options = arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="prodconf-site-") as folder:
            build(options, Path(folder).resolve())
    except SiteError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
