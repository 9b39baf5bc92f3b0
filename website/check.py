"""Look at every page of a built site in Chromium, wide and narrow, and say what is wrong there."""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, ProxySettings, sync_playwright
from playwright.sync_api import Error as PlaywrightError

AUDIT = (Path(__file__).parent / "audit.js").read_text(encoding="utf-8")
WIDTHS = (1300, 400)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TYPESET = (
    "() => !window.MathJax || !MathJax.startup || !MathJax.startup.promise || MathJax.startup.promise.then(() => 1)"
)
NOWHERE: ProxySettings = {"server": "http://127.0.0.1:1", "bypass": "127.0.0.1"}
PATIENCE = 15_000  # ms that a page may take to load, typeset and draw


def find_chromium() -> str | None:
    """Return the browser: $CHROMIUM, or the one that is installed."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


class _Quiet(SimpleHTTPRequestHandler):
    """Serve files over lasting connections, to be kept by the browser for the pages that follow; write no log."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Serve a file; the icon that a browser asks for by itself is none of the pages' files."""
        if self.path == "/favicon.ico":
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def end_headers(self) -> None:
        """Let scripts, styles and fonts be kept, and pages be asked for anew."""
        if "/_static/" in self.path:
            self.send_header("Cache-Control", "max-age=3600")
        super().end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    """A server to which a browser that hangs up is no news."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Report what is not a broken connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def serving(site: Path) -> Iterator[str]:
    """Serve a folder on the loopback address; yield its address."""
    server = _Server(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def browsing(executable: str) -> Iterator[Browser]:
    """Start one headless Chromium for all pages; what leaves the loopback address ends at a proxy that is not there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS, proxy=NOWHERE)
        try:
            yield browser
        finally:
            browser.close()


class Check:
    """Everything that was found on the pages of one site."""

    def __init__(self, context: BrowserContext, home: str, pictures: Path | None = None) -> None:
        self.context, self.home, self.pictures = context, home, pictures
        self.findings: list[str] = []
        self.links: dict[str, list[str]] = {}
        self.anchors: dict[str, set[str]] = {}
        self.noise: list[str] = []
        self.page = context.new_page()
        self._listen(self.page)

    def _listen(self, page: Page) -> None:
        """Collect what the page complains of."""

        def console(message) -> None:  # type: ignore[no-untyped-def]
            if message.type == "error":
                self.noise.append(f"console: {' '.join(message.text.split())[:200]}")

        def request(asked) -> None:  # type: ignore[no-untyped-def]
            if not asked.url.startswith((self.home, "data:", "blob:")):
                self.noise.append(f"asks another host: {asked.url[:100]}")

        def response(answer) -> None:  # type: ignore[no-untyped-def]
            if answer.status >= 400:
                self.noise.append(f"answers {answer.status}: {answer.url.removeprefix(self.home)}")

        page.on("console", console)
        page.on("pageerror", lambda error: self.noise.append(f"script error: {str(error)[:200]}"))
        self.context.on("request", request)  # listened to, not routed: routing would switch off the browser's cache
        page.on("response", response)

    def report(self, name: str, width: int, found: list[str]) -> None:
        """Keep what was found on a page at a width, each sentence once."""
        self.findings += [f"{name} @ {width}: {what}" for what in dict.fromkeys(found)]

    def _load(self, name: str) -> None:
        """Open a page and wait until its formulas, figures and widgets are there."""
        self.page.goto("about:blank")  # the page before need not be laid out again
        self.page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        self.page.goto(self.home + name, wait_until="load", timeout=PATIENCE)
        self.page.evaluate(AUDIT)
        self.page.evaluate(TYPESET)
        try:
            self.page.wait_for_function("audit.ready()", timeout=PATIENCE)
        except PlaywrightError:
            self.noise.append("is not ready: a figure or a widget is missing")

    def visit(self, name: str) -> None:
        """Look at one page at all widths."""
        self.noise.clear()
        try:
            self._load(name)
            found = self.page.evaluate("audit.content()")
            for width in WIDTHS:
                self.page.set_viewport_size({"width": width, "height": 900})
                self.page.evaluate(
                    "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
                )
                self.report(name, width, found + self.page.evaluate("audit.layout()"))
                found = []
                if self.pictures:
                    stem = name.removesuffix(".html").replace("/", "__")
                    self.page.screenshot(path=self.pictures / f"{stem}@{width}.png", full_page=True)
            self.links[name] = self.page.evaluate("audit.links()")
            self.anchors[name] = set(self.page.evaluate("audit.anchors()"))
        except PlaywrightError as error:
            self.noise.append(f"cannot be looked at ({str(error).splitlines()[0]})")
        self.report(name, WIDTHS[0], self.noise)

    def check_search(self, word: str) -> None:
        """Search as a reader does; the word must be found on some page."""
        self.noise.clear()
        try:
            self.page.goto(f"{self.home}search.html?q={word}", wait_until="load", timeout=PATIENCE)
            self.page.wait_for_selector("#search-results li a", timeout=PATIENCE)
        except PlaywrightError:
            self.noise.append(f"search does not find {word}")
        self.report("search.html", WIDTHS[0], self.noise)


