"""The report as a browser sees it: one page, five pictures, nothing from outside, nothing executed."""

import base64
import dataclasses
import re
import struct
from html.parser import HTMLParser
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from prodconf.core.drawing import number, span
from prodconf.core.files import provenance
from prodconf.events.groups import PilotPoint
from prodconf.formulas.loss_tails import TailSummary, tail_limit
from prodconf.limits.figures import plain
from prodconf.limits.pilots import PilotLimits
from prodconf.plan.report import MAXIMUM_CURVES, figures, plot_required, plot_tails, render_report

VOID = {"meta", "img", "br", "hr", "link", "input"}
NASTY = "<script>alert('x')</script> \"q\" 'a' & $E_1$ {{ 7*7 }} {% raw %} \\frac %s </td></style> é"


class Page(HTMLParser):
    """Collects tags and text; every tag must be closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def all(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag == name]


def check_pictures(page: Page) -> None:
    """Five PNG files with their size in the header and their end at the end."""
    images = page.all("img")
    assert len(images) == 5
    for image in images:
        kind, text = image["src"].split(",", 1)
        assert kind == "data:image/png;base64"
        data = base64.b64decode(text, validate=True)
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", data[16:24])
        assert width > 400
        assert height > 200
        assert data[-8:-4] == b"IEND"
        assert image["alt"]


def check_self_contained(html: str, page: Page) -> None:
    """Nothing is loaded and nothing is run."""
    outside = re.sub(r"base64,[A-Za-z0-9+/=]*", "", html)
    assert not re.search(r"https?:|//\w|url\(|@import|javascript:", outside)
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:").startswith("data:")
        assert "href" not in attributes
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "form", "base"}


@pytest.fixture(scope="module")
def written(small_plan):
    return (small_plan[1] / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def nasty(small_plan):
    """Report of the same plan after every text from outside was replaced by a hostile one."""
    plan = small_plan[0]
    statistics = plan.statistics.copy()
    statistics["file"] = statistics["file"].astype("U200")
    for name in dict.fromkeys(plan.statistics["file"]):
        statistics["file"][statistics["file"] == name] = NASTY + str(name)
    grid = plan.grid.copy()
    for end in ("lower_energy_limit_from", "upper_radius_limit_from", "viewcone_radius_from"):
        grid[end] = [NASTY] * len(grid)
    plan = dataclasses.replace(
        plan,
        configuration=plan.configuration.model_copy(update={"name": NASTY, "primary": NASTY}),
        pilots=[dataclasses.replace(pilot, sub_array=NASTY, notes=(NASTY,)) for pilot in plan.pilots],
        evaluations=[dataclasses.replace(one, source=NASTY + one.source) for one in plan.evaluations],
        statistics=statistics,
        grid=grid,
        notes=[NASTY, "plain"],
    )
    made = provenance(configuration=None) | {"inputs": [{"file": NASTY, "bytes": 1, "sha256": NASTY}]}
    return plan, render_report(plan, provenance=made)


def test_written_report_is_one_whole_page(written):
    assert written.startswith("<!DOCTYPE html>")
    page = Page(written)
    check_pictures(page)
    check_self_contained(written, page)
    assert {"html", "head", "title", "body", "h1", "table"} <= {tag for tag, _ in page.tags}
    assert "utf-8" in {attributes.get("charset") for attributes in page.all("meta")}


def test_the_paragraph_to_act_on_comes_first(written, small_plan):
    plan, page = small_plan[0], Page(written)
    first = page.texts["p"][0]
    for sentence in plan.summary:
        assert sentence in first
    assert first.startswith("Simulate gamma from")
    assert "This takes" in first
    assert "decides" in first
    assert "Not determined by the pilots" in first
    body = [tag for tag, _ in page.tags]
    assert body.index("p") < body.index("img")


def test_every_pointing_stands_in_the_table(written, small_plan):
    plan, page = small_plan[0], Page(written)
    cells = page.texts["td"]
    for row in plan.production:
        assert f"{row['upper_radius_limit'].value:.4g}" in cells
        assert f"{row['n_events']:.4g}" in cells
    for pilot in plan.pilots:
        assert any(pilot.energy.reason in cell for cell in cells)
    for path in plan.inputs:
        assert path.name in cells


def test_hostile_texts_stay_texts(nasty):
    _, html = nasty
    page = Page(html)
    check_pictures(page)
    check_self_contained(html, page)
    assert "<script" not in html.lower()
    assert "49" not in page.texts["title"][0]
    assert page.texts["title"] == [f"Production plan: {NASTY}"]
    assert page.texts["h1"] == [f"Production plan: {NASTY}"]
    assert NASTY in page.texts["p"][0]
    assert page.texts["li"] == [NASTY, "plain"]
    assert page.texts["td"].count(NASTY) >= 2 + 6  # file and checksum, and a sub-array for each pilot
    assert any(NASTY in image["alt"] for image in page.all("img"))
    assert len(page.texts["style"]) == 1


def test_the_pictures_are_the_five_that_were_promised(small_plan):
    found = {name: (caption, figure) for name, caption, figure in figures(small_plan[0])}
    assert list(found) == ["tails", "uncertainty", "required", "allocation", "sky"]
    tails = found["tails"][1].axes
    assert [ax.get_xlabel() for ax in tails] == ["energy / TeV", "core distance / m", "offset / deg"]
    curves = len({p.point for p in small_plan[0].pilots})
    assert len(tails[0].get_legend().get_texts()) == curves == 3 <= MAXIMUM_CURVES
    fraction = small_plan[0].configuration.loss_fraction
    for ax in tails:
        assert any(np.allclose(line.get_ydata(), fraction) for line in ax.lines)
    (axis,) = found["uncertainty"][1].axes
    assert any(np.allclose(line.get_ydata(), small_plan[0].evaluations[0].target) for line in axis.lines)
    assert f"{fraction:g}" in found["tails"][0]


def test_deciding_bins_are_marked_at_their_number(small_plan):
    plan = small_plan[0]
    figure = {name: figure for name, _, figure in figures(plan)}["required"]
    marks = sorted(float(line.get_ydata()[0]) for line in figure.axes[0].lines if line.get_marker() == "v")
    assert marks == pytest.approx(sorted(plan.statistics["n_required"][plan.statistics["decides"]]))


def test_two_files_of_one_name_are_two_pilots(small_plan):
    """DL2 files in different folders may have the same name."""
    plan = small_plan[0]
    statistics = plan.statistics.copy()
    statistics["file"] = ["same.fits"] * len(statistics)
    plan = dataclasses.replace(
        plan,
        evaluations=[dataclasses.replace(one, source="same.fits") for one in plan.evaluations],
        statistics=statistics,
    )
    assert len(list(figures(plan))) == 5


def test_a_plan_without_statistics_has_its_two_pictures(small_plan):
    plan = dataclasses.replace(small_plan[0], statistics=None, evaluations=[], requirements=[], proposal=None)
    assert [name for name, *_ in figures(plan)] == ["tails", "sky"]
    assert any("no reconstructed pilot events" in sentence for sentence in plan.summary)


def test_dollars_are_characters_in_a_figure():
    from matplotlib.figure import Figure

    figure = Figure()
    figure.text(0, 0, plain(r"\$ $\undefined{$ costs $5"))
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.21e7, "3.2·10⁷"), (9.96e11, "1.0·10¹²"), (950.0, "950"), (np.inf, "inf"), (12_000, "1.2·10⁴"), (0.0, "0")],
)
def test_numbers_for_people(value, text):
    assert number(value) == text


def test_ranges_for_people():
    assert span([20, np.nan, 60], "°") == "20–60°"
    assert span([20.0, 20.0], " m") == "20 m"
    assert span([np.nan]) == "unknown"
    assert span([950.4, 12345.6], " m") == "950–12346 m"


# ---------------------------------------------------------------- labels and axes


def pilot(energy_min: float, width: float) -> PilotLimits:
    """A pilot whose outermost energies span a factor; its other tails are plain."""
    rng = np.random.default_rng(1)
    values = {
        "energy": energy_min * width ** rng.random(5000),
        "radius": 300 * np.sqrt(rng.exponential(1.0, 5000)),
        "viewcone": 2 * np.sqrt(rng.exponential(1.0, 5000)),
    }
    sides = {"energy": "lower", "radius": "upper", "viewcone": "upper"}
    tails = {name: TailSummary.from_values(one, sides[name], capacity=5000) for name, one in values.items()}
    limits = {name: tail_limit(tail, 0.01) for name, tail in tails.items()}
    return PilotLimits(PilotPoint(20.0, 0.0), "alpha", *limits.values(), tails, 5000, 50_000)


@pytest.mark.parametrize(
    ("energy_min", "width"),
    [(0.0211, width) for width in (1.02, 3.0, 15.0, 3000.0)]
    + [
        pytest.param(low, width, marks=pytest.mark.long)
        for low in (0.00613, 0.0211, 1.9)
        for width in (1.02, 1.3, 3.0, 8.0, 15.0, 60.0, 3000.0)
    ],
)
def test_energy_labels_do_not_overlap(width: float, energy_min: float) -> None:
    figure = plot_tails([pilot(energy_min, width)], 0.01)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    low, high = ax.get_xlim()
    at = [*ax.get_xticks(), *ax.get_xticks(minor=True)]
    words = [*ax.get_xticklabels(), *ax.get_xticklabels(minor=True)]
    shown = [word for x, word in zip(at, words, strict=True) if low <= x <= high and word.get_text()]
    boxes = sorted((word.get_window_extent() for word in shown), key=lambda box: box.x0)
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_axis_of_required_events_runs_over_the_bins_that_are_held() -> None:
    edges = np.logspace(-3, 3, 31)
    held = (edges[:-1] > 0.99) & (edges[1:] < 101)
    number = np.where(held, 1e6 * edges[:-1], 1e9)
    last = int(np.flatnonzero(held)[-1])
    one = SimpleNamespace(energy_edges=edges, zenith=20.0, azimuth=0.0, nsb_level=None)
    need = SimpleNamespace(held=held, deciding_bin=last, deciding_range=edges[[last, last + 1]], undetermined=())
    low, high = plot_required([one], [need], [number]).axes[0].get_xlim()
    assert 0.5 < low < 1.01
    assert 99 < high < 200


def test_required_events_with_no_held_bin_are_an_empty_picture() -> None:
    edges = np.logspace(-1, 1, 11)
    one = SimpleNamespace(energy_edges=edges, zenith=20.0, azimuth=0.0, nsb_level=0.24)
    need = SimpleNamespace(held=np.zeros(10, bool), deciding_bin=None, deciding_range=(np.nan,) * 2, undetermined=())
    assert plot_required([one], [need], [np.full(10, np.nan)]).axes[0].get_legend() is not None
