"""GridGeneration: nodes of real tables, properties of axes, astropy point by point, the predecessor where right."""

import copy
import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.table import QTable
from astropy.time import Time
from astropy.utils import iers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.generate_production_grid import GridGeneration, add_requirements
from prodconf.limits.table import LIMIT_UNITS, read_limits, write_limits
from prodconf.sky.sites import SITES

MOMENT = {"observing_location": "CTAO-North", "observing_time": "2026-11-22T03:00:00"}
AXES = {
    "azimuth": {"range": [0, 180], "binning": 3, "scaling": "linear", "units": "deg"},
    "zenith_angle": {"range": [20, 60], "binning": 4, "scaling": "1/cos", "units": "deg"},
    "nsb": {"values": [0.24, 0.4]},
    "offset": {"range": [0, 10], "binning": 2, "units": "deg"},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of limits that are straight in the coordinates of the interpolation, but for the azimuth."""
    zenith, azimuth, level = (
        a.ravel() for a in np.meshgrid([20.0, 40.0, 52.0, 60.0], [0.0, 180.0], [0.24, 0.4], indexing="ij")
    )
    secant = 1 / np.cos(np.deg2rad(zenith))
    rows = QTable(
        {
            "primary_particle": ["gamma"] * zenith.size,
            "array_name": ["4LST"] * zenith.size,
            "zenith": zenith * u.deg,
            "azimuth": azimuth * u.deg,
            "nsb_level": level,
            "lower_energy_limit": 0.004 * secant**3 * level * u.TeV,
            "upper_radius_limit": (900 * (1 + np.log(secant))) * u.m,
            "viewcone_radius": np.full(zenith.size, 8.0) * u.deg,
            "br_energy_max": np.full(zenith.size, 300.0) * u.TeV,
        }
    )
    path = tmp_path_factory.mktemp("limits") / "limits.ecsv"
    write_limits(rows, path)
    return path


def column(grid, name):
    values = grid[name]
    return np.asarray(getattr(values, "value", values))


# the documented class


def test_points_are_the_product_with_the_last_axis_fastest(table):
    grid = GridGeneration({"axes": AXES}, lookup_table=table).generate_table()
    assert len(grid) == 48
    expected = [
        (a, z, n, o)
        for a in (0.0, 90.0, 180.0)
        for z in np.degrees(np.arccos(1 / np.linspace(1 / np.cos(np.deg2rad(20)), 2.0, 4)))
        for n in (0.24, 0.4)
        for o in (0.0, 10.0)
    ]
    found = np.stack([column(grid, name) for name in AXES], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_limits_are_the_closed_form(table):
    """What is straight in ln sec z and ln b is interpolated exactly."""
    grid = GridGeneration(AXES, lookup_table=table).generate_table()
    secant = 1 / np.cos(np.deg2rad(column(grid, "zenith_angle")))
    np.testing.assert_allclose(column(grid, "lower_energy_limit"), 0.004 * secant**3 * column(grid, "nsb"), rtol=1e-9)
    np.testing.assert_allclose(column(grid, "upper_radius_limit"), 900 * (1 + np.log(secant)), rtol=1e-9)
    assert not column(grid, "extrapolated").any()
    assert set(grid["viewcone_radius_verdict"].astype(str)) == {"unstated"}


def test_list_and_table_say_the_same(table):
    maker = GridGeneration(AXES, lookup_table=table)
    grid, points = maker.generate_table(), maker.generate_grid()
    assert list(points[0]) == [*AXES, "energy_threshold", "radius", "viewcone"]
    for row, point in zip(grid, points, strict=True):
        assert point["azimuth"] == row["azimuth"]
        assert point["nsb"] == row["nsb"]
        assert point["energy_threshold"] == {"lower": row["lower_energy_limit"]}
        assert (point["radius"], point["viewcone"]) == (row["upper_radius_limit"], row["viewcone_radius"])


def test_without_a_table_there_are_points_without_limits():
    points = GridGeneration(AXES).generate_grid()
    assert list(points[0]) == list(AXES)
    assert len(points) == 48


PREDECESSOR = {  # gammasimtools 0.16.0, telescope 1, at the rows "moon" of its own table
    (0.0, 20.0): (0.00306610856205225, 1897.8974836787138, 9.98414134979248),
    (0.0, 40.0): (0.006099299993366003, 2197.7540178728586, 9.990065574645996),
    (180.0, 20.0): (0.0030603690538555384, 1898.1179931963907, 9.989261627197266),
    (180.0, 40.0): (0.006109977141022682, 2197.8192341644162, 9.988126754760742),
}


def test_json_of_the_predecessor_where_it_is_right(shared_data, tmp_path):
    """It is right at the nodes of a single axis of words; there its JSON comes out again."""
    axes = {
        "azimuth": {"range": [0, 180], "binning": 2, "scaling": "linear", "units": "deg"},
        "zenith_angle": {"range": [20, 40], "binning": 2, "scaling": "linear", "units": "deg"},
        "offset": {"range": [0, 10], "binning": 2, "scaling": "linear", "units": "deg"},
        "nsb": ["moon"],
    }
    source = shared_data / "limits" / "corsika_limits_v0.16.ecsv"
    grid = GridGeneration({"axes": axes}, lookup_table=source, telescope_ids=[1])
    grid.serialize_grid_points(grid.generate_grid(), tmp_path / "grid.json")
    points = json.loads((tmp_path / "grid.json").read_text())
    assert len(points) == 8
    for point in points:
        energy, radius, cone = PREDECESSOR[point["azimuth"]["value"], point["zenith_angle"]["value"]]
        assert point["energy_threshold"] == {"lower": {"value": pytest.approx(energy, rel=1e-6), "unit": "TeV"}}
        assert point["radius"] == {"value": pytest.approx(radius, rel=1e-12), "unit": "m"}
        assert point["viewcone"] == {"value": pytest.approx(cone, rel=1e-6), "unit": "deg"}
        assert set(point) == {"azimuth", "zenith_angle", "offset", "nsb", "energy_threshold", "radius", "viewcone"}


def test_axes_of_the_predecessor_load_unchanged(shared_data):
    folder = shared_data / "configuration"
    points = GridGeneration(folder / "axes_v0.16.yml").generate_grid()
    assert len(points) == 24
    assert points[0] == {"azimuth": 310 * u.deg, "zenith_angle": 30 * u.deg, "nsb": 4 * u.MHz, "offset": 0 * u.deg}
    assert sorted({point["azimuth"].value for point in points}) == [20.0, 310.0, 345.0]
    sky = GridGeneration(folder / "axes_ra_dec_v0.30.yml", "ra_dec").generate_table()
    assert len(sky) == 36 * 18 * 2
    assert len(GridGeneration(folder / "production_grid_v0.36.yml").generate_grid()) == 12


# limits


CHOICES = [
    ("v0.16", {"telescope_ids": []}),
    ("v0.19", {"telescope_ids": ["LSTN-01"]}),
    ("v0.32", {"array_name": "CTAO-North-Alpha", "primary_particle": "gamma"}),
    ("v0.33", {"array_name": "CTAO-North-Alpha", "primary_particle": "gamma"}),
]


@pytest.mark.parametrize(("generation", "choice"), CHOICES)
def test_nodes_of_real_tables_are_exact(shared_data, generation, choice):
    path = shared_data / "limits" / f"corsika_limits_{generation}.ecsv"
    rows = read_limits(path)
    if "telescope_ids" in choice:
        keep = [list(ids) == choice["telescope_ids"] for ids in rows["telescope_ids"]]
    else:
        keep = (rows["array_name"] == choice["array_name"]) & (rows["primary_particle"] == choice["primary_particle"])
    rows = rows[keep]
    for row in rows:
        word = str(row["nsb_label"])
        axes = {
            "zenith_angle": row["zenith"],
            "azimuth": row["azimuth"],
            "nsb": [word] if word else float(row["nsb_level"]),
        }
        grid = GridGeneration(axes, lookup_table=path, **choice).generate_table()
        for name, unit in LIMIT_UNITS.items():
            assert grid[name][0].to_value(unit) == row[name].to_value(unit)
            assert grid[f"{name}_verdict"][0] != b""


def test_twenty_degrees_are_not_three_hundred_and_ten(shared_data):
    """The range of the predecessor's own example: every azimuth has its own limit."""
    axes = {"azimuth": "310 deg 20 deg 3 linear", "zenith": "40 deg", "nsb": ["dark"]}
    source = shared_data / "limits" / "corsika_limits_v0.16.ecsv"
    grid = GridGeneration(axes, lookup_table=source, telescope_ids=[1]).generate_table()
    assert len(set(column(grid, "upper_radius_limit").tolist())) == 3


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turn=st.sampled_from([-360.0, 0.0, 360.0]), first=st.floats(0, 359), zenith=st.floats(20, 60))
def test_azimuth_is_periodic(table, turn, first, zenith):
    axes = {"azimuth": first * u.deg, "zenith": zenith * u.deg, "nsb": 0.3}
    other = axes | {"azimuth": (first + turn if -360 <= first + turn <= 360 else first) * u.deg}
    one, two = (GridGeneration(each, lookup_table=table).generate_table() for each in (axes, other))
    for name in LIMIT_UNITS:
        np.testing.assert_allclose(column(one, name), column(two, name), rtol=1e-12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(list(AXES)), unit=st.sampled_from(["deg", "rad", "arcmin"]))
