"""Axes of grids in every written form, against formulas in extended precision, sets made by hand, and astropy."""

import json
import math
import warnings
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
import yaml
from astropy import units as u
from astropy.coordinates import Angle, Longitude
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodconf.core.errors import FileError, ProdconfError, ProdconfWarning
from prodconf.sky.axes import KINDS, NAMES, Axis, circular_values, kind_of, read_axes


def one(entry, name="zenith", **keywords):
    """The only axis of a description."""
    (axis,) = read_axes({name: entry}, **keywords)
    return axis


def as_lists(axes):
    """Axes as plain values."""
    return [(axis.name, axis.kind, axis.values.tolist(), axis.unit) for axis in axes]


# --- real files -----------------------------------------------------------------------------------------------------


def test_the_real_files_are_read_unchanged(shared_data):
    folder = shared_data / "configuration"
    assert as_lists(read_axes(folder / "axes_v0.16.yml")) == [
        ("azimuth", "azimuth", [310.0, 345.0, 20.0], "deg"),
        ("zenith_angle", "zenith", [30.0, 40.0], "deg"),
        ("nsb", "nsb", [4.0, 5.0], "MHz"),
        ("offset", "offset", [0.0, 10.0], "deg"),
    ]
    ra, dec, nsb, offset = read_axes(str(folder / "axes_ra_dec_v0.30.yml"))
    assert ra.values.tolist() == [10.0 * k for k in range(36)]  # a full turn without a doubled end
    np.testing.assert_allclose(dec.values, -90 + 180 / 17 * np.arange(18), rtol=0, atol=1e-13)
    assert (nsb.values.tolist(), nsb.unit, offset.values.tolist()) == ([4.0], "MHz", [0.0, 10.0])
    assert as_lists(read_axes(folder / "production_grid_v0.36.yml")) == [
        ("azimuth", "azimuth", [310.0, 345.0, 20.0], "deg"),
        ("zenith", "zenith", [30.0, 40.0], "deg"),
        ("offset", "offset", [0.0, 10.0], "deg"),
    ]


def test_the_grid_that_was_made_from_the_newest_file_has_its_values(shared_data):
    """The table was written by the predecessor."""
    from astropy.table import Table

    folder = shared_data / "configuration"
    made = Table.read(folder / "production_grid_points_v0.36.ecsv", format="ascii.ecsv")
    azimuth, zenith, _ = read_axes(folder / "production_grid_v0.36.yml")
    assert set(made["azimuth_angle"].tolist()) == set(azimuth.values.tolist())
    assert set(made["zenith_angle"].tolist()) == set(zenith.values.tolist())


# --- forms ----------------------------------------------------------------------------------------------------------


def test_all_forms_say_the_same(tmp_path):
    wanted = [("azimuth", "azimuth", [310.0, 345.0, 20.0], "deg"), ("zenith_angle", "zenith", [30.0, 40.0], "deg")]
    inner = {
        "azimuth": {"range": [310, 20], "binning": 3, "scaling": "linear", "units": "deg"},
        "zenith_angle": {"range": (30 * u.deg, "40 deg"), "binning": np.int64(2)},
    }
    texts = ["azimuth 310 deg 20 deg 3 linear", "zenith_angle 30 deg 40 deg 2"]
    lists = {"azimuth": {"values": [310, -15, 20], "unit": "deg"}, "zenith_angle": ["30 deg", "40 deg"]}
    quantities = {"azimuth": [310, 345, 20] * u.deg, "zenith_angle": {"value": np.array([30, 40]), "unit": u.deg}}
    lines = {"azimuth": texts[0].split(None, 1)[1], "zenith_angle": "30deg 40deg 2 linear"}
    angles = {"azimuth": Longitude([310, 345, 20], "deg"), "zenith_angle": Angle([30, 40], "deg")}
    for given_axes in (
        inner,
        {"axes": inner},
        texts,
        tuple(texts),
        {"axis": texts},
        {"axes": texts},
        lists,
        quantities,
        lines,
        angles,
    ):
        assert as_lists(read_axes(given_axes)) == wanted, given_axes
    for name, text in (("a.yml", yaml.safe_dump({"axes": lists})), ("b.yml", json.dumps(texts))):
        (tmp_path / name).write_text(text)
        assert as_lists(read_axes(tmp_path / name)) == wanted


