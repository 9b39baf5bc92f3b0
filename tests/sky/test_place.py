"""A grid point: what is read, what is refused, and how two of them are put together."""

import math

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st

from prodconf.core.errors import OutsideError, ProdconfError
from prodconf.sky.place import (
    GridPoint,
    ask,
    contradictions,
    find_places,
    merge_grid_points,
    parse_grid_point,
    parse_queries,
)

COORDINATES = ("energy", "azimuth", "zenith", "nsb", "offset")
POINTS = st.tuples(
    st.floats(1e-4, 1e4), st.floats(-360, 360), st.floats(0, 89.999), st.floats(0, 1e4), st.floats(0, 89.999)
)


@settings(deadline=None)  # the first call imports
@given(POINTS)
def test_numbers_are_kept_and_come_back_with_units(point):
    parsed = parse_grid_point(point)
    assert tuple(parsed) == point
    units = (u.TeV, u.deg, u.deg, u.dimensionless_unscaled, u.deg)
    for value, quantity, unit in zip(point, parsed.quantities(), units, strict=True):
        assert quantity.unit == unit
        assert quantity.value == value


@given(POINTS)
def test_units_are_converted(point):
    energy, azimuth, zenith, nsb, offset = point
    other = (energy * 1e3 * u.GeV, math.radians(azimuth) * u.rad, zenith * 60 * u.arcmin, nsb, offset * 3600 * u.arcsec)
    try:
        parsed = parse_grid_point(other)
    except ProdconfError:  # the conversion may round beyond the edge of a range
        assert zenith > 89.998 or offset > 89.998
        return
    np.testing.assert_allclose(parsed, point, rtol=1e-12, atol=1e-12)


@given(st.tuples(*[st.booleans()] * 5), POINTS)
def test_nothing_stated_stays_nothing(known, point):
    wanted = tuple(value if keep else None for keep, value in zip(known, point, strict=True))
    assert parse_grid_point(list(wanted)) == wanted
    assert merge_grid_points(GridPoint(*wanted), GridPoint(*point)) == point
    assert merge_grid_points(GridPoint(), GridPoint(*wanted)) == wanted


def test_none_and_arrays():
    assert parse_grid_point(None) == GridPoint(None, None, None, None, None)
    assert parse_grid_point(np.array([1.0, 180.0, 20.0, 1.0, 0.5])) == (1.0, 180.0, 20.0, 1.0, 0.5)
    assert parse_grid_point(["40 GeV", {"value": 180, "unit": "deg"}, np.float32(20), np.array(1.0), 0])[0] == 0.04


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ((1, 2, 3, 4), ("five values", "got 4")),
        ((1, 2, 3, 4, 5, 6), ("five values", "got 6")),
        (1.0, ("five values", "1.0")),
        ("1 TeV", ("five values",)),
        ({"energy": 1}, ("five values",)),
        (np.ones((1, 5)), ("shape (1, 5)",)),
        ([1, 2, 3, 4, 5] * u.TeV, ("one Quantity", "TeV")),
        ((math.nan, 0, 20, 1, 0), ("energy", "finite", "nan")),
        ((1, math.inf, 20, 1, 0), ("azimuth", "finite", "inf")),
        ((math.nan * u.TeV, 0, 20, 1, 0), ("energy", "finite", "nan")),
        ((0, 0, 20, 1, 0), ("energy", "positive", "0")),
        ((-1, 0, 20, 1, 0), ("energy", "positive", "-1")),
        ((1 * u.m, 0, 20, 1, 0), ("energy", "TeV", "m")),
        ((1, 721, 20, 1, 0), ("azimuth", "720", "721")),
        ((1, 0, 90, 1, 0), ("zenith", "90")),
        ((1, 0, 91 * u.deg, 1, 0), ("zenith", "91")),
        ((1, 0, -1, 1, 0), ("zenith", "-1")),
        ((1, 0, 20, -1, 0), ("nsb", "zero or positive", "-1")),
        ((1, 0, 20, 1 * u.deg, 0), ("nsb", "deg")),
        ((1, 0, 20, 1, 90), ("offset", "90")),
        ((1, 0, 20, 1, True), ("offset", "one number", "True")),
        (([1, 2], 0, 20, 1, 0), ("energy", "[1, 2]")),
        (([1, 2] * u.TeV, 0, 20, 1, 0), ("energy", "one number")),
        (("dark", 0, 20, 1, 0), ("energy", "dark")),
        ((1, 0, 20, "dark", 0), ("nsb", "dark")),
        ((10**400, 0, 20, 1, 0), ("energy",)),
        ((1 + 1j, 0, 20, 1, 0), ("energy",)),
    ],
)
def test_refused_with_argument_rule_and_value(point, words):
    with pytest.raises(ProdconfError) as caught:
        parse_grid_point(point, "query")
    for word in ("query", *words):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.floats(-360, 360), st.floats(-3, 3), st.integers(-1, 1))