def test_order_of_axes_and_units_change_no_limit(table, order, unit):
    scaled = {
        name: AXES[name]
        if name == "nsb"
        else {
            "values": GridGeneration({name: AXES[name]}).generate_table()[name].to_value(unit).tolist(),
            "units": unit,
        }
        for name in order
    }
    one = GridGeneration(AXES, lookup_table=table).generate_table()
    two = GridGeneration(scaled, lookup_table=table).generate_table()
    assert [name for name in two.colnames if name in AXES] == list(order)
    first, second = (
        grid[np.lexsort([np.round(column(grid, name), 9) for name in sorted(AXES)])] for grid in (one, two)
    )
    for name in [*AXES, *LIMIT_UNITS]:
        np.testing.assert_allclose(column(first, name), column(second, name), rtol=1e-9, atol=1e-9)


def test_beyond_the_table(table):
    axes = {"azimuth": "90 deg", "zenith_angle": ["50 deg", "70 deg"], "nsb": 0.3}
    with pytest.raises(ProdconfError, match=r"zenith 70 deg.*outside"):
        GridGeneration(axes, lookup_table=table).generate_grid()
    grid = GridGeneration(axes, lookup_table=table, extrapolate="nearest")
    assert column(grid.generate_table(), "extrapolated").tolist() == [False, True]
    assert ["extrapolated" in point for point in grid.generate_grid()] == [False, True]
    edge = GridGeneration(axes | {"zenith_angle": "60 deg"}, lookup_table=table).generate_table()
    np.testing.assert_allclose(
        column(grid.generate_table(), "lower_energy_limit")[1], column(edge, "lower_energy_limit")
    )


