"""Points of a production from every kind of file, against products and lists made by hand."""

import json
import warnings
from contextlib import suppress
from itertools import product

import numpy as np
import pytest
import yaml
from astropy import units as u
from astropy.table import QTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.limits.merging import TablePlaces, missing_points, read_points


def one_place(zenith, azimuth, level=np.nan, label=""):
    """A single place."""
    return TablePlaces(np.array([zenith]), np.array([azimuth]), np.array([level]), np.array([label]))


def as_set(points):
    """TablePlaces as plain tuples."""
    p = points.places
    levels = [None if np.isnan(level) else float(level) for level in p.nsb_level]
    return set(zip(p.zenith.tolist(), p.azimuth.tolist(), levels, p.nsb_label.tolist(), strict=True))


@given(st.floats(0, 89), st.floats(-360, 360), st.floats(0.1, 10), st.integers(-2, 2))
def test_a_place_is_itself_after_turns_and_storage_in_32_bits(zenith, azimuth, level, turns):
    stored = one_place(np.float32(zenith), np.float32(azimuth + 360 * turns), np.float32(level))
    assert stored.at(one_place(zenith, azimuth, level), 0).tolist() == [True]


@pytest.mark.parametrize(
    "other",
    [(20.1, 0, 0.24), (20, 0.1, 0.24), (20, 0, 0.25), (20, 180, 0.24), (20, 0, np.nan, "dark"), (20, 0, np.nan)],
)
def test_other_places_are_others(other):
    assert one_place(20, 359.98, 0.24).at(one_place(20, 0.0, 0.24), 0).tolist() == [True]
    assert one_place(20, 0.0, 0.24).at(one_place(*other), 0).tolist() == [False]


def test_words_are_compared_as_words_and_no_sky_fits_all_only_when_asked():
    dark = one_place(20, 0, label="dark")
    assert dark.at(one_place(20, 0, label="dark"), 0)[0]
    assert not dark.at(one_place(20, 0, label="moon"), 0)[0]
    assert not dark.at(one_place(20, 0), 0)[0]
    assert dark.at(one_place(20, 0), 0, any_sky=True)[0]
    assert one_place(20, 0, 0.24, "dark").at(one_place(20, 0, 0.24), 0)[0]  # the levels agree


def test_the_real_axes_and_the_real_grid_are_the_same_pointings(shared_data):
    folder = shared_data / "configuration"
    axes, grid = (read_points(folder / name) for name in ("axes_v0.16.yml", "production_grid_points_v0.36.ecsv"))
    pointings = set(product((30.0, 40.0), (310.0, 345.0, 20.0)))
    assert {point[:2] for point in as_set(axes)} == {point[:2] for point in as_set(grid)} == pointings
    assert {point[2] for point in as_set(axes)} == {4.0, 5.0}
    assert set(grid.array_name.tolist()) == {"LSTN-01"}
    assert set(grid.primary_particle.tolist()) == {"gamma"}
    assert "offset" in axes.notes[0]
    assert "given in MHz and compared as it stands" in axes.notes[1]
    newest = read_points(folder / "production_grid_v0.36.yml")
    assert {point[:2] for point in as_set(newest)} == pointings
    with pytest.raises(ProdconfError, match="celestial"):
        read_points(folder / "axes_ra_dec_v0.30.yml")


@pytest.mark.parametrize("generation", ["v0.16", "v0.33"])
def test_a_table_of_limits_is_a_grid_too(shared_data, generation):
    points = read_points(shared_data / "limits" / f"corsika_limits_{generation}.ecsv")
    assert {point[:2] for point in as_set(points)} == set(product((20.0, 40.0, 52.0, 60.0), (0.0, 180.0)))
    words = {point[3] for point in as_set(points)}
    assert words == ({"dark", "moon"} if generation == "v0.16" else {""})


def test_all_forms_say_the_same(tmp_path):
    product_of = set(product((20.0, 40.0), (10.0, 350.0), (0.24, 1.2), ("",)))
    listed = [
        {"zenith_angle": {"value": z, "unit": "deg"}, "azimuth": {"value": np.deg2rad(a), "unit": "rad"}, "nsb": b}
        for z, a, b, _ in sorted(product_of)
    ]
    (tmp_path / "list.json").write_text(json.dumps(listed + listed))
    (tmp_path / "plain.yml").write_text("zenith: [20, 40 deg]\nazimuth: [10, -10]\nnsb_level: [0.24, 1.2]\n")
    (tmp_path / "axes.yml").write_text(
        "axes:\n  zenith_angle: {range: [20, 40], binning: 2}\n  azimuth: {range: [350, 10], binning: 2, units: deg}\n"
        "  nsb: {values: [0.24, '1.2']}\n"
    )
    (tmp_path / "lines.yml").write_text(
        "- azimuth 350 deg 10 deg 2 linear\n- zenith 1200 arcmin 2400 arcmin 2 1/cos\n- nsb_rate 0.24 1.2 2 log\n"
    )
    (tmp_path / "axis.yml").write_text(
        "applications:\n- configuration:\n    primary: proton\n    axis: [azimuth 350 deg 10 deg 2 linear, "
        "zenith 20 deg 40 deg 2 cos, offset 0 deg 10 deg 2, nsb_level 0.24 1.2 2]\n"
    )
    (tmp_path / "list.yml").write_text(
        "\n".join(f"- {{zenith: {z}, azimuth: {a}, nsb: {b}}}" for z, a, b, _ in product_of)
    )
    columns = np.array(sorted(point[:3] for point in product_of)).T
    table = QTable({"zenith": columns[0] * u.deg, "azimuth_angle": np.deg2rad(columns[1]) * u.rad, "nsb": columns[2]})
    table.write(tmp_path / "table.ecsv")
    for name in ("list.json", "plain.yml", "axes.yml", "lines.yml", "axis.yml", "list.yml", "table.ecsv"):
        found = {(*np.round(point[:3], 9).tolist(), point[3]) for point in as_set(read_points(tmp_path / name))}
        assert found == product_of, name