def test_azimuth_is_compared_on_the_circle(azimuth, step, turns):
    found = contradictions(GridPoint(azimuth=azimuth), GridPoint(azimuth=azimuth + step + 360 * turns))
    if abs(abs(step) - 0.05) > 1e-9:
        assert found == (["azimuth"] if abs(step) > 0.05 else [])


@pytest.mark.parametrize(
    ("coordinate", "value", "near", "far"),
    [
        ("energy", 1.0, 1.0005, 1.01),
        ("azimuth", 0.0, 359.96, 359.0),
        ("zenith", 20.0, 20.04, 20.1),
        ("nsb", 0.24, 0.2415, 0.25),
        ("nsb", 0.0, 0.0, 0.24),
        ("offset", 0.5, 0.5, 1.0),
    ],
)
def test_tolerances(coordinate, value, near, far):
    given_point = GridPoint(**{coordinate: value})
    assert merge_grid_points(given_point, GridPoint(**{coordinate: near})) == given_point
    with pytest.raises(
        ProdconfError, match=rf"^grid_point: {coordinate}: must agree with a\.fits, got {value:g}.* {far:g}"
    ):
        merge_grid_points(given_point, GridPoint(**{coordinate: far}), source="a.fits")


# ---------------------------------------------------------------- questions at many places

NAMES = ["20deg.fits", "40deg.fits", "60deg.fits"]
ROW = (1.0, 0.0, 30.0, 0.24, 0.5)


def pilots(nsb=0.24, offset=0.5):
    return find_places([(None, 0, zenith, nsb, offset) for zenith in (20, 40, 60)], NAMES)


@pytest.mark.parametrize(
    "form",
    [
        ROW,
        np.array(ROW),
        [ROW],
        np.array([ROW], dtype=np.float32),
        [(1000 * u.GeV, 0 * u.deg, 30 * u.deg, 0.24, 30 * u.arcmin)],
        (1 * u.TeV, 0 * u.rad, 1800 * u.arcmin, 0.24 * u.one, 0.5 * u.deg),
        [("1 TeV", "0 deg", "30 deg", 0.24, "0.5 deg")],
        QTable({"energy": [1] * u.TeV, "azimuth": [0] * u.deg, "zenith": [30] * u.deg, "nsb": [0.24], "offset": [0.5]}),
        np.array([ROW], dtype=[(name, float) for name in ("energy", "azimuth", "zenith", "nsb", "offset")]),
    ],
)
def test_every_form_is_the_same_point(form):
    found = parse_queries(form)
    assert found.shape == (1, 5)
    np.testing.assert_allclose(found[0], ROW, rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((3, 4)), r"shape \(n, 5\).*got shape \(3, 4\)"),
        (np.zeros((2, 5, 1)), "shape"),
        (np.zeros((0, 5)), "shape"),
        ([], "shape"),
        (None, "shape"),
        ("1 TeV", "shape"),
        ([ROW, (np.nan, 0, 20, 0.24, 0)], "row 1: energy must be finite.*nan"),
        ([ROW, (1, 0, np.inf, 0.24, 0)], "row 1: zenith must be finite.*inf"),
        ([ROW, ROW, (np.inf, 0, 20, 0.24, 0)], "row 2: energy must be finite.*inf"),
        ([(-1, 0, 20, 0.24, 0)], "row 0: energy must be finite and positive, got -1"),
        ([(1, 0, 90, 0.24, 0)], "row 0: zenith .*90"),
        ([(1, 0, 20, -0.1, 0)], "row 0: nsb .*-0.1"),
        ([(1, 0, 20, 0.24, -3)], "row 0: offset .*-3"),
        ([(1, 7200, 20, 0.24, 0)], "row 0: azimuth .*7200"),
        ([ROW, (1 * u.m, 0 * u.deg, 20 * u.deg, 0.24, 0 * u.deg)], "row 1: energy.*TeV"),
        ([(1 * u.TeV, 0 * u.deg, 20 * u.deg, 0.24 * u.m, 0 * u.deg)], "row 0: nsb"),
        ([(None, 0 * u.deg, 20 * u.deg, 0.24, 0 * u.deg)], "row 0: energy"),
        ([(1 * u.TeV, 0 * u.deg)], "row 0 must be five values"),
        ([[1, 0, 20, 0.24, 0], [1, 0, 20]], "row 1 must be five values"),
        (np.array([ROW]) * u.TeV, "one Quantity in TeV"),
        (QTable({"energy": [1] * u.TeV}), "got none named azimuth"),
        (QTable({"energy": [1] * u.m, "azimuth": [0.0], "zenith": [0.0], "nsb": [1.0], "offset": [0.0]}), "TeV"),
        (np.array([ROW], dtype=complex), "row 0"),
    ],
)
def test_wrong_queries_are_named(wrong, message):
    with pytest.raises(ProdconfError, match=message):
        parse_queries(wrong)