def test_rounding_goes_outward(table):
    maker = GridGeneration(AXES, lookup_table=table)
    plain, rounded = maker.generate_table(), maker.generate_table(rounding="1 GeV, 25 m, 0.3 deg")
    assert (rounded["lower_energy_limit"] <= plain["lower_energy_limit"]).all()
    assert (rounded["upper_radius_limit"] >= plain["upper_radius_limit"]).all()
    assert (rounded["viewcone_radius"] >= plain["viewcone_radius"]).all()
    assert np.allclose(column(rounded, "upper_radius_limit") % 25, 0)


def test_verdicts_travel(table, tmp_path):
    rows = read_limits(table)
    words = ["truncated" if zenith == 60 else "ok" for zenith in rows["zenith"].value]
    rows["lower_energy_limit_verdict"] = words
    write_limits(rows, tmp_path / "limits.ecsv")
    grid = GridGeneration(AXES, lookup_table=tmp_path / "limits.ecsv").generate_table()
    beyond = column(grid, "zenith_angle") > 52
    assert (grid["lower_energy_limit_verdict"][beyond].astype(str) == "truncated").all()
    assert (grid["lower_energy_limit_verdict"][~beyond].astype(str) == "ok").all()


# the sky


def truth(zenith, azimuth):
    """Turn directions with astropy, one by one."""
    site = SITES["CTAO-North"]
    place = EarthLocation.from_geodetic(site.longitude * u.deg, site.latitude * u.deg, site.height * u.m)
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
        frame = AltAz(location=place, obstime=Time("2026-11-22T03:00:00"))
        return [
            SkyCoord(az=a * u.deg, alt=(90 - z) * u.deg, frame=frame).icrs for z, a in zip(zenith, azimuth, strict=True)
        ]


def test_radec_agrees_with_astropy_point_by_point():
    maker = GridGeneration(AXES, "ra_dec", **MOMENT)
    grid = maker.generate_table()
    places = truth(column(grid, "zenith_angle")[::5], column(grid, "azimuth")[::5])
    found = SkyCoord(grid["ra"][::5], grid["dec"][::5])
    assert max(a.separation(b).arcsec for a, b in zip(places, found, strict=True)) < 0.01
    points = maker.convert_coordinates(maker.generate_grid())
    np.testing.assert_allclose([point["ra"].value for point in points], column(grid, "ra"), atol=1e-9)
    np.testing.assert_allclose([point["dec"].value for point in points], column(grid, "dec"), atol=1e-9)


def test_convert_coordinates_leaves_its_input_alone():
    maker = GridGeneration(AXES, "ra_dec", **MOMENT)
    points = maker.generate_grid()
    before = copy.deepcopy(points)
    turned = maker.convert_coordinates(points)
    assert points == before
    assert list(turned[0]) == ["nsb", "offset", "ra", "dec"]
    assert maker.convert_coordinates(turned) == turned
    plain = GridGeneration(AXES)
    assert plain.convert_coordinates(points) == points
    assert plain.convert_coordinates([]) == []


def test_convert_altaz_to_radec_takes_scalars_and_arrays():
    maker = GridGeneration(AXES, "ra_dec", **MOMENT)
    one, many = maker.convert_altaz_to_radec(70, 180), maker.convert_altaz_to_radec([[70, 50]] * u.deg, 180 * u.deg)
    assert one.shape == ()
    assert many.shape == (1, 2)
    assert one.separation(many[0, 0]).arcsec < 1e-6