def test_single_values_words_and_other_axes():
    assert as_lists(read_axes({"zenith": "20 deg", "nsb": "dark", "wind": "7 m/s", "layout": ["4LSTs", "beta"]})) == [
        ("zenith", "zenith", [20.0], "deg"),
        ("nsb", "nsb", ["dark"], ""),
        ("wind", "other", [7.0], "m/s"),
        ("layout", "other", ["4LSTs", "beta"], ""),
    ]
    assert one([0.24, "1.2"], "nsb_level").values.tolist() == [0.24, 1.2]
    assert one("0.24", "nsb").values.tolist() == [0.24]
    assert one("0.2 1 / (ns sr cm2) 1.2 1 / (ns sr cm2) 3 log", "nsb_rate").unit == "1 / (ns sr cm2)"
    assert as_lists(read_axes(["nsb dark", "zenith 20 deg"]))[0][2] == ["dark"]
    assert one({"value": 0.3, "unit": "rad"}).numbers("rad")[0] == pytest.approx(0.3, rel=1e-15)
    assert one([1, -2, 0.5], "tilt").values.tolist() == [1.0, -2.0, 0.5]


def test_names_keep_their_spelling_and_have_a_kind():
    assert {kind_of(name) for name in ("zenith", "zenith_angle", "Zenith Angle", "ZENITH")} == {"zenith"}
    assert set(NAMES) | {"other"} == set(KINDS)
    assert {kind_of(name): kind for kind, names in NAMES.items() for name in names} == {kind: kind for kind in NAMES}
    assert one("20 deg", "Zenith-Angle").name == "Zenith-Angle"


def test_an_axis_gives_numbers_and_quantities():
    axis = one("20 deg 60 deg 3")
    assert len(axis) == 3
    assert axis.quantity().unit == u.deg
    np.testing.assert_allclose(axis.numbers("rad"), np.deg2rad([20, 40, 60]), rtol=1e-15)
    with pytest.raises(ValueError, match="read-only"):
        axis.values[0] = 1.0
    with pytest.raises(ProdconfError, match=r"axis zenith: must be convertible to 'TeV', got the unit 'deg'"):
        axis.numbers("TeV")
    words = one(["dark", "moon"], "nsb")
    assert words.holds_words
    assert words.quantity().tolist() == ["dark", "moon"]
    with pytest.raises(ProdconfError, match="axis nsb: must hold numbers, got the word 'dark'"):
        words.numbers()
    assert one([1, 2], "nsb").numbers("").tolist() == one([1, 2], "nsb").quantity().tolist() == [1.0, 2.0]
    assert one([4, 5] * u.MHz, "nsb").numbers("1/s").tolist() == [4e6, 5e6]
    assert isinstance(words, Axis)


# --- units ----------------------------------------------------------------------------------------------------------


@given(
    low=st.floats(0, 80),
    width=st.floats(0.01, 9.9),
    n=st.integers(2, 30),
    scaling=st.sampled_from(["linear", "cos", "1/cos"]),
    unit=st.sampled_from(["rad", "arcmin", "arcsec", "hourangle", "mrad"]),
)
def test_units_change_nothing(low, width, n, scaling, unit):
    ends = np.array([low, low + width])
    plain = one({"range": ends, "binning": n, "scaling": scaling, "units": "deg"})
    other = one({"range": (ends * u.deg).to_value(unit), "binning": n, "scaling": scaling, "units": unit})
    assert other.unit == "deg"
    np.testing.assert_allclose(other.values, plain.values, rtol=1e-12, atol=1e-9)


