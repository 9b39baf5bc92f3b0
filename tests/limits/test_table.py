"""Tables of CORSIKA limits: four layouts in, one out, nothing lost on the way."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from prodconf.core.errors import FileError, ProdconfError
from prodconf.limits.table import (
    INNER_EDGES,
    LIMITS,
    SIMULATED_EDGES,
    at_simulated_edge,
    limits_summary,
    looks_like_limits,
    read_limits,
    write_limits,
)


def limits(n=4, *, own=False, seed=0):
    """Table of the newest layout."""
    rng = np.random.default_rng(seed)
    table = QTable(
        {
            "production_index": np.arange(n),
            "primary_particle": ["gamma"] * n,
            "array_name": [f'array <{i}> "x" ünï' for i in range(n)],
            "zenith": rng.uniform(0, 60, n) * u.deg,
            "azimuth": rng.uniform(-180, 360, n) * u.deg,
            "nsb_level": rng.uniform(0.1, 5, n),
            "lower_energy_limit": rng.lognormal(-4, 1, n) * u.TeV,
            "upper_radius_limit": rng.uniform(500, 2000, n) * u.m,
            "viewcone_radius": rng.uniform(1, 10, n) * u.deg,
            "br_energy_min": np.full(n, 0.003) * u.TeV,
            "br_energy_max": np.full(n, 330.0) * u.TeV,
            "br_core_scatter_max": np.full(n, 1900.0) * u.m,
            "br_viewcone_max": np.full(n, 10.0) * u.deg,
        },
        meta={"loss_fraction": 1e-6},
    )
    if own:
        for name in LIMITS:
            value = table[name]
            table[f"{name}_guaranteed"] = value * 0.9
            table[f"{name}_low"] = value * 0.8
            table[f"{name}_high"] = value * 1.2
            table[f"{name}_verdict"] = (["ok", "sample_limited", "truncated", ""] * n)[:n]
            table[f"{name}_n_tail"] = rng.integers(0, 30, n)
        table["n_triggered"] = rng.integers(1, 10**9, n)
        table["n_effective"] = rng.uniform(1, 1e6, n)
    return table


def same(a, b):
    """Whether two tables hold the same to the bit."""
    assert set(a.colnames) <= set(b.colnames)
    for name in a.colnames:
        x, y = (np.asarray(getattr(t[name], "value", t[name])) for t in (a, b))
        assert getattr(a[name], "unit", None) == getattr(b[name], "unit", None), name
        if x.dtype.kind == "f":
            assert np.array_equal(x, y, equal_nan=True), name
        else:
            assert x.tolist() == y.tolist(), name
    return True


@pytest.mark.parametrize("own", [False, True])
def test_round_trip_is_exact(tmp_path, own):
    table = limits(7, own=own)
    write_limits(table, tmp_path / "limits.ecsv")
    again = read_limits(tmp_path / "limits.ecsv")
    assert same(table, again)
    assert again.meta == {"loss_fraction": 1e-6, "generation": "v0.33"}
    write_limits(again, tmp_path / "again.ecsv")
    assert (tmp_path / "again.ecsv").read_bytes() == (tmp_path / "limits.ecsv").read_bytes()
    assert ("n_triggered" in again.colnames) == own


def test_the_written_table_has_the_columns_of_the_newest_layout(tmp_path, shared_data):
    newest = read_limits(shared_data / "limits" / "corsika_limits_v0.33.ecsv")
    write_limits(newest, tmp_path / "new.ecsv")
    original = Table.read(shared_data / "limits" / "corsika_limits_v0.33.ecsv", format="ascii.ecsv")
    written = Table.read(tmp_path / "new.ecsv", format="ascii.ecsv")
    assert written.colnames == original.colnames
    for name in original.colnames:
        assert written[name].unit == original[name].unit
        assert written[name].tolist() == original[name].tolist()


@pytest.mark.parametrize(("generation", "rows"), [("v0.16", 48), ("v0.19", 9), ("v0.32", 48), ("v0.33", 96)])
def test_real_tables(shared_data, tmp_path, generation, rows):
    path = shared_data / "limits" / f"corsika_limits_{generation}.ecsv"
    table, raw = read_limits(path), Table.read(path, format="ascii.ecsv")
    assert (len(table), table.meta["generation"]) == (rows, generation)
    old = {"lower_energy_limit": "lower_energy_threshold", "upper_radius_limit": "upper_radius_threshold"}
    for name, unit in zip((*LIMITS, "zenith", "azimuth"), (u.TeV, u.m, u.deg, u.deg, u.deg), strict=True):
        assert table[name].unit == unit
        column = raw[name if name in raw.colnames else old[name]]
        assert np.array_equal(table[name].value, np.asarray(column, float))
    assert looks_like_limits(path)
    write_limits(table, tmp_path / "new.ecsv")
    assert same(table, read_limits(tmp_path / "new.ecsv"))
    assert f"{rows} rows" in limits_summary(table)


def test_words_and_numbers_of_the_sky_brightness_stay_apart(shared_data, tmp_path):
    table = read_limits(shared_data / "limits" / "corsika_limits_v0.16.ecsv")
    assert np.isnan(table["nsb_level"]).all()
    assert sorted(set(table["nsb_label"].tolist())) == ["dark", "moon"]
    assert table["telescope_ids"][1] == [1]
    assert np.isnan(table["br_energy_min"].value).all()
    assert set(table["production_index"].tolist()) == {-1}
    assert set(table["array_name"].tolist()) == {""}
    text = (shared_data / "limits" / "corsika_limits_v0.16.ecsv").read_text()
    text = (
        text.replace("nsb, datatype: string", "nsb, datatype: int64").replace(" dark ", " 1 ").replace(" moon ", " 5 ")
    )
    (tmp_path / "numbers.ecsv").write_text(text)
    numbers = read_limits(tmp_path / "numbers.ecsv")
    assert sorted(set(numbers["nsb_level"].tolist())) == [1.0, 5.0]
    assert set(numbers["nsb_label"].tolist()) == {""}
    names = read_limits(shared_data / "limits" / "corsika_limits_v0.19.ecsv")["telescope_ids"]
    assert names[2] == ["MSTN-15", "MSTN-03", "MSTN-04", "MSTN-05"]


def test_the_edge_of_the_simulated_range(shared_data):
    table = read_limits(shared_data / "limits" / "corsika_limits_v0.33.ecsv")
    edge = at_simulated_edge(table)
    raw = Table.read(shared_data / "limits" / "corsika_limits_v0.33.ecsv", format="ascii.ecsv")
    assert edge["viewcone_radius"].sum() == (raw["viewcone_radius"] == raw["br_viewcone_max"]).sum() > 0
    assert edge["lower_energy_limit"].sum() == (raw["lower_energy_limit"] == raw["br_energy_min"]).sum()
    assert "not determined" in limits_summary(table)
    assert not at_simulated_edge(limits())["viewcone_radius"].any()


def test_one_thrown_energy_or_offset_cuts_nothing_off():
    table = limits()
    for limit, edge, other in zip(LIMITS, SIMULATED_EDGES.values(), ("br_energy_max", *INNER_EDGES), strict=True):
        table[edge], table[other] = table[limit].copy(), table[limit].copy()
    assert not any(edge.any() for edge in at_simulated_edge(table).values())
    table["br_energy_max"][2:] *= 2
    for name in INNER_EDGES:
        table[name][2:] = 0
    for edge in at_simulated_edge(table).values():
        assert edge.tolist() == [False, False, True, True]


def test_units_are_converted_and_wrong_ones_refused(tmp_path):
    table = limits()
    table["lower_energy_limit"] = table["lower_energy_limit"].to(u.GeV)
    table["zenith"] = table["zenith"].to(u.rad)
    write_limits(table, tmp_path / "gev.ecsv")
    again = read_limits(tmp_path / "gev.ecsv")
    assert again["lower_energy_limit"].unit == u.TeV
    assert np.allclose(again["lower_energy_limit"].value, limits()["lower_energy_limit"].value, rtol=1e-14)
    assert np.allclose(again["zenith"].value, limits()["zenith"].value, rtol=1e-14)
    table["lower_energy_limit"] = np.ones(4) * u.m
    with pytest.raises(ProdconfError, match="column lower_energy_limit: unit 'm' is not convertible to TeV"):
        write_limits(table, tmp_path / "m.ecsv")
    assert not (tmp_path / "m.ecsv").exists()


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("lower_energy_limit", 0.0, "finite and positive, got 0.0 in row 1"),
        ("upper_radius_limit", np.nan, r"\(0, 1e\+06\], got nan in row 1"),
        ("viewcone_radius", -1.0, r"\(0, 180\]"),
        ("zenith", 181.0, r"\[0, 89.9\]"),
        ("azimuth", np.inf, r"\[-360, 360\]"),
        ("nsb_level", -1.0, "finite and positive"),
        ("br_energy_max", np.inf, "finite and positive"),
        ("lower_energy_limit_low", -1.0, "not negative"),
        ("lower_energy_limit_verdict", "perhaps", "unknown verdict 'perhaps' in row 1"),
    ],
)
def test_impossible_values_are_named(tmp_path, name, value, rule):
    table = limits(own=True)
    values = list(getattr(table[name], "value", table[name]))
    values[1] = value
    unit = getattr(table[name], "unit", None)
    table[name] = values if unit is None else values * unit
    with pytest.raises(ProdconfError, match=f"column {name}: .*{rule}"):
        write_limits(table, tmp_path / "bad.ecsv")


def test_unknown_and_missing_columns_and_other_files(tmp_path):
    table = limits()
    table["surprise"] = 1
    with pytest.raises(ProdconfError, match=r"bad\.ecsv: has unknown column surprise"):
        write_limits(table, tmp_path / "bad.ecsv")
    table.remove_columns(["surprise", "zenith"])
    with pytest.raises(ProdconfError, match=r"bad\.ecsv: has no column zenith"):
        write_limits(table, tmp_path / "bad.ecsv")
    with pytest.raises(ProdconfError, match="without rows"):
        write_limits(limits()[:0], tmp_path / "bad.ecsv")
    QTable({"x": [1.0]}).write(tmp_path / "other.ecsv", format="ascii.ecsv")
    (tmp_path / "text.ecsv").write_text("hello\n")
    (tmp_path / "empty.ecsv").touch()
    (tmp_path / "binary.ecsv").write_bytes(bytes(range(128, 256)))
    for name, rule in [
        ("other.ecsv", "is not a table of CORSIKA limits"),
        ("text.ecsv", "is not an ECSV table"),
        ("empty.ecsv", "is not an ECSV table"),
        ("binary.ecsv", "is not a text file"),
        ("none.ecsv", "does not exist"),
    ]:
        with pytest.raises(ProdconfError, match=rule):
            read_limits(tmp_path / name)
        assert not looks_like_limits(tmp_path / name)
    write_limits(limits(), tmp_path / "good.ecsv")
    with pytest.raises(ProdconfError, match="exists"):
        write_limits(limits(), tmp_path / "good.ecsv")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 5), own=st.booleans())
def test_any_table_survives(tmp_path_factory, seed, n, own):
    path = tmp_path_factory.mktemp("limits") / "any.ecsv"
    table = limits(n, own=own, seed=seed)
    write_limits(table, path)
    assert same(table, read_limits(path))


def test_damaged_files(tmp_path):
    rng = np.random.default_rng(7)
    write_limits(limits(3, own=True), tmp_path / "good.ecsv")
    good = (tmp_path / "good.ecsv").read_bytes()
    outcome = {True: 0, False: 0}
    for i in range(60):
        data = bytearray(good)
        if i % 3 == 0:
            del data[int(rng.integers(1, len(data))) :]
        else:
            for at in rng.integers(0, len(data), 3):
                data[at] ^= 1 << int(rng.integers(0, 7 if i % 3 == 1 else 8))
        (tmp_path / "bad.ecsv").write_bytes(data)
        looks_like_limits(tmp_path / "bad.ecsv")
        try:
            limits_summary(read_limits(tmp_path / "bad.ecsv"))
            outcome[True] += 1
        except ProdconfError as error:
            outcome["bad.ecsv" not in str(error)] += 1
    assert outcome[False] > 20


def test_a_single_telescope_may_stand_alone_in_its_column(tmp_path):
    """A table with numbers for telescope_ids is read as lists of one."""
    from astropy.table import Table

    rows = Table({"zenith": [20.0], "azimuth": [0.0], "nsb_level": [0.24], "telescope_ids": [3]})
    for name, unit, value in (("lower_energy_limit", "TeV", 0.01), ("upper_radius_limit", "m", 900.0)):
        rows[name] = [value] * u.Unit(unit)
    rows["viewcone_radius"], rows["array_name"] = [6.0] * u.deg, ["a"]
    rows["zenith"].unit = rows["azimuth"].unit = u.deg
    rows.write(tmp_path / "limits.ecsv", format="ascii.ecsv")
    assert list(read_limits(tmp_path / "limits.ecsv")["telescope_ids"][0]) == [3]


@pytest.mark.parametrize("word", ["1_300", "\uff11\uff12", "9" * 400, "-1", "0", "nan"])
def test_a_level_among_words_is_a_plain_number(tmp_path, word):
    old = Table({"zenith": [20.0, 40.0], "azimuth": [0.0, 0.0], "nsb": ["dark", word]})
    old["lower_energy_threshold"], old["upper_radius_threshold"], old["viewcone_radius"] = 0.01, 900.0, 8.0
    old.write(tmp_path / "old.ecsv", format="ascii.ecsv")
    with pytest.raises(FileError, match="column nsb: must be a positive plain number or a word, got"):
        read_limits(tmp_path / "old.ecsv")
    old["nsb"] = ["dark", "0.84"]
    old.write(tmp_path / "good.ecsv", format="ascii.ecsv")
    assert read_limits(tmp_path / "good.ecsv")["nsb_label"].tolist() == ["dark", ""]


@pytest.mark.parametrize("written", ["4_0.0", "\uff14\uff10.0", "9" * 400])
def test_numbers_of_a_table_are_plain(tmp_path, written):
    table = limits()
    table["zenith"] = [10.0, 20.0, 30.0, 40.125] * u.deg
    write_limits(table, tmp_path / "l.ecsv")
    text = (tmp_path / "l.ecsv").read_text()
    assert text.count("40.125") == 1
    (tmp_path / "l.ecsv").write_text(text.replace("40.125", written))
    with pytest.raises(FileError, match="column zenith"):
        read_limits(tmp_path / "l.ecsv")