@pytest.mark.parametrize(
    ("axis", "zenith"),
    [
        ("{range: [20, 60], binning: 3, scaling: 1/cos}", np.rad2deg(np.arccos(2 / (2 + 1 / np.cos(np.deg2rad(20)))))),
        ("{range: [20, 60], binning: 3, scaling: cos}", np.rad2deg(np.arccos((0.5 + np.cos(np.deg2rad(20))) / 2))),
        ("{range: [1200, 3600], binning: 3, units: arcmin}", 40.0),
        ("20 deg 60 deg 3", 40.0),
        ("{values: [0.7], units: rad}", np.rad2deg(0.7)),
    ],
)
def test_scalings_units_and_full_turns(tmp_path, axis, zenith):
    (tmp_path / "grid.yml").write_text(f"zenith: {axis}\nazimuth: {{range: [-180, 180], binning: 4}}\nnsb: dark\n")
    points = read_points(tmp_path / "grid.yml")
    found = points.places
    middle = len(found) // 8 * 4
    np.testing.assert_allclose(found.zenith[middle : middle + 4], zenith, rtol=1e-13)
    assert found.azimuth[:4].tolist() == [180.0, 270.0, 0.0, 90.0]
    assert set(found.nsb_label.tolist()) == {"dark"}


def test_an_ambiguous_range_warns(tmp_path):
    (tmp_path / "grid.yml").write_text("zenith: 20\nazimuth: {range: [20, 10], binning: 3}\n")
    with pytest.warns(ProdconfWarning, match=r"grid.yml: axis azimuth: range \[20, 10\] is ambiguous"):
        assert read_points(tmp_path / "grid.yml").places.azimuth.tolist() == [20.0, 15.0, 10.0]


def test_a_large_grid_is_made_from_whole_arrays(tmp_path):
    text = "zenith 0 deg 60 deg 100 cos, azimuth 0 deg 360 deg 100, nsb 0.2 2 {} log"
    (tmp_path / "grid.yml").write_text(f"axis: [{text.format(100)}]")
    points = read_points(tmp_path / "grid.yml")
    assert len(points) == 1_000_000
    assert points.places.text(999_999) == "zenith 60 deg, azimuth 356.4 deg, nsb_level 2"
    (tmp_path / "grid.yml").write_text(f"axis: [{text.format(101)}]")
    with pytest.raises(ProdconfError, match="axes must make at most 1000000 points, got 1010000"):
        read_points(tmp_path / "grid.yml")


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.yml", "zenith: [20]", "has no azimuth"),
        ("a.yml", "[]", "points: .* at least 1 item"),
        ("a.yml", "- 3", "must hold axes, or a list of points"),
        ("a.yml", "zenith: 90\nazimuth: 0", r"zenith must lie in \[0, 90\) deg, got 90"),
        ("a.yml", "zenith: 20\nazimuth: 361", "azimuth must lie in"),
        ("a.yml", "zenith: 20 m\nazimuth: 0", "axis zenith: must be convertible to 'deg', got the unit 'm'"),
        ("a.yml", "zenith: 20\nazimuth: 0\nnsb: 0", "nsb must be positive, got 0"),
        ("a.yml", "zenith: 20\nazimuth: 0\nnsb: [[1]]", "axis nsb: must be numbers or words"),
        ("a.yml", "- {zenith: 20, azimuth: 0, nsb: [1]}", "points.0.nsb: must be a number or a word"),
        ("a.yml", "- {zenith: 20 m, azimuth: 0}", "zenith: must have a unit convertible to deg, got '20 m'"),
        ("a.yml", "zenith: 20\nazimuth: 0\nnsb: [0.24, dark]", "axis nsb: must not mix words and numbers"),
        ("a.yml", "zenith: 20\nazimuth: 0\ndec: 3", "axis dec is celestial"),
        ("a.yml", "zenith: 20\nazimuth: 0\narray_name: [1]", "array_name.0: .*string, got 1"),
        ("a.yml", "zenith: 20\nazimuth: 0\nprimary: a\nparticle: b", "unknown key particle"),
        ("a.yml", "zenith: {range: [40, 20], binning: 2}\nazimuth: 0", "range must not be reversed"),
        ("a.yml", "zenith: 20\nazimuth: 0\nsize: 3", "unknown axis 'size'"),
        ("a.yml", "axes: [azimuth 310 deg 20 deg 3 linear]", r"has no zenith \(it has azimuth\)"),
        ("a.yml", "axes: 3", "axes must map names to axes"),
        ("a.yml", "zenith: {range: [20], binning: 3}\nazimuth: 0", "range must be two numbers"),
        ("a.yml", "zenith: {range: [20, 30], binning: 0}\nazimuth: 0", "binning must be a whole number"),
        ("a.yml", "zenith: {range: [20, .inf], binning: 2}\nazimuth: 0", "values must be finite"),
        ("a.yml", "zenith: {range: [1, 2], binning: 2, units: rad}\nazimuth: 0", r"zenith must lie in \[0, 90\) deg"),
        ("a.yml", "zenith: {range: [1, 2], binning: 2, scaling: sec}\nazimuth: 0", "scaling: Input should be"),
        ("a.yml", "zenith: 20\nazimuth: {range: [0, 720], binning: 5}", "range must lie in"),
        ("a.yml", "zenith: []\nazimuth: 0", "must hold at least one value"),
        ("a.json", "{]", "cannot be read as JSON"),
        ("a.json", "[{}]", "points.0.zenith is missing"),
        ("a.json", '[{"zenith": NaN, "azimuth": 0}]', "points.0.zenith: .*got nan"),
        ("a.ecsv", "zenith azimuth\n1 2\n", "is not a valid ECSV table"),
        ("missing.yml", None, "missing.yml"),
        ("missing.json", None, "grid: .*missing.json: no file found"),
        ("missing.ecsv", None, "missing.ecsv"),
    ],
)
def test_what_holds_no_points_is_refused(tmp_path, name, text, match):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ProdconfError, match=match):
        read_points(tmp_path / name)


