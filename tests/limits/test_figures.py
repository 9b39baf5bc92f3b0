"""Figures of limits: what is drawn is read back from the figure and compared with what went in."""

import math
import sys
from types import SimpleNamespace

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure

from prodconf.core.errors import ProdconfError
from prodconf.formulas.loss_tails import SimulatedRange, TailSummary, Verdict, tail_limit
from prodconf.limits.figures import (
    LimitView,
    figure_paths,
    plot_core_distance_energy,
    plot_core_ground,
    plot_curve,
    plot_distribution,
    plot_survival,
    save_figures,
    show_figures,
)
from prodconf.limits.histograms import EventHistograms
from prodconf.limits.pilots import LimitCurve
from prodconf.sky.shower_frame import core_distance

RED, GREY = matplotlib.colors.to_rgba("C3"), matplotlib.colors.to_rgba("0.35")
RANGES = {"energy": (0.01, 100.0), "radius": (0.0, 1000.0), "viewcone": (0.0, 10.0)}
EDGES = {
    "energy_edges": np.geomspace(0.01, 100, 41),
    "radius_edges": np.linspace(0, 1000, 21),
    "viewcone_edges": np.linspace(0, 10, 11),
    "ground_edges": np.linspace(-1100, 1100, 23),
}


def draw(n: int, seed: int = 39):
    """Draw energies, angles, positions (x, y, distance of vertical showers) and weights."""
    rng = np.random.default_rng(seed)
    energy = 0.01 * np.exp(rng.exponential(1.5, n)).clip(1, 1e4)
    radius = 1000 * np.sqrt(rng.random(n))
    angle = rng.uniform(0, 2 * np.pi, n)
    positions = np.array([radius * np.cos(angle), radius * np.sin(angle), radius])
    return energy, 10 * np.sqrt(rng.random(n)), positions, rng.uniform(0.5, 2, n)


def filled(n: int = 2000, **changes) -> EventHistograms:
    energy, viewcone, positions, _ = draw(n)
    histograms = EventHistograms(**(EDGES | changes))
    histograms.add(energy, viewcone, positions=positions)
    return histograms


def limit(quantity: str = "radius", loss: float = 0.01, n: int = 5000, **options):
    rng = np.random.default_rng(n)
    values = {"energy": 0.02 * np.exp(rng.exponential(1, n)), "radius": 150 * np.sqrt(rng.exponential(1, n))}
    side = "lower" if quantity == "energy" else "upper"
    summary = TailSummary.from_values(values[quantity], side, capacity=n)
    return summary, tail_limit(summary, loss, **({"simulated_range": RANGES[quantity]} | options))


def lines(ax, colour, axis: str = "x") -> dict[float, str]:
    """Return the straight lines of a colour across the axes: position to style."""
    found = {}
    for line in ax.lines:
        data, other = (line.get_xdata(), line.get_ydata()) if axis == "x" else (line.get_ydata(), line.get_xdata())
        if matplotlib.colors.to_rgba(line.get_color()) == colour and list(other) == [0, 1]:
            found[float(data[0])] = line.get_linestyle()
    return found


def labels(figure: Figure) -> list[str]:
    legends = [figure.axes[0].get_legend(), *figure.legends]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


def test_histograms_are_those_of_numpy_whole_and_in_blocks():
    energy, viewcone, positions, weight = draw(5000)
    whole, blocks = EventHistograms(**EDGES), EventHistograms(**EDGES)
    whole.add(energy, viewcone, positions=positions, weight=weight)
    for part in np.array_split(np.arange(5000), 7):
        blocks.add(energy[part], viewcone[part], positions=positions[:, part], weight=weight[part])
    x, y, radius = positions
    edges = list(EDGES.values())
    expected = {
        "energy": np.histogram(energy, edges[0], weights=weight)[0],
        "radius": np.histogram(radius, edges[1], weights=weight)[0],
        "viewcone": np.histogram(viewcone, edges[2], weights=weight)[0],
        "radius_energy": np.histogram2d(radius, energy, [edges[1], edges[0]], weights=weight)[0],
        "ground": np.histogram2d(x, y, [edges[3]] * 2, weights=weight)[0],
    }
    for name, counts in expected.items():
        np.testing.assert_allclose(getattr(whole, name), counts, rtol=1e-12)
        np.testing.assert_allclose(getattr(blocks, name), counts, rtol=1e-12)
    assert whole.n_events == blocks.n_events == 5000