def test_celestial_grids_lose_what_is_below_the_horizon(table):
    axes = {"ra": "0 deg 360 deg 12 linear", "dec": "-80 deg 80 deg 9 linear", "offset": ["0 deg", "1 deg"]}
    maker = GridGeneration(axes, "ra_dec", **MOMENT, lookup_table=table, extrapolate="nearest")
    # the table has two skies, so the grid must say which
    with pytest.raises(ProdconfError, match="nsb_level must be given"):
        maker.generate_table()
    grid = GridGeneration(
        axes | {"nsb": 0.24}, "ra_dec", **MOMENT, lookup_table=table, extrapolate="nearest"
    ).generate_table()
    assert 0 < len(grid) < 12 * 9 * 2
    assert (column(grid, "zenith_angle") < 90).all()
    assert any("below the horizon" in note for note in grid.meta["notes"])
    places = truth(column(grid, "zenith_angle")[::9], column(grid, "azimuth")[::9])
    found = SkyCoord(grid["ra"][::9], grid["dec"][::9])
    assert max(a.separation(b).arcsec for a, b in zip(places, found, strict=True)) < 0.01


def test_hour_angles_need_no_time(table):
    axes = {"hour_angle": ["-30 deg", "0 deg", "30 deg"], "dec": ["20 deg", "28.7622 deg"], "nsb": 0.24}
    grid = GridGeneration(axes, observing_location="CTAO-North", lookup_table=table, extrapolate="nearest")
    found = grid.generate_table()
    east, west = found[found["hour_angle"] == -30 * u.deg], found[found["hour_angle"] == 30 * u.deg]
    np.testing.assert_allclose(east["zenith_angle"].value, west["zenith_angle"].value, atol=1e-9)
    np.testing.assert_allclose((east["azimuth"] + west["azimuth"]).value, 360, atol=1e-9)
    assert found["zenith_angle"][found["hour_angle"] == 0 * u.deg][1].value < 0.01


def test_window_cuts_every_kind_of_grid(table):
    window = {"zenith_angle": [0, 45], "azimuth": [300, 100], "units": "deg"}
    for axes, options in (
        (AXES, {}),
        ({"ra": "0 deg 360 deg 24 linear", "dec": "-20 deg 80 deg 11 linear"}, MOMENT),
        ({"sky": {"density": "0.01 / deg2", "zenith": [0, 60], "units": "deg"}}, {}),
    ):
        grid = GridGeneration(axes | {"window": window}, "ra_dec" if "ra" in axes else "zenith_azimuth", **options)
        found = grid.generate_table()
        assert len(found)
        assert (found["zenith_angle"].value <= 45 + 1e-6).all()
        azimuth = found["azimuth"].value
        assert ((azimuth >= 300 - 1e-6) | (azimuth <= 100 + 1e-6)).all()
        assert found.meta["notes"]


def test_a_density_is_one_everywhere_and_words_of_the_sky_are_understood(shared_data):
    axes = {
        "sky": {"density": "0.02 / deg2", "zenith": [20, 60], "azimuth": [0, 360], "units": "deg"},
        "nsb": ["dark", "moon"],
    }
    source = shared_data / "limits" / "corsika_limits_v0.16.ecsv"
    grid = GridGeneration(axes, lookup_table=source, telescope_ids=[1]).generate_table()
    area = 2 * np.pi * (np.cos(np.deg2rad(20)) - 0.5) * (180 / np.pi) ** 2
    assert len(grid) == pytest.approx(2 * 0.02 * area, rel=0.05)
    dark, moon = (grid[grid["nsb"] == word] for word in ("dark", "moon"))
    assert (dark["azimuth"] == moon["azimuth"]).all()
    assert not (dark["lower_energy_limit"] == moon["lower_energy_limit"]).all()


# events and cost


def test_events_and_cost(table):
    grid = GridGeneration(AXES, lookup_table=table).generate_table()
    add_requirements(grid, 1e6, cost={"seconds_per_event": "3.6 s", "bytes_per_event": "1 kB"}, n_use=10)
    np.testing.assert_allclose(grid["cpu_time"].to_value("h"), 1000)
    np.testing.assert_allclose(grid["storage"].to_value("Gbyte"), 1)
    add_requirements(grid, np.arange(1, 49) * 100.0)
    assert column(grid, "n_events")[-1] == 4800
    energies = GridGeneration(AXES, lookup_table=table).generate_table()
    add_requirements(energies, 1e4, cost={"seconds_per_tev": "1 h / TeV"}, index=2.0)
    low, high = energies["lower_energy_limit"].value, 300.0
    mean = np.log(high / low) / (1 / low - 1 / high)
    np.testing.assert_allclose(energies["cpu_time"].to_value("h"), 1e4 * mean, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((0,), {}, "required_events must be positive"),
        (([1, 2],), {}, "required_events must be one number, or one for each of 48"),
        ((1e6,), {"cost": {"seconds_per_year": "1 s"}}, "unknown key 'seconds_per_year'"),
        (
            (1e6,),
            {"cost": {"seconds_per_event": "1 s"}, "energy_max": "3 m"},
            "energy_max: must have a unit convertible to TeV",
        ),
    ],
)
def test_requirements_that_are_none(table, arguments, options, words):
    grid = GridGeneration(AXES, lookup_table=table).generate_table()
    with pytest.raises(ProdconfError, match=words):
        add_requirements(grid, *arguments, **options)


