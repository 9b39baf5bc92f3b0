"""Query points: every form, every wrong one, and no axis dropped."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from prodconf.core.errors import ProdconfError
from prodconf.sky.query_points import ask, distinct_rows, find_places, parse_queries

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
        ([ROW, (1, 0, np.nan, 0.24, 0)], "row 1: zenith must be finite.*nan"),
        ([ROW, ROW, (np.inf, 0, 20, 0.24, 0)], "row 2: energy must be finite.*inf"),
        ([(-1, 0, 20, 0.24, 0)], "row 0: energy must be finite and positive, got -1"),
        ([(1, 0, 90, 0.24, 0)], "row 0: zenith .*90"),
        ([(1, 0, 20, -0.1, 0)], "row 0: nsb .*-0.1"),
        ([(1, 0, 20, 0.24, -3)], "row 0: offset .*-3"),
        ([(1, 7200, 20, 0.24, 0)], "row 0: azimuth .*7200"),
        ([ROW, (1 * u.m, 0 * u.deg, 20 * u.deg, 0.24, 0 * u.deg)], "row 1: energy.*TeV"),
        ([(1 * u.TeV, 0 * u.deg, 20 * u.deg, 0.24 * u.m, 0 * u.deg)], "row 0: nsb"),
        ([(1 * u.TeV, None, 20 * u.deg, 0.24, 0 * u.deg)], "row 0: azimuth"),
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


def test_distinct_rows_are_those_of_numpy():
    rng = np.random.default_rng(7)
    rows = rng.integers(0, 3, (500, 4)).astype(float)
    rows[rows == 0] *= rng.choice([-1.0, 1.0], np.count_nonzero(rows == 0))  # both zeros are one
    first, kind = distinct_rows(rows)
    np.testing.assert_array_equal(rows[first][kind], rows)
    assert len(first) == len(np.unique(rows, axis=0))


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
    with pytest.raises(ProdconfError, match=f"query_points row 1: .*{message}.* is outside.*; 1 of 2 rows are"):
        ask(pilots(), [ROW, query])
    near = ask(pilots(), [ROW, query], outside="nearest")
    assert near.outside.tolist() == [False, True]


def test_an_axis_that_nobody_knows_is_answered_only_when_asked_for():
    blind = pilots(offset=None)
    with pytest.raises(ProdconfError, match=r"row 0: offset 0\.5 cannot be answered: no evaluator knows its offset"):
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
    with pytest.raises(ProdconfError, match="is outside"):
        ask(dark, (1, 0, 30, 0.24, 0.5))
    with pytest.raises(ProdconfError, match="row 0: nsb must be positive as the evaluators' is, got 0"):
        ask(pilots(), (1, 0, 30, 0, 0.5))
    with pytest.raises(ProdconfError, match="nsb"):
        find_places([(None, 0, 20, 0, 0), (None, 0, 40, 1, 0)], ["a", "b"])