def test_rounding_at_the_edge_is_inside_and_more_is_counted():
    histograms = EventHistograms(**EDGES)
    energy = np.array([np.float32(0.01) * (1 - 1e-7), 100.0, 0.009, 101.0, 1.0])
    positions = np.array([[0, 0, 0, 0, 2000.0], [0] * 5, [1000, 1000.0001, 1001, 0, 5]])
    histograms.add(energy, np.array([0.0, 10, 10, 11, -1]), positions=positions)
    assert histograms.n_outside == {"energy": 2, "radius": 1, "viewcone": 2, "ground": 1}
    assert histograms.energy.sum() == 3
    assert histograms.energy[0] == histograms.energy[-1] == 1
    assert histograms.radius_energy.sum() == 3
    figure = plot_core_distance_energy(histograms, LimitView("radius"), LimitView("energy"))
    assert figure.axes[0].get_title() == "5 triggers (1 beyond the radius axis, 2 beyond the energy axis)"


@pytest.mark.parametrize("edges", [[1.0], [1.0, 1.0], [2.0, 1.0], [[1.0, 2.0]], [1.0, math.nan]])
def test_bad_edges_are_refused(edges):
    for name in EDGES:
        with pytest.raises(ProdconfError, match=name):
            EventHistograms(**(EDGES | {name: edges}))
    with pytest.raises(ProdconfError, match="energy_edges"):
        EventHistograms(**(EDGES | {"energy_edges": [0.0, 1.0]}))


def test_ground_bins_are_the_mirrored_radii_by_default():
    histograms = EventHistograms(**{name: edges for name, edges in EDGES.items() if name != "ground_edges"})
    assert histograms.ground_edges[[0, -1]].tolist() == [-1000, 1000]


@pytest.mark.parametrize(
    ("quantity", "loss", "n", "options", "verdict", "style"),
    [
        ("radius", 0.01, 5000, {}, Verdict.OK, "-"),
        ("energy", 0.01, 5000, {"simulated_range": SimulatedRange(1e-3, 100.0, log=True)}, Verdict.OK, "-"),
        ("radius", 1e-4, 5000, {}, Verdict.SAMPLE_LIMITED, "--"),
        ("radius", 0.01, 5000, {"simulated_range": (0.0, 330.0)}, Verdict.TRUNCATED, ":"),
    ],
)
def test_a_record_is_drawn_with_value_guarantee_edge_and_verdict(quantity, loss, n, options, verdict, style):
    _, record = limit(quantity, loss, n, **options)
    assert record.verdict is verdict
    simulated = tuple(options.get("simulated_range", RANGES[quantity])[:2])
    figure = plot_distribution(filled(), LimitView(quantity, record, simulated))
    (ax,) = figure.axes
    drawn = lines(ax, RED)
    assert drawn[record.value] == style
    assert set(drawn) == {record.value, record.guaranteed}
    assert list(lines(ax, GREY)) == [simulated[0 if quantity == "energy" else 1]]
    assert any(str(verdict).replace("_", " ") in label for label in labels(figure))
    spans = [patch for patch in ax.patches if patch.get_label() == "interval of the limit"]
    assert len(spans) == 1
    low, high = spans[0].get_x(), spans[0].get_x() + spans[0].get_width()
    ends = ax.get_xlim()
    np.testing.assert_allclose([low, high], np.clip([record.interval_low, record.interval_high], *ends))