def test_equal_places_are_asked_once():
    rows = [(1, 0.0, 30, 0.24, 0.5), (5, -0.0, 30, 0.24, 0.5), (1, 0, 40, 0.24, 0.5), (2, 0, 30, 0.24, 0.5)]
    question = ask(pilots(), rows)
    assert question.weights.matrix.shape == (2, 3)
    assert question.kind[0] == question.kind[1] == question.kind[3] != question.kind[2]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ((1, 180, 30, 0.24, 0.5), "azimuth 180 deg"),
        ((1, 0, 30, 999, 0.5), "nsb_level 999"),
        ((1, 0, 30, 0.24, 7), "offset 7 deg"),
        ((1, 0, 65, 0.24, 0.5), "zenith 65 deg"),
    ],
)
def test_no_axis_is_dropped(query, message):
    with pytest.raises(OutsideError, match=f"query_points row 1: .*{message}.* is outside.*; 1 of 2 queries are"):
        ask(pilots(), [ROW, query])
    near = ask(pilots(), [ROW, query], outside="nearest")
    assert near.outside.tolist() == [False, True]


@pytest.mark.parametrize("nothing", [None, np.nan])
def test_what_all_pilots_have_need_not_be_stated(nothing):
    stated = ask(pilots(), ROW)
    for form in ((1.0, nothing, 30.0, nothing, nothing), [(1 * u.TeV, nothing, 30 * u.deg, nothing, nothing)]):
        found = ask(pilots(), form)
        np.testing.assert_array_equal(found.rows, stated.rows)
        np.testing.assert_array_equal(found.weights.matrix.toarray(), stated.weights.matrix.toarray())
    with pytest.raises(ProdconfError, match="row 1: zenith must be given, as the evaluators have 20, 40, 60"):
        ask(pilots(), [ROW, (1.0, 0.0, nothing, 0.24, 0.5)])


@pytest.mark.parametrize("nothing", [None, np.nan, 0.0])
def test_on_axes_that_nobody_knows_nothing_is_stated_by_zero_or_nan(nothing):
    """The documented query [1, 0, 30, 0, 0] of evaluators that know neither background nor offset."""
    found = ask(pilots(nsb=None, offset=None), [(1, 0, 30, nothing, nothing)])
    assert not found.outside.any()
    np.testing.assert_array_equal(found.weights.matrix.toarray(), ask(pilots(), ROW).weights.matrix.toarray())
    assert np.isnan(found.rows[0, 3:]).all()


def test_a_refusal_names_no_level_that_nobody_gave():
    for places, query in ((pilots(nsb=None, offset=None), (1, 0, 65, 0, 0)), (pilots(nsb=0), (1, 0, 65, 0, 0.5))):
        with pytest.raises(OutsideError, match="zenith 65 deg") as caught:
            ask(places, [query])
        assert "nsb" not in str(caught.value)
    with pytest.raises(OutsideError, match=r"nsb 0\.24 is outside the pilots \(nsb 0\)$"):
        ask(pilots(nsb=0), ROW)


def test_an_axis_that_nobody_knows_is_answered_only_when_asked_for():
    blind = pilots(offset=None)
    with pytest.raises(OutsideError, match=r"row 0: offset 0\.5 cannot be answered: no evaluator knows its offset"):
        ask(blind, [ROW])
    assert ask(blind, [ROW], outside="nearest").outside.tolist() == [True]


def test_pilots_that_do_not_fit_together_are_named():
    with pytest.raises(ProdconfError, match=r"all know their nsb or none, got nsb 0.24 for a and nothing for b"):
        find_places([(None, 0, 20, 0.24, 0), (None, 0, 40, None, 0)], ["a", "b"])
    with pytest.raises(ProdconfError, match=r"must differ in .* got a and c at one place"):
        find_places([(None, 0, 20, 1, 0), (None, 0, 40, 1, 0), (5 * u.TeV, 360, 20.01, 1, 0)], ["a", "b", "c"])


def test_background_zero_is_a_label():
    dark = pilots(nsb=0)
    assert not ask(dark, (1, 0, 30, 0, 0.5)).outside.any()
    with pytest.raises(OutsideError, match="is outside"):
        ask(dark, (1, 0, 30, 0.24, 0.5))
    with pytest.raises(ProdconfError, match="row 0: nsb must be positive as the evaluators' is, got 0"):
        ask(pilots(), (1, 0, 30, 0, 0.5))
    with pytest.raises(ProdconfError, match="nsb"):
        find_places([(None, 0, 20, 0, 0), (None, 0, 40, 1, 0)], ["a", "b"])