def test_cost_needs_limits():
    with pytest.raises(ProdconfError, match="give a lookup_table"):
        add_requirements(GridGeneration(AXES).generate_table(), 1e6, cost={"seconds_per_event": "1 s"})


# binning, serialising


def test_circular_binning():
    maker = GridGeneration(AXES)
    np.testing.assert_allclose(maker.create_circular_binning((310, 20), 3), [310, 345, 20])
    np.testing.assert_allclose(maker.create_circular_binning((0, 360), 4), [0, 90, 180, 270])
    np.testing.assert_allclose(maker.create_circular_binning((20, 310) * u.deg, 2), [20, 310])
    with pytest.warns(ProdconfWarning, match="short"):
        np.testing.assert_allclose(maker.create_circular_binning((350, 300), 3), [350, 325, 300])


def test_serialising_to_the_console_and_to_files(table, tmp_path):
    maker = GridGeneration(AXES, lookup_table=table)
    points = maker.generate_grid()
    shown = io.StringIO()
    with redirect_stdout(shown):
        text = maker.serialize_grid_points(points)
    assert maker.serialize_grid_points(points, tmp_path / "grid.json") == text
    assert (tmp_path / "grid.json").read_text() == shown.getvalue() == text
    maker.serialize_grid_points(maker.generate_table(), tmp_path / "grid.ecsv")
    read = QTable.read(tmp_path / "grid.ecsv")
    assert read.meta["provenance"]["inputs"][0]["file"] == "limits.ecsv"
    np.testing.assert_array_equal(
        read["lower_energy_limit"].value, [p["energy_threshold"]["lower"].value for p in points]
    )
    with pytest.raises(ProdconfError, match="exists"):
        maker.serialize_grid_points(points, tmp_path / "grid.json")
    assert maker.serialize_quantity(3 * u.m) == {"value": 3.0, "unit": "m"}
    assert maker.serialize_quantity("dark") == "dark"


# bad input


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, {"coordinate_system": "galactic"}, "coordinate_system must be one of zenith_azimuth, ra_dec"),
        ({}, {"extrapolate": "linear"}, "extrapolate must be None or 'nearest'"),
        ({}, {"lookup_table": "nowhere.ecsv"}, r"nowhere\.ecsv: does not exist"),
        ({}, {"array_name": "5LST"}, "array_name must be one of '4LST', got '5LST'"),
        ({}, {"primary_particle": "proton"}, "primary_particle must be one of 'gamma', got 'proton'"),
        ({}, {"telescope_ids": [1]}, "has no lists of telescopes"),
        ({}, {"telescope_ids": [1], "array_name": "4LST"}, "must not both be given"),
        ({"zenith_angle": []}, {}, "zenith_angle"),
        ({"zenith_angle": {"range": [40, 20], "binning": 2, "units": "deg"}}, {}, "reversed"),
        (
            {"zenith_angle": {"range": [20, 40], "binning": 2, "scaling": "square", "units": "deg"}},
            {},
            "scaling: Input should be",
        ),
        ({"zenith_angle": "90 deg"}, {}, r"zenith must lie in \[0, 90\)"),
        ({"zenith_angle": [20, 40]}, {}, "needs a unit"),
        ({"nsb": ["dark"]}, {}, "nsb_level must be a number, for the table knows no words"),
        ({"ra": "10 deg"}, {}, "directions must be zenith_angle and azimuth, ra and dec"),
        ({"sky": {"density": "1 / deg2"}}, {}, "sky makes the directions"),
        ({"window": {"zenith_angle": [50, 40], "units": "deg"}}, {}, "from a lower to a higher"),
        ({"window": {"zenith_angle": [0, 10], "units": "deg"}}, {}, "all 12 directions are outside the window"),
        ({"window": {"elevation": [0, 10]}}, {}, "window: unknown key elevation"),
        ({"window": {"azimuth": [0, 720], "units": "deg"}}, {}, r"azimuth must be within \[-360, 360\]"),
        ({"window": None}, {}, "window must not be empty, got None"),
        ({"radius": [1, 2]}, {}, "no axis may be called 'radius'"),
        ({"extrapolated": [1, 2]}, {}, "no axis may be called 'extrapolated'"),
        ({"level": {"values": [1], "units": "mag(AB)"}}, {}, "is no unit of a number"),
        ({"window": {"zenith_angle": [0, 10]}}, {}, "window: zenith_angle: needs a unit"),
        ({"window": {"azimuth": "10 deg"}}, {}, "azimuth must be two numbers in deg"),
        ({}, {"coordinate_system": "ra_dec"}, "observing_location must be given"),
        ({}, {"coordinate_system": "ra_dec", "observing_location": "CTAO-North"}, "observing_time must be given"),
        ({}, {"observing_location": "Atlantis"}, "Atlantis"),
        ({}, {"observing_time": "yesterday"}, "yesterday"),
    ],
)
def test_bad_input_is_one_sentence(table, change, options, words):
    arguments = {"lookup_table": table} | options
    with pytest.raises(ProdconfError, match=words) as told:
        GridGeneration(AXES | change, **arguments).generate_table()
    assert "\n" not in str(told.value)