def test_a_number_is_drawn_as_a_line_without_a_verdict():
    figure = plot_distribution(filled(), LimitView("viewcone", 7.25))
    (ax,) = figure.axes
    assert lines(ax, RED) == {7.25: "-"}
    assert lines(ax, GREY) == {}
    assert labels(figure) == ["limit 7.25 deg"]


@pytest.mark.parametrize("quantity", ["energy", "radius", "viewcone"])
def test_each_figure_has_its_own_range_and_all_its_events(quantity):
    histograms = filled()
    (ax,) = plot_distribution(histograms, LimitView(quantity)).axes
    low, high = ax.get_xlim()
    edges = EDGES[f"{quantity}_edges"]
    assert low <= edges[0] < edges[-1] < high < 1.3 * edges[-1]
    assert ax.get_xscale() == ("log" if quantity == "energy" else "linear")
    drawn = next(patch for patch in ax.patches if hasattr(patch, "get_data"))
    np.testing.assert_array_equal(drawn.get_data().values, getattr(histograms, quantity))


def test_the_two_dimensional_figure_has_the_counts_and_both_limits():
    histograms = filled()
    (_, radius), (_, energy) = limit(), limit("energy", simulated_range=SimulatedRange(1e-3, 100.0, log=True))
    views = LimitView("radius", radius, RANGES["radius"]), LimitView("energy", energy, RANGES["energy"])
    figure = plot_core_distance_energy(histograms, *views)
    ax, bar = figure.axes
    assert set(lines(ax, RED)) == {radius.value, radius.guaranteed}
    assert set(lines(ax, RED, "y")) == {energy.value, energy.guaranteed}
    (mesh,) = ax.collections
    assert mesh.get_array().sum() == histograms.n_events
    np.testing.assert_array_equal(mesh.get_array().filled(0), histograms.radius_energy.T)
    assert bar.get_ylabel() == "triggers per bin"


def test_the_limit_on_the_ground_has_its_distance_in_the_shower_plane():
    _, record = limit()
    histograms, zenith, azimuth = filled(), 50.0, 70.0
    figure = plot_core_ground(histograms, LimitView("radius", record, RANGES["radius"]), zenith=zenith, azimuth=azimuth)
    ax = figure.axes[0]
    for line, radius in zip(ax.lines, (record.guaranteed, record.value, 1000.0), strict=True):
        west, north = line.get_data()
        distance = core_distance(north, west, math.radians(azimuth), math.radians(90 - zenith))
        np.testing.assert_allclose(distance, radius, rtol=1e-12)
    assert ax.xaxis_inverted()  # West to the left: East is right, as North is up
    assert not ax.yaxis_inverted()
    west, north = ax.lines[1].get_data()
    furthest = np.argmax(np.hypot(west, north))
    assert abs(abs(math.degrees(math.atan2(-west[furthest], north[furthest]))) % 180 - azimuth) < 2  # or opposite
    (mesh,) = ax.collections
    np.testing.assert_array_equal(mesh.get_array().filled(0), histograms.ground)
    assert 1000 / math.cos(math.radians(zenith)) < ax.get_ylim()[1] < 2000  # all lines, and not much more
    assert ax.get_xlim() == ax.get_ylim()[::-1]


def test_without_positions_only_the_figures_of_cores_are_refused():
    energy, viewcone, positions, _ = draw(50)
    histograms = EventHistograms(**EDGES)
    histograms.add(energy, viewcone, positions=positions)
    histograms.add(energy, viewcone, positions=None, no_positions="file.hdf5: showers are re-used")
    for plot in (
        lambda: plot_core_distance_energy(histograms, LimitView("radius"), LimitView("energy")),
        lambda: plot_core_ground(histograms, LimitView("radius")),
        lambda: plot_distribution(histograms, LimitView("radius")),
    ):
        with pytest.raises(ProdconfError, match="re-used"):
            plot()
    assert plot_distribution(histograms, LimitView("energy")).axes