def test_each_value_converts_by_itself_and_no_unit_is_assumed():
    mixed = one({"values": ["20 deg", 1800, {"value": 0.5, "unit": "rad"}], "units": "arcmin"})
    np.testing.assert_allclose(mixed.values, [20, 30, np.rad2deg(0.5)], rtol=1e-15)
    assert one([20, 40], angle_unit="deg").values.tolist() == [20, 40]
    assert one({"range": [0, 1], "binning": 2, "units": "rad"}, angle_unit="deg").values[1] == np.rad2deg(1)
    np.testing.assert_allclose(one("2 h", "hour_angle").values, 30, rtol=1e-15)
    np.testing.assert_allclose(one([2], "ra", angle_unit="hour").values, 30, rtol=1e-15)
    hours = one({"range": [-6, 6], "binning": 3, "units": "h"}, "hour_angle").values
    np.testing.assert_allclose(hours, [-90, 0, 90], rtol=1e-15, atol=1e-13)
    np.testing.assert_allclose(one(["4 MHz", "5000 kHz"], "nsb").values, [4, 5])


# --- scalings -------------------------------------------------------------------------------------------------------


@given(low=st.floats(0, 89.9), high=st.floats(0, 89.9), n=st.integers(2, 40))
def test_cosines_have_equal_steps_in_extended_precision(low, high, n):
    low, high = sorted((low, high))
    if high - low < 1e-3:
        return
    a, b = (np.deg2rad(np.longdouble(end)) for end in (low, high))
    k = np.arange(n, dtype=np.longdouble) / (n - 1)
    one_less_cos = [2 * np.sin(end / 2) ** 2 for end in (a, b)]  # keeps its digits close to the zenith
    sec_less_one = [2 * np.sin(end / 2) ** 2 / np.cos(end) for end in (a, b)]
    cos_steps, sec_steps = (first + k * (last - first) for first, last in (one_less_cos, sec_less_one))
    wanted = {
        "linear": a + k * (b - a),
        "cos": 2 * np.arcsin(np.sqrt(cos_steps / 2)),
        "1/cos": 2 * np.arcsin(np.sqrt(sec_steps / (1 + sec_steps) / 2)),
    }
    for scaling, values in wanted.items():
        found = one({"range": [low, high], "binning": n, "scaling": scaling, "units": "deg"}).values
        np.testing.assert_allclose(found, np.rad2deg(values).astype(float), rtol=1e-12, atol=1e-12)
        assert (found[0], found[-1]) == (low, high)
        assert (np.diff(found) > 0).all()


def test_no_digit_is_lost_close_to_the_zenith():
    """For small angles both cosines have equal steps in the square of the angle."""
    for scaling in ("cos", "1/cos"):
        found = one({"range": [0, 1e-6], "binning": 5, "scaling": scaling, "units": "deg"}).values
        np.testing.assert_allclose(found, 1e-6 * np.sqrt([0, 0.25, 0.5, 0.75, 1]), rtol=1e-13)


def test_cos_covers_equal_solid_angles_and_reaches_beyond_a_right_angle():
    edges = one({"range": [0, 180], "binning": 9, "scaling": "cos", "units": "deg"}, "offset").values
    np.testing.assert_allclose([math.cos(math.radians(x)) for x in edges], np.linspace(1, -1, 9), atol=1e-15)


@given(low=st.floats(1e-6, 1e6), ratio=st.floats(1.001, 1e6), n=st.integers(2, 40))
def test_logarithms_have_equal_ratios(low, ratio, n):
    found = one({"range": [low, low * ratio], "binning": n, "scaling": "log"}, "nsb_level").values
    np.testing.assert_allclose(found, [low * ratio ** (k / (n - 1)) for k in range(n)], rtol=1e-11)
    assert (found[0], found[-1]) == (low, low * ratio)


