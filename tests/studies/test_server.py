"""The page in the browser: who may open it, what its sliders show, and that nothing is left when it is closed."""

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import study_sample as shared

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.studies import server as studio
from prodconf.studies.allocation import allocation_study
from prodconf.studies.grid import grid_study
from prodconf.studies.limits import limits_study
from prodconf.studies.server import is_loopback, open_page, serve_studio
from prodconf.studies.settings import StudySettings
from prodconf.studies.statistics import statistics_study

sys.path.insert(0, str(Path(__file__).parents[2] / "website"))

needs_voila = pytest.mark.skipif(find_spec("voila") is None, reason="Voilà is not installed")
needs_proc = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc here")


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    return shared.sample_of(tmp_path_factory)


@pytest.fixture(scope="session")
def pilots(sample):
    return shared.read_once(sample)


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def processes_with(text: str, what: str) -> list[int]:
    """Return the processes whose command line or environment holds a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if text.encode() in (entry / what).read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def get(url: str) -> tuple[int, str]:
    """Open a page without following where it leads; return status and text."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay())
    try:
        with opener.open(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")


# ---------------------------------------------------------------- refusals


def test_loopback_addresses():
    for address in ("127.0.0.1", "127.8.9.10", "::1", "localhost"):
        assert is_loopback(address)
    for address in ("0.0.0.0", "::", "192.168.1.4", "8.8.8.8", "2001:db8::1"):
        assert not is_loopback(address)
    for address in ("", "example.org", "127.0.0", "127.0.0.1:80", "localhost.evil.org", "LOCALHOST ", "[::1]"):
        with pytest.raises(ProdconfError, match="address must be an IP address"):
            is_loopback(address)


PLACES = ({"address": "nowhere"}, {"port": 0}, {"port": 65536}, {"port": 1.5}, {"port": "a"})


@pytest.mark.parametrize("how", PLACES, ids=str)
def test_bad_places_are_refused(monkeypatch, how):
    monkeypatch.setattr(studio, "_require_voila", lambda: None)
    name = next(iter(how))
    with pytest.raises(ProdconfError, match=name), serve_studio(None, **how):
        raise AssertionError("was served")


def test_a_taken_port_is_refused(monkeypatch):
    monkeypatch.setattr(studio, "_require_voila", lambda: None)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(ProdconfError, match=f"port must be free at 127.0.0.1, got {port}"),
            serve_studio(None, port=port),
        ):
            raise AssertionError("was served")


def test_an_address_of_another_machine_is_refused(monkeypatch):
    monkeypatch.setattr(studio, "_require_voila", lambda: None)
    with (
        pytest.raises(ProdconfError, match=r"192\.0\.2\.1"),
        serve_studio(None, address="192.0.2.1", port=free_port()),
    ):
        raise AssertionError("was served")


def test_without_voila_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(studio, "find_spec", lambda name: None)
    with pytest.raises(ProdconfError, match=r"prodconf\[app\]"), serve_studio(None):
        raise AssertionError("was served")


def test_a_page_needs_a_server(monkeypatch):
    monkeypatch.delenv("PRODCONF_STUDIO", raising=False)
    with pytest.raises(ProdconfError, match="prodconf studio"):
        open_page()


def test_a_page_opens_the_pilots_of_its_server(monkeypatch, pilots, tmp_path):
    with (tmp_path / "pilots.pickle").open("wb") as stream:
        pickle.dump((pilots, tmp_path), stream)
    monkeypatch.setenv("PRODCONF_STUDIO", str(tmp_path))
    page = open_page()
    assert page.panels["limits"].answer.study.table == limits_study(pilots).table
    assert page.children[-1].folder == tmp_path


@needs_voila
def test_a_server_that_dies_is_said_in_one_sentence(monkeypatch, tmp_path, pilots):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(studio.tempfile, "tempdir", None)
    monkeypatch.setattr(studio.sys, "executable", "/bin/false")
    with (
        pytest.raises(ProdconfError, match="studio could not be served") as caught,
        serve_studio(pilots, port=free_port(), patience=10),
    ):
        raise AssertionError("was served")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- served to others


