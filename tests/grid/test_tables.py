"""Tables of a grid: dictionaries and files hold the same, JSON is the documented one."""

import json

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from hypothesis import given, settings
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError
from prodconf.grid.tables import json_text, lattice_column, points_of, serialize_value, table_of, write_grid


@pytest.fixture
def grid():
    return QTable(
        {
            "zenith_angle": [20.0, 40.0, 60.0] * u.deg,
            "nsb": ["dark", "dark", "moon"],
            "level": [1.0, 2.0, 3.0],
            "lower_energy_limit": [0.003, np.nan, 0.02] * u.TeV,
            "lower_energy_limit_sigma": [0.0, 0.0, 0.001] * u.TeV,
            "lower_energy_limit_verdict": np.array([b"ok", b"undetermined", b"truncated"]),
            "upper_radius_limit": [900.0, 1000.0, 1300.0] * u.m,
            "viewcone_radius": [8.0, 8.0, 8.5] * u.deg,
            "extrapolated": [False, False, True],
        },
        meta={"notes": ["a note"], "provenance": {"program": "prodconf"}},
    )


@settings(deadline=None, max_examples=60)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    data=st.data(),
)
def test_a_column_is_repeated_as_nested_loops_would(shape, data):
    along = data.draw(st.lists(st.sampled_from(range(len(shape))), unique=True, min_size=1, max_size=len(shape)))
    values = np.arange(np.prod([shape[k] for k in along])).reshape([shape[k] for k in along])
    expected = [values[tuple(place[k] for k in along)] for place in np.ndindex(*shape)]
    np.testing.assert_array_equal(lattice_column(values, along, shape), expected)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 2)])
def test_a_column_is_nobody_elses(shape):
    values = np.arange(3.0)
    values.flags.writeable = False
    column = lattice_column(values, [0], shape)
    column += 1
    assert values.tolist() == [0, 1, 2]


def test_dictionaries_have_the_documented_keys(grid):
    points = points_of(grid)
    assert points[0] == {
        "zenith_angle": 20 * u.deg,
        "nsb": "dark",
        "level": 1.0,
        "energy_threshold": {"lower": 0.003 * u.TeV},
        "radius": 900 * u.m,
        "viewcone": 8 * u.deg,
    }
    assert points[2]["extrapolated"] is True
    assert points[2]["verdict"]["energy_threshold"] == "truncated"


def test_there_and_back(grid):
    again = table_of(points_of(grid))
    for name in ("zenith_angle", "nsb", "level", "upper_radius_limit", "viewcone_radius", "extrapolated"):
        np.testing.assert_array_equal(again[name], grid[name])
    np.testing.assert_array_equal(again["lower_energy_limit"].value, grid["lower_energy_limit"].value)
    assert again["lower_energy_limit_verdict"].tolist() == ["unstated", "undetermined", "truncated"]


def test_json_is_the_same_from_table_and_list_and_has_no_nan(grid):
    from_table, from_list = json.loads(json_text(grid)), json.loads(json_text(points_of(grid)))
    assert from_table == from_list
    assert from_table[1]["energy_threshold"] == {"lower": {"value": None, "unit": "TeV"}}
    assert from_table[0]["zenith_angle"] == {"value": 20.0, "unit": "deg"}
    assert "NaN" not in json_text(grid)
    assert json.loads(json_text(grid[:0])) == []


def test_json_text_is_that_of_the_standard_library(grid):
    assert json_text(grid) == json.dumps(json.loads(json_text(grid)), indent=4) + "\n"


def test_parquet_holds_the_same(grid, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    write_grid(grid, tmp_path / "grid.parquet")
    read = parquet.read_table(tmp_path / "grid.parquet").to_pydict()
    for name in ("zenith_angle", "level", "lower_energy_limit", "upper_radius_limit", "extrapolated"):
        np.testing.assert_array_equal(read[name], np.asarray(getattr(grid[name], "value", grid[name])))


@pytest.mark.parametrize("suffix", [".ecsv", ".hdf5", ".h5", ".fits"])
@pytest.mark.parametrize("as_list", [False, True])
def test_files_hold_the_same(grid, tmp_path, suffix, as_list):
    path = tmp_path / f"grid{suffix}"
    write_grid(points_of(grid) if as_list else grid, path)
    read = QTable.read(path)
    for name in ("zenith_angle", "level", "lower_energy_limit", "upper_radius_limit", "extrapolated"):
        column = read[name].filled(np.nan) if hasattr(read[name], "filled") else read[name]
        np.testing.assert_array_equal(getattr(column, "value", column), getattr(grid[name], "value", grid[name]))
    assert read["zenith_angle"].unit == u.deg
    words = [w.decode() if isinstance(w, bytes) else str(w) for w in read["lower_energy_limit_verdict"].tolist()]
    assert words == ["unstated" if as_list else "ok", "undetermined", "truncated"]
    if not as_list:
        assert "a note" in str(read.meta)


def test_parquet_without_its_library(grid, tmp_path, monkeypatch):
    monkeypatch.setattr("prodconf.grid.tables.find_spec", lambda name: None)
    with pytest.raises(ProdconfError, match=r"\.parquet file needs pyarrow"):
        write_grid(grid, tmp_path / "grid.parquet")
    assert not list(tmp_path.iterdir())


def test_nothing_is_replaced_unless_asked(grid, tmp_path):
    path = tmp_path / "grid.json"
    write_grid(grid, path)
    with pytest.raises(ProdconfError, match="exists"):
        write_grid(grid[:1], path)
    assert len(json.loads(path.read_text())) == 3
    write_grid(grid[:1], path, overwrite=True)
    assert len(json.loads(path.read_text())) == 1


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "grid_points must hold at least one point"),
        (["a"], "grid_points must be a list of dictionaries, got str"),
        ([{"a": 1 * u.m}, {"b": 1 * u.m}], "point 0 has no b"),
        ([{"a": 1 * u.m}, {"a": 1 * u.s}], "a must have one kind of unit"),
        ([{"a": 1 * u.m}, {"a": 1.0}], "a must have one kind of unit"),
    ],
)
def test_points_that_are_none(points, words, tmp_path):
    with pytest.raises(ProdconfError, match=words):
        write_grid(points, tmp_path / "grid.ecsv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["grid.txt", "grid", "grid.fits.gz"])
def test_other_suffixes(grid, tmp_path, name):
    with pytest.raises(ProdconfError, match=r"output_file must end in \.json"):
        write_grid(grid, tmp_path / name)


def test_values_for_json():
    found = serialize_value({"a": np.float32(0.5), "b": [1 * u.km, np.inf], "c": np.array([1, 2]), "d": ("x", None)})
    assert found == {"a": 0.5, "b": [{"value": 1.0, "unit": "km"}, None], "c": [1, 2], "d": ["x", None]}