def test_sky_and_window_may_stand_beside_the_axes():
    window = {"zenith_angle": [0, 45], "units": "deg"}
    beside, within = (
        GridGeneration(axes).generate_table()
        for axes in ({"axes": AXES, "window": window}, {"axes": AXES | {"window": window}})
    )
    assert len(beside) == len(within) < 48
    with pytest.raises(
        ProdconfError, match=r"beside axes there may be sky, .*, got sky_window \(did you mean window\?\)"
    ):
        GridGeneration({"axes": AXES, "sky_window": window})
    with pytest.raises(ProdconfError, match="window must be given once"):
        GridGeneration({"axes": AXES | {"window": window}, "window": window})


def test_azimuths_at_the_zenith_are_told():
    axes = {"zenith": ["0 deg", "20 deg"], "azimuth": "0 deg 360 deg 8 linear"}
    assert "the 8 azimuths are one direction" in GridGeneration(axes).generate_table().meta["notes"][0]
    assert not GridGeneration(AXES).generate_table().meta["notes"]


@pytest.mark.parametrize("ends", [[0, 360], [360, 0], [-180, 180], [180, -180]])
def test_a_whole_turn_is_a_whole_turn(ends):
    grid = GridGeneration(AXES | {"window": {"azimuth": ends, "units": "deg"}}).generate_table()
    assert len(grid) == 48


def test_hour_angle_grids_may_be_wanted_among_the_stars():
    axes = {"hour_angle": ["-30 deg", "0 deg", "30 deg"], "dec": ["20 deg", "60 deg"]}
    maker = GridGeneration(axes, "ra_dec", **MOMENT)
    grid, points = maker.generate_table(), maker.generate_grid()
    assert np.abs(column(grid, "dec_icrs") - column(grid, "dec")).max() < 0.5  # precession since 2000
    turned = maker.convert_coordinates(points)
    assert list(turned[0]) == ["hour_angle", "dec", "ra_icrs", "dec_icrs"]
    np.testing.assert_allclose([point["ra_icrs"].value for point in turned], column(grid, "ra_icrs"), atol=1e-9)


def test_what_is_a_step_but_for_the_last_digits_stays(tmp_path):
    """Limits of 6 GeV at two skies are 6 GeV between them, whatever the logarithms leave."""
    rows = QTable({"zenith": [20, 20] * u.deg, "azimuth": [0, 0] * u.deg, "nsb_level": [0.24, 0.84]})
    rows["array_name"], rows["primary_particle"] = ["a", "a"], ["gamma", "gamma"]
    rows["lower_energy_limit"], rows["upper_radius_limit"] = [6, 6] * u.GeV, [925, 925] * u.m
    rows["viewcone_radius"] = [8, 8] * u.deg
    write_limits(rows, tmp_path / "limits.ecsv")
    axes = {"zenith": "20 deg", "azimuth": "0 deg", "nsb": np.linspace(0.24, 0.84, 13).tolist()}
    grid = GridGeneration(axes, lookup_table=tmp_path / "limits.ecsv").generate_table(rounding="1 GeV, 25 m, 0.25 deg")
    assert set(column(grid, "lower_energy_limit").tolist()) == {0.006}


@pytest.mark.parametrize("axes", [{}, [], {"axes": {}}, None, 3])
def test_no_axes(axes):
    with pytest.raises(ProdconfError):
        GridGeneration(axes)


def test_too_many_points():
    axes = {name: {"range": [0, 80], "binning": 500, "units": "deg"} for name in ("zenith", "offset", "azimuth")}
    with pytest.raises(ProdconfError, match="1 to 50000000 points, got 125000000"):
        GridGeneration(axes).generate_table()


def test_below_the_horizon():
    maker = GridGeneration(AXES, "ra_dec", **MOMENT)
    for altitude in (-1, 0, 91, [20, -3]):
        with pytest.raises(ProdconfError, match="alt must be above the horizon"):
            maker.convert_altaz_to_radec(altitude, 0)
    with pytest.raises(ProdconfError, match="az must have a unit convertible to deg"):
        maker.convert_altaz_to_radec(20, 3 * u.m)
    with pytest.raises(ProdconfError, match="below the horizon"):
        GridGeneration(
            {"ra": "0 deg", "dec": "-89 deg", "window": {"azimuth": [0, 360], "units": "deg"}}, "ra_dec", **MOMENT
        ).generate_table()