# --- circles --------------------------------------------------------------------------------------------------------


def separation(a, b):
    """Angle between two directions, through their unit vectors."""
    a, b = np.deg2rad(a), np.deg2rad(b)
    return np.rad2deg(np.abs(np.arctan2(np.sin(a - b), np.cos(a - b))))


@pytest.mark.parametrize(
    ("first", "last", "n", "wanted"),
    [
        (310, 20, 3, [310, 345, 20]),
        (20, 310, 3, [20, 165, 310]),
        (0, 350, 3, [0, 175, 350]),
        (180, 0, 3, [180, 270, 0]),
        (0, 360, 4, [0, 90, 180, 270]),
        (360, 0, 4, [0, 90, 180, 270]),
        (-180, 180, 4, [180, 270, 0, 90]),
        (-50, 20, 3, [310, 345, 20]),
        (350, 350, 1, [350]),
        (-1e-17, 90, 2, [0, 90]),
        (310.3, 20.1, 2, [310.3, 20.1]),
    ],
)
def test_directed_ranges_on_the_circle(first, last, n, wanted):
    assert circular_values(first, last, n).tolist() == wanted
    assert one({"range": [first, last], "binning": n, "units": "deg"}, "azimuth").values.tolist() == wanted


@pytest.mark.parametrize(("first", "last"), [(350, 180), (20, 10), (300, 20.5 + 99.5 + 0.1), (1, -1)])
def test_the_shorter_arc_where_a_range_is_ambiguous_and_said_so(first, last):
    with pytest.warns(ProdconfWarning, match=r"azimuth: range \[.*\] is ambiguous, the shorter arc of .* upward from"):
        found = circular_values(first, last, 5)
    np.testing.assert_allclose(found, np.mod(np.linspace(first, last, 5), 360), atol=1e-12)
    with pytest.warns(ProdconfWarning, match="axes: axis azimuth_angle: range"):
        one({"range": [first, last], "binning": 5, "units": "deg"}, "azimuth_angle")


@given(first=st.floats(-360, 360), last=st.floats(-360, 360), n=st.integers(2, 25))
def test_every_range_on_the_circle(first, last, n):
    if first == last or abs(last - first) > 360:
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = circular_values(first, last, n)
    turn = last - first
    full = math.isclose(abs(turn), 360, rel_tol=1e-12)
    doubtful = turn < 0 and turn + 360 > 180 and not full
    assert bool(caught) == doubtful
    assert found.shape == (n,)
    assert ((found >= 0) & (found < 360)).all()
    assert separation(found[0], first) < 1e-9
    length = 360 if full else abs(turn) if doubtful else turn % 360
    step = length / (n if full else n - 1)
    if not full:
        assert separation(found[-1], last) < 1e-9
    sense = -1 if doubtful else 1
    for a, b in pairwise(found):
        assert separation(a + sense * step, b) < 1e-9


@given(
    first=st.integers(-180, 180), arc=st.integers(1, 180), n=st.integers(2, 9), turns=st.sampled_from([-360, 0, 360])
)
def test_whole_turns_make_no_difference_to_a_range(first, arc, n, turns):
    last = first + arc
    if not (-360 <= first + turns <= 360 and -360 <= last + turns <= 360):
        return
    np.testing.assert_allclose(circular_values(first + turns, last + turns, n), circular_values(first, last, n))
    if last > 180:  # written with the smaller number last, it goes through North
        np.testing.assert_allclose(circular_values(first % 360, last % 360, n), circular_values(first, last, n))


def test_circles_are_closed_for_listed_values():
    assert one(["-90 deg", "360 deg"], "azimuth").values.tolist() == [270, 0]
    assert one([-90, -180, 90] * u.deg, "hour_angle").values.tolist() == [-90, 180, 90]
    assert one([270, 0] * u.deg, "hour_angle").values.tolist() == [-90, 0]
    assert one({"range": [-180, 180], "binning": 4, "units": "deg"}, "hour_angle").values.tolist() == [180, -90, 0, 90]