def test_nothing_to_draw_is_said(tmp_path):
    empty = EventHistograms(**EDGES)
    figure = plot_core_distance_energy(empty, LimitView("radius", 5.0), LimitView("energy"))
    assert [text.get_text() for text in figure.axes[0].texts] == ["no triggers"]
    figures = {
        "ground": plot_core_ground(empty, LimitView("radius")),
        "energy": plot_distribution(empty, LimitView("energy")),
    }
    assert all(path.stat().st_size > 1000 for path in save_figures(figures | {"both": figure}, tmp_path / "new"))


def test_a_single_event_can_be_drawn(tmp_path):
    one = EventHistograms(**EDGES)
    one.add(np.array([1.0]), np.array([2.0]), positions=np.array([[3.0], [4.0], [5.0]]))
    summary = TailSummary.from_values([5.0], "upper", capacity=3)
    figures = {
        "ground": plot_core_ground(one, LimitView("radius", 5.0)),
        "mesh": plot_core_distance_energy(one, LimitView("radius"), LimitView("energy", 0.5)),
        "tail": plot_survival(summary, LimitView("radius", tail_limit(summary, 0.01))),
        "energy": plot_survival(TailSummary.from_values([5.0], "lower", capacity=3), LimitView("energy")),
    }
    save_figures(figures, tmp_path)


@pytest.mark.parametrize("bad", [-1.0, 90.0, math.nan])
def test_the_pointing_must_be_above_the_horizon(bad):
    with pytest.raises(ProdconfError, match="zenith"):
        plot_core_ground(filled(10), LimitView("radius"), zenith=bad)


def test_the_survival_function_is_the_share_beyond():
    summary, record = limit(n=4000)
    figure = plot_survival(summary, LimitView("radius", record, RANGES["radius"]))
    (ax,) = figure.axes
    curve = next(line for line in ax.lines if line.get_label() == "share of triggers beyond")
    values, share = curve.get_data()
    expected = [(summary.values >= value).mean() for value in values]
    np.testing.assert_allclose(share, expected, rtol=1e-12)
    assert values[-1] == summary.values.min()
    assert lines(ax, (0.0, 0.0, 0.0, 1.0), "y") == {0.01: "-"}
    assert list(lines(ax, GREY)) == [1000.0]
    assert ax.get_xlim()[1] > 1000.0
    assert ax.get_title().replace("\n", " ") == record.reason
    bottom = ax.get_ylim()[0]
    assert bottom < share.min()
    assert bottom < 0.01


def test_the_band_widens_with_the_design_effect():
    summary, record = limit()
    heights = []
    for effect in (1.0, 4.0):
        (ax,) = plot_survival(summary, LimitView("radius", record), design_effect=effect).axes
        band = next(c for c in ax.collections if c.get_label() == "68 % band")
        vertices = band.get_paths()[0].vertices
        nearest = vertices[np.argmin(np.abs(vertices[:, 0] - summary.values[99])), 0]
        heights.append(np.ptp(vertices[vertices[:, 0] == nearest][:, 1]))
    assert heights[1] == pytest.approx(2 * heights[0], rel=0.1)