def test_a_grid_without_zenith_has_no_limits(table):
    with pytest.raises(ProdconfError, match="must hold zenith_angle where limits are looked up"):
        GridGeneration({"azimuth": "0 deg"}, lookup_table=table).generate_table()


# --- the predecessor's configurations and job grids -------------------------------------------------------------------
def configuration(*axis, **keys):
    """A configuration of the predecessor."""
    return {"applications": [{"configuration": {"axis": list(axis)} | keys}]}


def cap(low, high, width=360.0):
    """Area of a part of the sky in deg2."""
    return np.deg2rad(width) * (np.cos(np.deg2rad(low)) - np.cos(np.deg2rad(high))) * np.rad2deg(1) ** 2


def test_a_density_makes_as_many_directions_as_the_area_asks_for():
    lines = ("azimuth 0 deg 360 deg 1 linear", "zenith 0 deg 70 deg 0 linear", "nsb 0.24 0.24 1 linear")
    table = GridGeneration(configuration(*lines, direction_grid_density="0.01 1/deg^2")).generate_table()
    assert len(table) == 136
    assert abs(len(table) - 0.01 * cap(0, 70)) < 1
    assert table["zenith_angle"].max() < 70 * u.deg
    assert set(table["nsb"]) == {0.24}
    local = {"local_zenith_range": "20 deg 60 deg", "local_azimuth_range": "300 deg 60 deg"}
    table = GridGeneration(configuration(*lines, direction_grid_density="0.25 1/deg^2", **local)).generate_table()
    assert len(table) == pytest.approx(0.25 * cap(20, 60, 120), rel=0.01)
    zenith, azimuth = (table[name].to_value("deg") for name in ("zenith_angle", "azimuth"))
    assert zenith.min() >= 20
    assert zenith.max() <= 60
    assert (np.cos(np.deg2rad(azimuth)) >= 0.5 - 1e-9).all()
    mapped = {"axes": {"zenith": "0 deg 70 deg 2", "azimuth": {"range": ["0 deg", "360 deg"], "binning": 1}}}
    assert len(GridGeneration(mapped | {"direction_grid_density": "0.01 / deg2"}).generate_table()) == 136


def test_a_density_of_hour_angle_and_declination_keeps_both_ranges():
    """Local directions, spread evenly, of which those within the ranges stay: by the sine rule of the altitude."""
    lines = ("ha -60 deg 60 deg 1 linear", "dec 0 deg 60 deg 1 linear", "offset 0 deg 10 deg 2 linear")
    keys = {"direction_grid_density": "0.1 1/deg^2", "local_zenith_range": "0 deg 50 deg", "site": "North"}
    table = GridGeneration(configuration(*lines, **keys)).generate_table()
    every = GridGeneration({"sky": {"density": "0.1 / deg2", "zenith": ["0 deg", "50 deg"]}}).generate_table()
    assert len(every) == pytest.approx(0.1 * cap(0, 50), abs=1)
    latitude = np.deg2rad(28.7622)
    zenith, azimuth = (np.deg2rad(every[name].to_value("deg")) for name in ("zenith_angle", "azimuth"))
    dec = np.arcsin(np.sin(latitude) * np.cos(zenith) + np.cos(latitude) * np.sin(zenith) * np.cos(azimuth))
    turned = np.arctan2(
        -np.sin(zenith) * np.sin(azimuth),
        np.cos(zenith) * np.cos(latitude) - np.sin(zenith) * np.sin(latitude) * np.cos(azimuth),
    )
    inside = (np.abs(np.rad2deg(turned)) <= 60) & (dec >= 0) & (np.rad2deg(dec) <= 60)
    assert len(table) == 2 * inside.sum() < 2 * len(every)
    np.testing.assert_allclose(np.unique(table["dec"].to_value("deg")), np.unique(np.rad2deg(dec[inside])), atol=1e-3)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"direction_gird_density": "0.01 1/deg^2"}, "did you mean direction_grid_density"),
        ({"direction_grid_density": "0.01 1/deg^2", "sky": {}}, "without sky and window"),
        ({"direction_grid_density": "0.01"}, "density"),
        ({"direction_grid_density": None}, "direction_grid_density must not be empty"),
        ({"local_zenith_range": "20 deg"}, "local_zenith_range: must be a range"),
        ({"site": "Mars"}, "observing_location"),
    ],
)
def test_keys_beside_axes_are_honoured_or_refused(keys, words):
    asked = configuration("azimuth 0 deg 90 deg 2 linear", "zenith 0 deg 70 deg 2 linear", **keys)
    with pytest.raises(ProdconfError, match=words):
        GridGeneration(asked).generate_table()


def test_single_values_bound_no_density_and_ha_dec_need_their_local_range():
    for axes, words in (
        (
            {"zenith": {"values": [20, 40], "units": "deg"}, "azimuth": "0 deg 360 deg 1"},
            "axis zenith: must be a range",
        ),
        ({"zenith": "0 deg 70 deg 2"}, "needs axes of zenith and azimuth or of ha and dec"),
        ({"ha": "0 deg 360 deg 1", "dec": "0 deg 60 deg 2"}, "needs local_zenith_range"),
    ):
        with pytest.raises(ProdconfError, match=words):
            GridGeneration({"axes": axes, "direction_grid_density": "0.01 1/deg^2"})