def test_one_value_of_two_is_the_first_and_said_so():
    for name, wanted in (("azimuth", 310.0), ("offset", 20.0)):
        first, last = (310, 20) if name == "azimuth" else (20, 30)
        with pytest.warns(ProdconfWarning, match=f"axis {name}: binning 1 takes the first value of the range"):
            assert one({"range": [first, last], "binning": 1, "units": "deg"}, name).values.tolist() == [wanted]
    assert one({"range": [4, 4], "binning": 1, "units": "MHz"}, "nsb").values.tolist() == [4.0]


# --- refusals -------------------------------------------------------------------------------------------------------

DEG = {"units": "deg"}


@pytest.mark.parametrize(
    ("axes", "match"),
    [
        ({}, "axes: must hold at least one axis, got none"),
        ({"axes": {}}, "must hold at least one axis"),
        ([], "must hold at least one axis"),
        (3, "axes must map names to axes, or list texts, got 3"),
        ({"axes": 3}, "axes must map names to axes"),
        ({"axes": ["azimuth"]}, "axes in a list must be as"),
        ([{"azimuth": 3}], "axes in a list must be as"),
        ({"axes": {}, "axis": []}, "must hold axes or axis, got both"),
        ({"applications": []}, "must hold one application with axes, got 0"),
        ({3: "20 deg"}, "an axis must have a name, got 3"),
        ({"zenith": []}, r"axes: axis zenith: must hold at least one value, got \[\]"),
        ({"zenith": {}}, "axis zenith: must have range and binning, or values"),
        ({"zenith": {"range": [0, 60], **DEG}}, "must have range and binning, or values"),
        ({"zenith": {"values": [1], "binning": 1, **DEG}}, "must have range and binning, or values"),
        ({"zenith": {"range": [0, 60], "bins": 3, **DEG}}, "axis zenith: unknown key bins"),
        ({"zenith": {"values": [1], "units": "deg", "unit": "deg"}}, "must state its unit once"),
        ({"zenith": {"values": [1], "units": 3}}, "units: Input should be a valid string, got 3"),
        ({"zenith": {"values": [1], "units": "dge"}}, "'dge' is not a unit"),
        ({"zenith": 20}, 'axis zenith: needs a unit of angle, as in "20 deg" or units: deg, got 20'),
        ({"zenith": {"values": [20], "units": ""}}, "needs a unit of angle"),
        ({"offset": "0 10 2 linear"}, "axis offset: needs a unit of angle"),
        ({"zenith": ["20 deg", 30]}, "needs a unit of angle.* got 30"),
        ({"zenith": "20 m"}, "axis zenith: must be convertible to 'deg', got the unit 'm'"),
        ({"zenith": "90 deg"}, r"zenith must lie in \[0, 90\) deg, got 90"),
        ({"zenith": "-1 deg"}, r"zenith must lie in \[0, 90\) deg, got -1"),
        ({"zenith": ["20 deg", ".nan"]}, "must not mix words and numbers, got '.nan'"),
        ({"zenith": ["nan"]}, "values must be finite, got nan"),
        ({"zenith": [float("inf")] * u.deg}, "values must be finite, got inf"),
        ({"zenith": True}, "must be numbers or words, got True"),
        ({"zenith": None}, "must be numbers or words, got None"),
        ({"zenith": [[20]]}, r"must be numbers or words, got \[20\]"),
        ({"zenith": np.ones((2, 2)) * u.deg}, "must be a list of numbers or words"),
        ({"zenith": np.array([1j])}, "must be a list of numbers or words"),
        ({"zenith": "steep"}, "axis zenith: must be numbers, without words, got 'steep'"),
        ({"zenith": ""}, "must be numbers or words, got ''"),
        ({"zenith": "20 degg"}, 'must be as "20 deg" or as "310 deg 20 deg 3 linear", got \'20 degg\''),
        (["azimuth 310 deg 20 deg"], 'must be as "20 deg" or as'),
        (
            ["azimuth 310 deg 20 deg 3 squared"],
            "scaling: Input should be 'linear', 'log', '1/cos' or 'cos', got 'squared'",
        ),
        (["azimuth 310 deg 20 deg 0"], "binning must be a whole number from 1 to 1000000, got 0"),
        ({"zenith": {"range": [60, 20], "binning": 3, **DEG}}, r"range must not be reversed, got \[60, 20\] deg"),
        ({"zenith": {"range": [20], "binning": 3, **DEG}}, r"range must be two numbers, got \[20\]"),
        ({"nsb": {"range": ["dark", "moon"], "binning": 3}}, "range must be two numbers"),
        ({"zenith": {"range": [20, 30], "binning": 2.5, **DEG}}, "binning must be a whole number .* got 2.5"),
        ({"zenith": {"range": [20, 30], "binning": True, **DEG}}, "binning must be one number, got True"),
        ({"zenith": {"range": [20, 30], "binning": 1_000_001, **DEG}}, "binning must be a whole number"),
        ({"zenith": {"range": [20, 20], "binning": 3, **DEG}}, "two equal ends must have binning 1, got 3"),
        ({"zenith": {"range": [0, 60], "binning": 3, "scaling": "sec", **DEG}}, "scaling: Input should be"),
        ({"zenith": {"range": [0, 60], "binning": 3, "scaling": None, **DEG}}, "scaling: Input should be .* got None"),
        ({"zenith": {"range": [0, 90], "binning": 3, "scaling": "1/cos", **DEG}}, r"needs a range in \[0, 90\) deg"),
        ({"dec": {"range": [-9, 9], "binning": 3, "scaling": "cos", **DEG}}, r"needs a range in \[0, 180\] deg"),
        ({"nsb": {"range": [1, 9], "binning": 3, "scaling": "cos"}}, "scaling cos: must be convertible to 'rad'"),
        (
            {"nsb": {"range": [0, 5], "binning": 3, "scaling": "log"}},
            r"scaling log needs a range above 0, got \[0, 5\]",
        ),
        ({"tilt": {"range": [-1e308, 1.7e308], "binning": 3}}, "must be finite"),
        ({"azimuth": {"range": [1, 9], "binning": 3, "scaling": "log", **DEG}}, "scaling must be linear on a circle"),
        ({"azimuth": {"range": [0, 720], "binning": 3, **DEG}}, r"range must lie in \[-360, 360\] deg, got 720"),
        ({"azimuth": {"range": [-90, 300], "binning": 3, **DEG}}, "range must not span more than 360 deg"),
        ({"azimuth": "361 deg"}, r"azimuth must lie in \[-360, 360\] deg, got 361"),
        ({"azimuth": ["0 deg", "360 deg"]}, "must not repeat a value, got 0.0 2 times"),
        ({"nsb": ["dark", "dark"]}, "must not repeat a value, got dark 2 times"),
        ({"dec": "91 deg"}, r"dec must lie in \[-90, 90\] deg, got 91"),
        ({"offset": "-1 deg"}, "offset must lie in"),
        ({"nsb": [0.24, 0]}, "nsb must be positive, got 0"),
        ({"nsb_level": -1}, "nsb must be positive, got -1"),
        ({"nsb": ["dark", 0.24]}, "must not mix words and numbers, got 'dark'"),
        ({"nsb": [0.24, "1.2 MHz"]}, "must give all values a unit or none"),
        ({"nsb": {"values": ["dark"], "units": "MHz"}}, "must be numbers, without words"),
        ({"nsb": {"values": [4], "units": "deg"}}, "must be a level or a rate, got the unit 'deg' of an angle"),
        ({"zenith": "20 deg", "zenith_angle": "30 deg"}, "one axis of a kind, got zenith and zenith_angle"),
        (["wind 1 2 2", "wind 3 4 2"], "one axis of a kind, got wind and wind"),
    ],
)
def test_what_is_no_axis_is_refused_in_one_sentence(axes, match):
    with pytest.raises(ProdconfError, match=match) as caught:
        read_axes(axes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0, np.nan, 3), "azimuth: range must be finite"),
        ((0, "20", 3), "azimuth: range must be one number"),
        ((0, 20 * u.m, 3), "azimuth: range must be one number in deg"),
        ((0, 400, 3), "azimuth: range must lie in"),
        ((0, 90, 0), "azimuth: binning must be a whole number"),
        ((90, 90, 2), "two equal ends"),
    ],
)
def test_what_is_no_range_on_the_circle(arguments, match):
    with pytest.raises(ProdconfError, match=match):
        circular_values(*arguments)