def find_pages(site: Path) -> list[str]:
    """List the pages of a site; an empty folder is not a site."""
    return sorted(str(path.relative_to(site)) for path in site.rglob("*.html") if "_static" not in path.parts)


def check_links(seen: Check, site: Path) -> list[str]:
    """Follow every link within the site in thought; return those that lead out of it."""
    outside: set[str] = set()
    for name, links in seen.links.items():
        bad = []
        for link in sorted(set(links)):
            if not link.startswith(seen.home):
                outside.add(link)
                continue
            parts = urlsplit(link)
            target, anchor = unquote(parts.path).lstrip("/"), unquote(parts.fragment)
            target += "index.html" if not target or target.endswith("/") else ""
            if not (site / target).is_file():
                bad.append(f"link leads nowhere: {target}")
            elif anchor and anchor not in seen.anchors.get(target, {anchor}):
                bad.append(f"link leads to no anchor: {target}#{anchor}")
        seen.report(name, WIDTHS[0], bad)
    return sorted(link for link in outside if not link.startswith(("javascript:", "mailto:")))


def look(home: str, executable: str, names: list[str], pictures: Path | None, word: str | None) -> Check:
    """Visit some pages with one browser, and search for a word."""
    with browsing(executable) as browser:
        check = Check(browser.new_context(), home, pictures)
        for name in names:
            check.visit(name)
        if word:
            check.check_search(word)
    return check


def check_site(
    site: Path, executable: str, *, word: str | None = None, pictures: Path | None = None, only: str = ""
) -> tuple[list[str], list[str]]:
    """Return what is wrong with a site, and the links that lead out of it; two browsers share the pages."""
    names = [name for name in find_pages(site) if only in name]
    shares = [(names[::2], word), (names[1::2], None)] if len(names) > 10 else [(names, word)]
    with serving(site) as home, ThreadPoolExecutor(len(shares)) as pool:
        checks = list(pool.map(lambda share: look(home, executable, share[0], pictures, share[1]), shares))
    seen = checks[0]
    for other in checks[1:]:
        seen.findings += other.findings
        seen.links |= other.links
        seen.anchors |= other.anchors
    outside = check_links(seen, site)
    return sorted(seen.findings), outside


def main() -> int:
    """Check the site that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path, help="folder that build.py made")
    parser.add_argument("--screenshots", type=Path, help="folder for a picture of every page at every width")
    parser.add_argument("--search", default="LimitCalculator", help="word that the search must find (LimitCalculator)")
    parser.add_argument("--only", default="", help="look only at pages with this in their name")
    options = parser.parse_args()
    executable = find_chromium()
    pages = find_pages(options.site)
    if not executable or not pages:
        print("Chromium is not installed ($CHROMIUM)" if pages else f"{options.site} holds no pages", file=sys.stderr)
        return 2
    if options.screenshots:
        options.screenshots.mkdir(parents=True, exist_ok=True)
    found, outside = check_site(
        options.site, executable, word=options.search, pictures=options.screenshots, only=options.only
    )
    print(f"{len(pages)} pages; links out of the site, not followed: {len(outside)}")
    print("\n".join(f"  {link}" for link in outside))
    print("\n".join(found) if found else "Nothing is wrong.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