def test_five_configurations_of_the_predecessor_give_their_points(shared_data):
    """Axes multiplied by hand; above the horizon and in the window by the sine rule; by area times density."""
    latitude, expected = np.deg2rad(28.7622), {}
    turned, dec = np.meshgrid(np.deg2rad(np.arange(36) * 10.0), np.deg2rad(np.linspace(-90, 90, 18)))
    up = np.sin(latitude) * np.sin(dec) + np.cos(latitude) * np.cos(dec) * np.cos(turned) > 0
    expected = {
        "grid_horizontal": 3 * 2 * 2,
        "grid_horizontal_explicit": 2 * 2,
        "grid_horizontal_density": 2 * round(0.25 * cap(0, 70)),
        "grid_ha_dec": 2 * np.count_nonzero(up),
    }
    folder = shared_data / "configuration/grids_v0.36"
    made = {path.stem: GridGeneration(path).generate_table() for path in sorted(folder.glob("*.yml"))}
    assert {name: len(made[name]) for name in expected} == expected
    density = made["grid_ha_dec_density"]
    assert 0.9 < len(density) / (2 * 0.25 * cap(0, 70, 120)) < 1  # directions beyond the pole have dec above 80 deg
    assert density["dec"].max() <= 80 * u.deg
    assert set(made["grid_horizontal_explicit"]["azimuth_angle"].to_value("deg")) == {0.0, 180.0}
    assert "core_scatter" in made["grid_horizontal"].meta["notes"][0]
    short = GridGeneration(shared_data / "cases/ha_axis_short/axes.yml", observing_location="CTAO-North")
    assert len(short.generate_table()) == 15


def test_words_are_azimuths_and_plain_digits_numbers():
    axes = {"azimuth": ["North", "east", "S", "W"], "zenith": ["20 deg"]}
    assert GridGeneration(axes).generate_table()["azimuth"].to_value("deg").tolist() == [0, 90, 180, 270]
    for value in ("1_3 deg", "２０ deg", "1" * 400 + " deg"):
        with pytest.raises(ProdconfError, match="axis zenith"):
            GridGeneration({"azimuth": "North", "zenith": [value]})
    assert (
        GridGeneration(AXES | {"offset": {"values": [0.5], "unit": "deg"}, "x": "1 dimensionless"}).generate_table()[
            "x"
        ][0]
        == 1
    )


JOBS = """# %ECSV 1.0
# ---
# datatype:
# - {name: run_number, datatype: int64}
# - {name: primary, datatype: string}
# - {name: azimuth_angle_value, datatype: float64}
# - {name: azimuth_angle_unit, datatype: string}
# - {name: zenith_angle_value, datatype: float64}
# - {name: zenith_angle_unit, datatype: string}
# - {name: nsb_rate, datatype: float64}
# schema: astropy-2.0
run_number primary azimuth_angle_value azimuth_angle_unit zenith_angle_value zenith_angle_unit nsb_rate
1 gamma 0.0 deg 0.5 rad 0.24
2 gamma 0.0 deg 0.5 rad 0.24
3 gamma 180.0 deg 0.6 rad 0.24
"""


def test_a_job_grid_is_a_list_of_points(table, tmp_path, run):
    jobs = tmp_path / "jobs.ecsv"
    jobs.write_text(JOBS)
    grid = GridGeneration(jobs, lookup_table=table).generate_table()
    np.testing.assert_allclose(grid["zenith_angle"].to_value("deg"), np.rad2deg([0.5, 0.6]))
    assert grid["azimuth"].to_value("deg").tolist() == [0, 180]
    assert "primary_particle of all points is gamma" in grid.meta["notes"]
    assert any("left aside" in note and "run_number" in note for note in grid.meta["notes"])
    one = GridGeneration({"zenith": "0.5 rad", "azimuth": "0 deg", "nsb_level": 0.24}, lookup_table=table)
    assert one.generate_table()["upper_radius_limit"][0].value == pytest.approx(grid["upper_radius_limit"][0].value)
    status, out, _ = run("inspect", jobs)
    assert status == 0
    assert "list of 2 different points" in out
    jobs.write_text(JOBS.replace("180.0 deg 0.6 rad", "180.0 deg 0.6 deg"))
    with pytest.raises(ProdconfError, match=r"zenith_angle_unit: must hold one unit, got deg, rad"):
        GridGeneration(jobs)


def test_every_job_grid_is_read(shared_data):
    for path in [*(shared_data / "job_grids").glob("*.ecsv"), shared_data / "cases/job_grid_value_unit/points.ecsv"]:
        grid = GridGeneration(path).generate_table()
        assert len(grid) == (6 if path.name.startswith("production") else 1)