def test_missing_points_against_a_loop(tmp_path):
    """Every array and particle that is anywhere must be everywhere."""
    rng = np.random.default_rng(3)
    (tmp_path / "grid.yml").write_text("zenith: [20, 40, 60]\nazimuth: [0, 120, 240]\nnsb: [0.24, 1.2]\n")
    expected = read_points(tmp_path / "grid.yml")
    kinds = [("alpha", "gamma"), ("alpha", "proton"), ("LSTs", "gamma")]
    everything = [(*kind, i) for kind in kinds for i in range(len(expected))]
    there = [everything[i] for i in rng.permutation(len(everything))[:40]]
    p = expected.places
    index = np.array([i for *_, i in there])
    rows = TablePlaces(p.zenith[index], p.azimuth[index], p.nsb_level[index], p.nsb_label[index])
    found = missing_points(expected, rows, [a for a, *_ in there], [b for _, b, _ in there])
    assert set(found) == {f"{b}, {a}: {p.text(i)}" for a, b, i in set(everything) - set(there)}
    assert len(found) == len(everything) - 40


def test_points_that_name_an_array_are_wanted_for_it_only(tmp_path):
    (tmp_path / "grid.yml").write_text("zenith: 20\nazimuth: 0\narray_name: [alpha, beta]\nprimary: gamma\n")
    rows = one_place(20.0, 0.0, 0.24)
    found = missing_points(read_points(tmp_path / "grid.yml"), rows, ["alpha"], ["gamma"])
    assert found == ["gamma, beta: zenith 20 deg, azimuth 0 deg"]


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-400, 400),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["20 deg", "1 m"]),
)
KEYS = st.sampled_from(
    [
        "zenith",
        "azimuth",
        "nsb",
        "axes",
        "offset",
        "range",
        "binning",
        "values",
        "units",
        "scaling",
        "array_name",
        "value",
    ]
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES, suffix=st.sampled_from(["yml", "json"]))
def test_any_tree_is_read_or_refused_in_one_sentence(tmp_path, tree, suffix):
    path = tmp_path / f"tree.{suffix}"
    path.write_text(yaml.safe_dump(tree) if suffix == "yml" else json.dumps(tree))
    with suppress(ProdconfError), warnings.catch_warnings():  # any other exception fails the test
        warnings.simplefilter("ignore", ProdconfWarning)
        points = read_points(path)
        assert len(points) > 0
        assert ((points.places.zenith >= 0) & (points.places.zenith < 90)).all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40))
def test_a_damaged_table_is_read_or_refused(shared_data, tmp_path, seed, n):
    rng = np.random.default_rng(seed)
    text = bytearray((shared_data / "configuration" / "production_grid_points_v0.36.ecsv").read_bytes())
    for place in rng.integers(0, len(text), n):
        text[place] = rng.integers(32, 127)
    (tmp_path / "t.ecsv").write_bytes(bytes(text))
    with suppress(ProdconfError):
        assert len(read_points(tmp_path / "t.ecsv")) > 0