@needs_voila
@needs_proc
def test_others_need_the_token(pilots, tmp_path, monkeypatch):
    """Served to the world: page, kernels and files are kept from those without the token, which `ps` does not show."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(studio.tempfile, "tempdir", None)
    port = free_port("0.0.0.0")
    served = serve_studio(pilots, address="0.0.0.0", port=port, folder=tmp_path)
    with pytest.warns(ProdconfWarning, match="unencrypted"):
        server = served.__enter__()
    try:
        token = re.fullmatch(rf"http://0\.0\.0\.0:{port}/\?token=([\w-]{{32}})", server.url).group(1)
        assert processes_with(token, "cmdline") == []
        here = f"http://127.0.0.1:{port}"
        for path in ("/", "/?token=wrong", "/voila/files/pilots.pickle", "/api/kernels", "/api/kernels?token=wrong"):
            status, text = get(here + path)
            assert status in (302, 403, 404), path
            assert token not in text
            assert "prodconf-study" not in text
        (place,) = (one for one in tmp_path.iterdir() if one.name.startswith("prodconf-studio-"))
        assert place.stat().st_mode & 0o077 == 0
        status, text = get(f"{here}/?token={token}")
        assert status == 200
        assert "prodconf" in text
        for path in ("pilots.pickle", "voila.json", "log"):
            assert get(f"{here}/voila/files/{path}?token={token}")[0] != 200, path
    finally:
        served.__exit__(None, None, None)
    assert server.process.poll() is not None
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("prodconf-studio-")] == []


# ---------------------------------------------------------------- in a browser


def started(plan: Path, folder: Path, port: int) -> tuple[subprocess.Popen, str]:
    """Start `prodconf studio` in a process of its own; return it and the address that it prints."""
    words = ["studio", str(plan), "--port", str(port), "--folder", str(folder)]
    (folder / "temporary").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", "from prodconf.command_line import main; main()", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TMPDIR": str(folder / "temporary"), "OMP_NUM_THREADS": "1"},
    )
    lines = [""]
    while not lines[-1].startswith("Studio: ") and (line := process.stdout.readline()):
        lines.append(line)
    return process, lines[-1].strip().removeprefix("Studio: ")


@contextmanager
def command(plan: Path, folder: Path):
    """Run `prodconf studio`; end it as a batch system does, and check that nothing is left."""
    temporary, port = folder / "temporary", free_port()
    process, url = started(plan, folder, port)
    try:
        assert url.startswith(f"http://127.0.0.1:{port}/?token="), url
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
    assert process.returncode == 128 + signal.SIGTERM
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and processes_with(str(temporary), "environ"):
        time.sleep(0.05)
    assert processes_with(str(temporary), "environ") == []
    assert list(temporary.iterdir()) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


PATIENCE = 300  # s, until a page is given up; a loaded machine takes long, and a right page does not wait


class Page:
    """The studio as a user sees it; what page and kernel send each other is listened to from before it is opened."""

    def __init__(self, page) -> None:
        self.page = page
        self.answers, self.busy, self.last = 0, False, time.monotonic()
        page.on("websocket", self._listen)

    def _listen(self, socket) -> None:
        socket.on("framesent", lambda _: self._note())
        socket.on("framereceived", self._read)

    def _note(self) -> None:
        self.last = time.monotonic()

    def _read(self, frame) -> None:
        self._note()
        data = frame.encode() if isinstance(frame, str) else frame
        if state := re.search(rb'"execution_state": *"(busy|idle)"', data):
            self.busy = state[1] == b"busy"
            self.answers += not self.busy

    def quiet(self, seconds: float = 0.25, patience: float = PATIENCE) -> None:
        """Wait until the kernel has nothing to do, and neither side has said anything for some time from now on."""
        begin = time.monotonic()
        while self.busy or time.monotonic() - max(begin, self.last) < seconds:
            assert time.monotonic() < begin + patience, "page and kernel do not come to rest"
            self.page.wait_for_timeout(50)

    def choose(self, tab: str) -> None:
        self.page.get_by_role("tab", name=tab, exact=True).click()
        self.quiet()

    def slider(self, words: str):
        """Return the slider with these words in the tab that is seen."""
        return self.page.locator(".widget-slider:visible, .widget-hslider:visible").filter(has_text=words).first

    def press(self, words: str, key: str, which: int = 0) -> None:
        """Press a key on a handle; a slider that a switch enables waits for the kernel before it takes any."""
        slider = self.slider(words).locator(".noUi-target:not([disabled])")
        slider.wait_for(timeout=1000 * PATIENCE)
        handle = slider.locator(".noUi-handle").nth(which)
        handle.focus()
        handle.press(key)

    def readout(self, words: str) -> str:
        return self.slider(words).locator(".widget-readout").inner_text().replace("\u2212", "-").strip()

    def table(self) -> list[tuple[str, ...]]:
        rows = self.page.locator(".prodconf-study:visible tr")
        return [tuple(cell.strip() for cell in row.split("\t")) for row in rows.all_inner_texts()]

    def wait_for(self, wanted) -> None:
        """Wait until the table shows an answer, given as a function of nothing."""
        end = time.monotonic() + PATIENCE
        table = None
        while time.monotonic() < end:
            table = self.table()
            if table == [tuple(cell.strip() for cell in row) for row in wanted()]:
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"the page shows {table}, the function returns {wanted()}")

    def stays(self, wanted) -> None:
        """Wait for an answer, and check that nothing in the page changes it afterwards."""
        self.wait_for(wanted)
        self.quiet(0.6)
        self.wait_for(wanted)

    def settle(self) -> str:
        """Wait until a tab shows an answer or a message that stays; return its text."""
        self.quiet()
        text = "\n".join(self.page.locator(".prodconf-words:visible").all_inner_texts())
        assert text, "the page shows nothing"
        return text


def on_steps(readout: str, low: float = -4.0, step: float = 0.02) -> float:
    """Return the value of a logarithmic slider from the three digits that it shows."""
    return float(10 ** (low + step * round((np.log10(float(readout)) - low) / step)))


def move_each(page: Page, pilots) -> None:
    """Move sliders with the keyboard in all tabs; the table must show what the plain function returns."""
    page.stays(lambda: limits_study(pilots).table)
    page.press("multiplicity", "ArrowRight")
    page.wait_for(lambda: limits_study(pilots, StudySettings(multiplicity=int(page.readout("multiplicity")))).table)
    assert page.readout("multiplicity") == "3"
    page.press("loss fraction", "ArrowRight")
    loss = {}

    def limits_shown():
        loss["loss_fraction"] = on_steps(page.readout("loss fraction"))
        return limits_study(pilots, StudySettings(multiplicity=3, **loss)).table

    page.wait_for(limits_shown)
    assert loss["loss_fraction"] > 0.0101
    page.choose("statistics")
    asked = {"multiplicity": 3, **loss}
    page.stays(lambda: statistics_study(pilots, StudySettings(**asked)).table)
    page.press("uses of a shower", "ArrowRight")
    page.wait_for(
        lambda: statistics_study(pilots, StudySettings(**asked, n_use=int(page.readout("uses of a shower")))).table
    )
    assert page.readout("uses of a shower") == str(shared.N_USE + 1)
    asked |= {"n_use": shared.N_USE + 1}
    page.stays(lambda: statistics_study(pilots, StudySettings(**asked)).table)
    before = float(page.readout("radius"))
    page.press("radius", "ArrowRight")
    page.wait_for(lambda: statistics_study(pilots, StudySettings(**asked, radius=float(page.readout("radius")))).table)
    assert float(page.readout("radius")) > before
    asked |= move_allocation(page, pilots, asked)
    page.choose("grid")
    page.stays(lambda: grid_study(pilots, StudySettings(**asked)).table)
    page.press("pointings per deg", "ArrowRight")
    page.wait_for(
        lambda: grid_study(pilots, StudySettings(**asked, density=on_steps(page.readout("pointings per deg")))).table
    )
    assert float(page.readout("pointings per deg")) > 0.00501


def move_allocation(page: Page, pilots, asked: dict) -> dict:
    """Move the sliders of the allocation and its two switches; return what other panels share."""
    page.choose("allocation")
    page.stays(lambda: allocation_study(pilots, StudySettings(**asked)).table)
    page.press("slices of energy", "ArrowRight")
    own = asked | {"slices": 4}
    page.wait_for(lambda: allocation_study(pilots, StudySettings(**own)).table)
    assert page.readout("slices of energy") == "4"
    page.page.get_by_text("fix the index").click()
    page.press("spectral index", "ArrowRight")
    own["index"] = 2.05
    page.wait_for(lambda: allocation_study(pilots, StudySettings(**own)).table)
    page.page.get_by_text("spend a budget").click()
    page.press("CPU-hours", "ArrowRight")
    page.wait_for(
        lambda: (
            allocation_study(pilots, StudySettings(**own, budget=on_steps(page.readout("CPU-hours"), low=-1.0))).table
        )
    )
    page.page.get_by_text("spend a budget").click()
    page.press("uses of a shower", "ArrowRight")
    own["n_use"] += 1
    page.press("target uncertainty", "ArrowRight")
    page.wait_for(
        lambda: (
            allocation_study(
                pilots, StudySettings(**own, target=on_steps(page.readout("target uncertainty"), np.log10(0.002)))
            ).table
        )
    )
    page.page.get_by_role("button", name="as planned").locator("visible=true").click()
    asked = {name: value for name, value in asked.items() if name != "n_use"}
    page.wait_for(lambda: allocation_study(pilots, StudySettings(**asked)).table)
    return {"n_use": shared.N_USE}


def nothing_overflows(page: Page) -> None:
    """On the screen of a telephone nothing of the page lies beyond its edge."""
    size = page.page.viewport_size
    page.page.set_viewport_size({"width": 400, "height": 1000})
    for tab in ("limits", "statistics", "allocation", "grid"):
        page.choose(tab)
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 400, tab
        labels = page.page.locator(".widget-label:visible, .widget-readout:visible")
        cut = labels.evaluate_all(
            "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).map(o => o.innerText)"
        )
        assert cut == [], tab
    page.page.set_viewport_size(size)
    page.quiet()


ENDS = {
    "limits": ("loss fraction",),
    "statistics": ("energies", "radius"),
    "allocation": ("slices of energy",),
    "grid": ("zenith",),
}  # every control is put to its ends without a browser in test_study_panels


def to_the_ends(page: Page) -> None:
    """Put sliders to their ends; each time an answer or a message is there."""
    for tab, names in ENDS.items():
        page.choose(tab)
        for words in names:
            for key in ("Home", "End"):
                page.press(words, key, which=0 if key == "Home" else -1)
                text = page.settle()
                assert "Traceback" not in text, (tab, words, key)
                assert "should not have happened" not in text, (tab, words, key)
                answered, figures = bool(page.table()), page.page.locator(".prodconf-figure:visible svg").count()
                assert answered != ("No answer" in text), (tab, words, key, text)
                assert figures == int(answered), (tab, words, key)
        page.page.get_by_role("button", name="as planned").locator("visible=true").click()
        page.settle()
    body = page.page.locator("body").inner_text()
    assert "Traceback" not in body


@needs_voila
@needs_proc
def test_a_killed_studio_takes_its_server_along(sample, tmp_path):
    process, url = started(sample, tmp_path, free_port())
    assert get(url)[0] == 200
    assert len(processes_with(str(tmp_path), "environ")) > 1
    process.kill()
    process.wait()
    process.stdout.close()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and processes_with(str(tmp_path), "environ"):
        time.sleep(0.05)
    assert processes_with(str(tmp_path), "environ") == []


@needs_voila
@needs_proc
def test_moved_sliders_show_the_numbers_of_the_functions(sample, pilots, tmp_path):
    """All in one server and one page: sliders moved, sliders at their ends, the log of the browser, a clean end."""
    driver = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    check = pytest.importorskip("check")
    if (executable := check.find_chromium()) is None:
        pytest.skip("Chromium is not installed ($CHROMIUM)")
    with command(sample, tmp_path) as url, driver.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=executable, args=check.FLAGS)
        try:
            view = browser.new_page(viewport={"width": 1300, "height": 1000})
            requests, errors = [], []
            view.on("request", lambda request: requests.append(request.url))
            view.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
            view.on("pageerror", lambda error: errors.append(str(error)))
            page = Page(view)
            view.goto(url)
            view.wait_for_selector(".prodconf-study", timeout=1000 * PATIENCE)
            move_each(page, pilots)
            to_the_ends(page)
            nothing_overflows(page)
            assert page.answers > 20  # the kernel was heard
            base = url.partition("/?")[0]
            own = (base, base.replace("http", "ws", 1), "data:", "blob:")
            assert [one for one in requests if not one.startswith(own)] == []
            assert errors == []
        finally:
            browser.close()
    assert [one.name for one in tmp_path.iterdir()] == ["temporary"]