def test_the_curve_has_one_limit_per_slice_in_the_marker_of_its_verdict():
    edges = [0.01, 0.1, 1.0, 10.0, 100.0]
    records = [limit()[1], limit(loss=1e-4)[1], limit(simulated_range=(0.0, 330.0))[1]]
    value, low, high = (
        np.array([*(getattr(record, name) for record in records), math.nan])
        for name in ("value", "interval_low", "interval_high")
    )
    verdicts = (*(record.verdict for record in records), "")
    curve = LimitCurve(value, value, low, high, verdicts, np.array([5000, 5000, 5000, 0]))
    overall = LimitView("radius", records[0], RANGES["radius"])
    figure = plot_curve(edges, overall, curve)
    (ax,) = figure.axes
    markers = [line for line in ax.lines if line.get_marker() not in ("None", None, "")]
    centres = np.sqrt(np.multiply(edges[:-1], edges[1:]))
    assert [float(line.get_xdata()[0]) for line in markers] == pytest.approx(centres[:3])
    assert [line.get_marker() for line in markers] == ["o", "o", "^"]
    assert [float(line.get_ydata()[0]) for line in markers] == value[:3].tolist()
    assert [line.get_markerfacecolor() == "w" for line in markers] == [False, True, False]
    bars = [line.get_ydata() for line in ax.lines if list(line.get_xdata()) == [centres[0]] * 2]
    assert list(bars[0]) == [records[0].interval_low, records[0].interval_high]
    assert {"ok", "sample limited", "truncated"} <= set(labels(figure))
    assert ax.get_ylim()[1] > 1000.0
    with pytest.raises(ProdconfError, match="one limit per slice"):
        plot_curve(edges[:-1], overall, curve)


@pytest.mark.parametrize(
    "arguments",
    [("zenith",), ("radius", math.nan), ("radius", math.inf), ("radius", 1.0, (1.0,)), ("energy", None, (0, math.inf))],
)
def test_a_view_refuses_what_cannot_be_drawn(arguments):
    with pytest.raises(ProdconfError):
        LimitView(*arguments)


def test_figures_are_saved_together_and_replaced_only_if_allowed(tmp_path):
    figures = {name: plot_distribution(filled(20), LimitView(name)) for name in ("energy", "viewcone")}
    folder = tmp_path / "figures"
    paths = save_figures(figures, str(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["energy.png", "viewcone.png"]
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in paths)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ProdconfError, match="overwrit"):
        save_figures(figures, folder)
    save_figures(figures, folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["figures"]


def test_figures_do_not_go_where_they_cannot(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    with pytest.raises(ProdconfError, match="taken"):
        save_figures({"energy": plot_distribution(filled(20), LimitView("energy"))}, taken)
    with pytest.raises(ProdconfError, match="does not exist"):
        figure_paths(["energy"], tmp_path / "no" / "folder" / "deep")
    data = tmp_path / "energy.png"
    data.write_bytes(b"data")
    with pytest.raises(ProdconfError, match="input"):
        figure_paths(["energy"], tmp_path, inputs=[data], overwrite=True)
    assert taken.read_text() == "a file"


def test_figures_are_shown_in_a_notebook_only(monkeypatch):
    figures = [plot_distribution(filled(20), LimitView("energy"))]
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert show_figures(figures) == 0
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert show_figures(figures) == 0
    shown = []
    display = SimpleNamespace(Image=lambda data: data, display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1)))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    assert show_figures(figures) == 1
    assert shown[0][:4] == b"\x89PNG"


def test_no_figure_touches_the_state_of_pyplot():
    before = sys.modules.get("matplotlib.pyplot")
    plot_distribution(filled(20), LimitView("energy", 1.0))
    after = sys.modules.get("matplotlib.pyplot")
    assert before is after
    if after is not None:
        assert after.get_fignums() == []


def test_figures_are_shown_in_windows_where_there_are(monkeypatch):
    """A backend with windows gets each figure and one call to show them; one without gets none, and no warning."""
    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append([plt.figure(n).canvas.figure for n in plt.get_fignums()]))
    figures = [Figure(figsize=(3, 2)), Figure(figsize=(2, 2))]
    plt.close("all")
    assert show_figures(figures) == 0
    assert (shown, plt.get_fignums()) == ([], [])
    monkeypatch.setattr(FigureCanvasAgg, "required_interactive_framework", "any")
    assert show_figures(figures) == 2
    assert shown == [figures]
    plt.close("all")
