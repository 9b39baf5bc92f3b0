"""Maps of a grid show every point where it is and with its own value; checked on what is drawn, not on pixels."""

import io
import math
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import LogNorm
from scipy.optimize import brentq

from prodconf.core.errors import ProdconfError
from prodconf.grid.figures import SkyValues, grid_figures, plot_sky_polar, plot_sky_radec


def polar(zenith, azimuth, values=None, **how):
    return plot_sky_polar(zenith, azimuth, SkyValues(values, **how))


def radec(ra, dec, values=None, **how):
    return plot_sky_radec(ra, dec, SkyValues(values, **how))


PLOTS = {"polar": polar, "radec": radec}


def layers(figure):
    """Return what is drawn: places, and marks by the words of the legend."""
    ax = figure.axes[0]
    marks = {str(c.get_label()): c for c in ax.collections if not str(c.get_label()).startswith("_")}
    places = [c for c in ax.collections if str(c.get_label()).startswith("_")]
    assert len(places) == 1
    return places[0], marks


def save(figure):
    """Draw a figure for good; return its bytes."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=85)
    return picture.getvalue()


def corners(cell):
    """Return azimuth and zenith (deg) at the ends of a cell of the polar map."""
    angle, zenith = np.asarray(cell.vertices).T
    return np.rad2deg(angle.min()), np.rad2deg(angle.max()), zenith.min(), zenith.max()


def even_sky(n):
    """Return right ascension and declination (deg) of an even sky."""
    k = np.arange(n)
    return np.mod(k * 180 * (3 - math.sqrt(5)), 360), np.rad2deg(np.arcsin(1 - (2 * k + 1) / n))


def test_directions_over_the_site_stand_where_they_are_with_their_value():
    zenith, azimuth, limit = [10.0, 40.0, 60.0], [350.0, 90.0, 180.0], [1.0, 2.0, 3.0]
    places, marks = layers(polar(zenith, azimuth, limit))
    drawn = {tuple(np.round(at, 9)): value for at, value in zip(places.get_offsets(), places.get_array(), strict=True)}
    expected = zip(zenith, azimuth, limit, strict=True)
    assert drawn == {tuple(np.round((math.radians(a), z), 9)): value for z, a, value in expected}
    assert marks == {}


def test_north_is_up_and_east_to_the_right_over_the_site():
    figure = polar([30.0], [0.0])
    save(figure)
    centre, north, east = figure.axes[0].transData.transform([(0, 0), (0, 30), (math.pi / 2, 30)])
    assert north[1] > centre[1] + 10
    assert east[0] > centre[0] + 10
    np.testing.assert_allclose([north[0], east[1]], centre)


def test_the_polar_map_stretches_circles_around_the_zenith():
    figure = polar([60.0], [0.0])
    save(figure)
    step = 1e-3
    start, around, outward = figure.axes[0].transData.transform([(0, 60), (step, 60), (0, 60 - math.degrees(step))])
    stretched = np.hypot(*(around - start)) / math.sin(math.radians(60)) / np.hypot(*(outward - start))
    assert stretched == pytest.approx(math.radians(60) / math.sin(math.radians(60)), rel=1e-3)
    assert stretched == pytest.approx(1.2, abs=0.02)


@pytest.mark.parametrize(("ra", "middle"), [([350.0, 0.0, 10.0], 0.0), ([80.0, 100.0, 95.0], 90.0)])
def test_stars_stand_where_mollweide_puts_them_east_to_the_left(ra, middle):
    dec = [0.0, 40.0, -75.0]
    figure = radec(ra, dec)
    places, _ = layers(figure)
    drawn = sorted(map(tuple, figure.axes[0].transProjection.transform(places.get_offsets()).tolist()))
    expected = []
    for a, d in zip(ra, dec, strict=True):
        wanted = math.pi * math.sin(math.radians(d))
        t = brentq(lambda t, w=wanted: 2 * t + math.sin(2 * t) - w, -math.pi / 2, math.pi / 2, xtol=1e-14)
        turn = math.radians((middle - a + 180) % 360 - 180)  # West is positive on the map
        expected.append((2 * math.sqrt(2) / math.pi * turn * math.cos(t), math.sqrt(2) * math.sin(t)))
    np.testing.assert_allclose(drawn, sorted(expected), atol=2e-3)  # matplotlib solves for t to that


def test_the_labels_of_right_ascension_belong_to_their_places():
    figure = radec([80.0, 100.0], [0.0, 0.0])
    ax = figure.axes[0]
    for tick, text in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True):
        if text.get_text():
            assert float(text.get_text().rstrip("°")) == pytest.approx((90 - math.degrees(tick)) % 360)


def test_a_window_across_zero_hours_stays_in_one_piece():
    for turn in (0.0, 180.0, 300.0):
        ra = (np.arange(-40, 41, 5.0) + turn) % 360
        places, _ = layers(radec(ra, np.full(ra.size, 20.0)))
        assert np.abs(places.get_offsets()[:, 0]).max() < math.radians(50)


whole = st.integers(0, 90), st.integers(-720, 720), st.integers(1, 50)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(*whole), min_size=1, max_size=30), st.sampled_from(["mean", "min", "max", "sum"]))
def test_a_direction_is_drawn_once_with_the_value_asked_for(points, how):
    zenith, azimuth, values = np.array(points, dtype=float).T
    places, _ = layers(polar(zenith, azimuth, values, combine=how))
    found = {}
    for z, a, value in zip(zenith, azimuth, values, strict=True):
        found.setdefault((z, a % 360 if z else 0.0), []).append(value)
    rule = {"mean": np.mean, "min": min, "max": max, "sum": sum}[how]
    drawn = {}
    for (angle, z), value in zip(places.get_offsets(), places.get_array(), strict=True):
        drawn[z, round(math.degrees(angle)) % 360 if z else 0.0] = value
    assert drawn == pytest.approx({key: rule(each) for key, each in found.items()})


@pytest.mark.parametrize("name", PLOTS)
def test_full_turns_order_shape_and_units_change_nothing(name):
    rng = np.random.default_rng(3)
    first, second, values = rng.uniform(0, 80, 40), rng.uniform(0, 80, 40), rng.uniform(1, 9, 40)
    angles = {"polar": (first, second), "radec": (second, first)}[name]
    turned = {"polar": (first, second + 360), "radec": (second - 360, first)}[name]
    order = rng.permutation(40)
    places, _ = layers(PLOTS[name](*angles, values))
    for others, colours in (
        (turned, values),
        ([x[order] for x in angles], values[order]),
        ([x.reshape(5, 8) for x in angles], values.reshape(5, 8)),
        ([(x * u.deg).to(u.rad) for x in angles], values),
    ):
        again, _ = layers(PLOTS[name](*others, colours))
        np.testing.assert_allclose(again.get_offsets(), places.get_offsets(), atol=1e-9)
        np.testing.assert_array_equal(again.get_array(), places.get_array())


def test_the_poles_are_one_direction():
    for plot, first, second in (
        (polar, [0.0] * 3, [0, 100, 200]),
        (radec, [0, 100, 200], [90.0] * 3),
    ):
        places, _ = layers(plot(first, second))
        assert len(places.get_offsets()) == 1
    places, _ = layers(radec([0, 100, 10, 20], [-90.0, -90, 90, 90]))
    assert len(places.get_offsets()) == 2


def test_unknown_and_flagged_points_are_marked_and_counted():
    zenith, azimuth = [20.0, 20, 40, 40, 60], [0.0, 0, 90, 90, 180]
    values, flags = [1.0, math.nan, math.nan, math.nan, 5.0], [False, False, True, True, True]
    figure = polar(zenith, azimuth, values, flagged=flags, flag_label="outside the table")
    places, marks = layers(figure)
    assert sorted(places.get_array().tolist()) == [1.0, 5.0]
    assert {words: sorted(mark.get_offsets()[:, 1].tolist()) for words, mark in marks.items()} == {
        "outside the table (3 points)": [40, 60],
        "not known (3 points)": [20, 40],
    }
    (legend,) = figure.legends
    assert sorted(text.get_text() for text in legend.get_texts()) == sorted(marks)
    shapes = [len(mark.get_paths()[0].vertices) for mark in marks.values()]
    assert len(set(shapes)) == 2  # two different markers
    assert figure.axes[0].get_title() == "5 points in 3 directions"


@pytest.mark.parametrize("name", PLOTS)
def test_nothing_but_unknown_values_has_no_colours(name):
    figure = PLOTS[name]([20.0, 30.0], [40.0, 50.0], [math.nan] * 2, log=True)
    places, marks = layers(figure)
    assert len(figure.axes) == 1
    assert len(places.get_offsets()) == 0
    assert list(marks) == ["not known (2 points)"]
    assert save(figure)


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("log", [False, True])
def test_colours_span_the_values(name, log):
    figure = PLOTS[name]([20.0, 30.0, 40.0], [40.0, 50.0, 60.0], [3.0, 7.0, 5.0] * u.TeV, label="limit", log=log)
    places, _ = layers(figure)
    assert (places.norm.vmin, places.norm.vmax) == (3.0, 7.0)
    assert isinstance(places.norm, LogNorm) is log
    assert figure.axes[1].get_ylabel() == "limit / TeV"
    assert save(figure)


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-9, 1e12])
def test_equal_values_can_be_drawn(value):
    for log in (False, True)[: 2 if value > 0 else 1]:
        figure = polar([20.0, 30.0], [40.0, 50.0], [value] * 2, log=log)
        norm = layers(figure)[0].norm
        assert norm.vmin < value < norm.vmax
    assert save(figure)


def test_the_colour_bar_says_how_points_are_combined():
    for how, words in (("max", "cost (max)"), ("sum", "cost (sum per direction)")):
        figure = polar([20.0, 20.0], [40.0, 40.0], [1.0, 2.0], label="cost", combine=how)
        assert figure.axes[1].get_ylabel() == words
    assert polar([20.0], [40.0], [1.0]).axes[1].get_ylabel() == "value"
    assert save(polar([20.0], [40.0], [1.0], label="cost in $ and $", flagged=[True], flag_label="$x_")) != b""


def test_cells_hold_the_directions_inside_them():
    rng = np.random.default_rng(8)
    n = 4000
    zenith, azimuth = np.rad2deg(np.arccos(rng.uniform(0.5, 1, n))), rng.uniform(0, 360, n)
    values = rng.uniform(1, 2, n)
    density, _ = layers(polar(zenith, azimuth))
    lowest, _ = layers(polar(zenith, azimuth, values, combine="min"))
    mean, _ = layers(polar(zenith, azimuth, values))
    total, area = 0, 0.0
    for cell, each, low, middle in zip(
        density.get_paths(), density.get_array(), lowest.get_array(), mean.get_array(), strict=True
    ):
        first, last, top, bottom = corners(cell)
        inside = (azimuth >= first) & (azimuth < last) & (zenith >= top) & (zenith < bottom + 1e-9)
        solid = math.radians(last - first) * (math.cos(math.radians(top)) - math.cos(math.radians(bottom)))
        assert each * solid * math.degrees(1) ** 2 == pytest.approx(inside.sum())
        assert low == values[inside].min()
        assert middle == pytest.approx(values[inside].mean())
        total, area = total + inside.sum(), area + solid
    assert total == n
    assert area == pytest.approx(math.pi, rel=0.01)  # the cap down to 60 deg, but for an empty cell


def test_sums_of_cells_are_those_of_a_direction():
    zenith, azimuth, night = np.meshgrid(np.linspace(1, 60, 60), np.arange(0, 360, 5.0), [1.0, 2, 4], indexing="ij")
    figure = polar(zenith, azimuth, night, combine="sum", label="events")
    places, _ = layers(figure)
    np.testing.assert_allclose(places.get_array(), 7.0)
    assert figure.axes[1].get_ylabel() == "events (sum per direction)"
    zenith[0] = 0.0  # now one direction holds 72 azimuths
    places, _ = layers(polar(zenith, azimuth, night, combine="sum"))
    *others, brightest = np.sort(places.get_array())
    np.testing.assert_allclose(others, 7.0)
    assert brightest > 10


def test_the_density_of_a_lattice_grows_towards_the_zenith():
    zenith, azimuth = np.meshgrid(np.linspace(3, 60, 100), np.arange(0, 360, 3.0), indexing="ij")
    places, _ = layers(polar(zenith, azimuth))
    middle = np.array([np.mean(corners(cell)[2:]) for cell in places.get_paths()])
    inner, outer = (places.get_array()[np.abs(middle - z) < 5].mean() for z in (15, 50))
    assert inner / outer == pytest.approx(math.sin(math.radians(50)) / math.sin(math.radians(15)), rel=0.1)


def test_cells_of_the_whole_sky_have_one_size_on_the_map_too():
    figure = radec(*even_sky(30_000))
    places, _ = layers(figure)
    project = figure.axes[0].transProjection.transform
    area = []
    for cell in places.get_paths():
        x, y = project(np.asarray(cell.vertices)).T
        area.append(abs(np.sum(x * np.roll(y, 1) - y * np.roll(x, 1))) / 2)
    assert sum(area) == pytest.approx(4 * math.pi, rel=0.01)  # of the unit sphere
    assert np.std(area) < 0.05 * np.mean(area)
    assert np.mean(places.get_array()) == pytest.approx(30_000 / (360**2 / math.pi), rel=0.005)
    assert np.std(places.get_array()) < 0.06 * np.mean(places.get_array())


@pytest.mark.parametrize("name", PLOTS)
def test_a_hundred_thousand_points_are_cells_in_a_small_picture(name):
    rng = np.random.default_rng(5)
    first, second = rng.uniform(0, 60, 100_000), rng.uniform(0, 60, 100_000)
    flags = first > 59
    figure = PLOTS[name](first, second, 1 + first, flagged=flags, log=True)
    picture = save(figure)
    assert len(picture) < 60_000
    places, marks = layers(figure)
    assert 100 < len(places.get_paths()) < 2500
    assert list(marks) == [f"flagged ({flags.sum():,} points)".replace(",", "\u2009")]


def test_a_crowded_ring_can_be_drawn():
    azimuth = np.linspace(0, 360, 4000, endpoint=False)
    for zenith in (0.01, 20.0, 90.0):
        places, _ = layers(polar(np.full(4000, zenith), azimuth))
        assert len(places.get_paths()) <= 1500
        solid = places.get_array()
        assert np.isfinite(solid).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([], []), "at least one direction"),
        (([91.0], [0.0]), "zenith"),
        (([-1.0], [0.0]), "zenith"),
        (([math.nan], [0.0]), "zenith"),
        (([1.0], [math.inf]), "azimuth"),
        (([1.0, 2.0], [0.0]), "azimuth must be one per point"),
        ((["a"], [0.0]), "zenith"),
        (([1.0] * u.m, [0.0]), "deg"),
        (([1.0], [0.0], [1.0, 2.0]), "values must be one per point"),
        (([1.0], [0.0], ["a"]), "values must be numbers"),
        (([1.0], [0.0], [-math.inf]), "finite"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, words):
    with pytest.raises(ProdconfError, match=words):
        polar(*arguments)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"values": [0.0], "log": True}, "positive"),
        ({"flagged": [True, False]}, "flagged"),
        ({"flagged": [1]}, "true or false"),
        ({"combine": "median"}, "combine"),
    ],
)
@pytest.mark.parametrize("name", PLOTS)
def test_wrong_options_are_refused(name, options, words):
    with pytest.raises(ProdconfError, match=words):
        PLOTS[name]([10.0], [20.0], **options)


def test_declinations_beyond_the_poles_are_refused():
    with pytest.raises(ProdconfError, match=r"dec must lie in \[-90, 90\] deg, got 91"):
        radec([0.0], [91.0])
    assert radec([0.0, 0.0], [90.0, -90.0])


def test_no_map_touches_the_state_of_pyplot():
    before = sys.modules.get("matplotlib.pyplot")
    plot_sky_polar(20.0, 30.0)
    plot_sky_radec(20.0 * u.deg, 30.0 * u.deg, SkyValues(5.0))
    after = sys.modules.get("matplotlib.pyplot")
    assert before is after
    if after is not None:
        assert after.get_fignums() == []


def test_a_grid_has_a_map_for_each_column_in_each_coordinates():
    grid = QTable({"zenith_angle": [20, 40] * u.deg, "azimuth": [0, 90] * u.deg, "ra": [1, 2] * u.deg})
    grid["dec"], grid["lower_energy_limit"] = [3, 4] * u.deg, [0.01, np.nan] * u.TeV
    grid["n_events"], grid["extrapolated"] = [0.0, 5.0], [False, True]
    figures = grid_figures(grid)
    names = ("points", "lower_energy_limit", "n_events")
    assert sorted(figures) == sorted(f"{name}_{system}" for name in names for system in PLOTS)
    assert isinstance(layers(figures["lower_energy_limit_polar"])[0].norm, LogNorm)
    events, marks = layers(figures["n_events_radec"])
    assert not isinstance(events.norm, LogNorm)  # a zero has no logarithm
    assert list(marks) == ["beyond the table (1 point)"]
    with pytest.raises(ProdconfError, match="zenith_angle and azimuth, or ra and dec"):
        grid_figures(QTable({"n_events": [1.0]}))