def test_files_that_hold_no_axes(tmp_path):
    for name, text, match in (
        ("a.yml", "3", "a.yml: axes must map names"),
        ("b.yml", "zenith: 20", "b.yml: axis zenith: needs a unit"),
        ("c.yml", "[", "is not valid YAML"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ProdconfError, match=match):
            read_axes(tmp_path / name)
    with pytest.raises(FileError, match="axis zenith: needs a unit") as caught:
        read_axes(tmp_path / "b.yml")
    assert caught.value.path == tmp_path / "b.yml"
    with pytest.raises(ProdconfError, match=r"missing\.yml"):
        read_axes(tmp_path / "missing.yml")


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-400, 400),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["20 deg", "1 m", "310 deg 20 deg 3 linear", "0 60 3 1/cos", "deg", "log", "dark", "1e999 deg"]),
)
WORDS = "zenith azimuth nsb axes axis offset ra dec hour_angle tilt range binning values value units unit scaling"
NAMED = st.sampled_from(WORDS.split())
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMED, inner, max_size=4), max_leaves=12
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=TREES.filter(lambda tree: not isinstance(tree, str)), angle_unit=st.sampled_from(["", "deg"]))
def test_any_tree_is_read_or_refused(tree, angle_unit):
    with suppress(ProdconfError), warnings.catch_warnings():  # any other exception fails the test
        warnings.simplefilter("ignore", ProdconfWarning)
        for axis in read_axes(tree, angle_unit=angle_unit):
            assert len(axis) > 0
            assert axis.kind in KINDS
            assert axis.holds_words or np.isfinite(axis.values).all()


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(["zenith", "azimuth", "nsb", "tilt", "hour_angle"]),
    ends=st.tuples(*[st.floats(-400, 400) | st.sampled_from(["20 deg", "0.3 rad", "2", "3 MHz"])] * 2),
    n=st.integers(-1, 5),
    scaling=st.sampled_from(["linear", "log", "cos", "1/cos", "x"]),
    unit=st.sampled_from([None, "deg", "rad", "MHz", ""]),
)
def test_any_range_is_read_or_refused(name, ends, n, scaling, unit):
    entry = {"range": list(ends), "binning": n, "scaling": scaling, "units": unit}
    with suppress(ProdconfError), warnings.catch_warnings():
        warnings.simplefilter("ignore", ProdconfWarning)
        axis = one(entry, name)
        assert len(axis) == n
        assert np.unique(axis.values).size == n


def test_a_million_values_are_read():
    assert len(one({"range": [0, 60], "binning": 1_000_000, "scaling": "1/cos", **DEG})) == 1_000_000
    assert len(one(np.linspace(0, 60, 200_000) * u.deg)) == 200_000
    with pytest.raises(ProdconfError, match="must hold at most 1000000 values, got 1000001"):
        one(np.arange(1_000_001), "tilt")
