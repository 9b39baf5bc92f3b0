"""Merging tables of limits: what was split comes together, and nothing contradictory does."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodconf.core.errors import ArgumentError, ProdconfError
from prodconf.limits.merging import merge_limits, read_points
from prodconf.limits.table import INNER_EDGES, LIMITS, read_limits, write_limits


def limits(zenith=(20.0, 40.0), *, energy=0.01, particle="gamma", array="alpha", azimuth=0.0, nsb=0.24, **meta):
    """A small table."""
    n = len(zenith)
    table = QTable({"zenith": np.array(zenith) * u.deg, "azimuth": np.full(n, azimuth) * u.deg})
    table["primary_particle"], table["array_name"], table["nsb_level"] = [particle] * n, [array] * n, np.full(n, nsb)
    table["lower_energy_limit"] = np.broadcast_to(energy, n) * u.TeV
    table["upper_radius_limit"], table["viewcone_radius"] = np.full(n, 1200.0) * u.m, np.full(n, 9.0) * u.deg
    table.meta.update(meta)
    return table


@pytest.fixture
def write(tmp_path):
    """Write a table under a name; return the path."""

    def call(name, table):
        write_limits(table, tmp_path / name, overwrite=True)
        return tmp_path / name

    return call


def rows(table, *, index=False):
    """Rows as a set of plain values, without those columns that say nothing."""
    names = sorted(name for name in table.colnames if index or name != "production_index")
    plain = [[str(value) for value in np.asarray(getattr(table[name], "value", table[name]))] for name in names]
    return set(zip(*plain, strict=True))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), parts=st.integers(1, 5))
def test_a_split_table_comes_together_in_any_order(shared_data, tmp_path, seed, parts):
    rng = np.random.default_rng(seed)
    whole = read_limits(shared_data / "limits" / "corsika_limits_v0.33.ecsv")
    files = []
    for part in range(parts):  # every row in one part at least, some in several
        chosen = (np.arange(len(whole)) % parts == part) | (rng.random(len(whole)) < 0.2)
        write_limits(whole[chosen][rng.permutation(chosen.sum())], tmp_path / f"{part}.ecsv", overwrite=True)
        files.append(tmp_path / f"{part}.ecsv")
    merged = merge_limits([files[i] for i in rng.permutation(parts)])
    assert rows(merged.table) == rows(whole)
    assert len(merged.table) == len(whole)
    places = {(str(r["zenith"]), str(r["azimuth"]), str(r["nsb_level"])) for r in whole}
    assert merged.table["production_index"].max() == len(places) - 1
    for index in range(len(places)):
        simulation = merged.table[merged.table["production_index"] == index]
        assert len({(r["zenith"], r["azimuth"], r["nsb_level"]) for r in simulation}) == 1


def test_merging_again_changes_nothing(write):
    merged = merge_limits([write("a.ecsv", limits()), write("b.ecsv", limits((40.0, 60.0)))])
    again = merge_limits([write("merged.ecsv", merged.table)])
    assert rows(again.table, index=True) == rows(merged.table, index=True)
    assert again.notes == ()
    assert merged.table["zenith"].value.tolist() == [20.0, 40.0, 60.0]
    assert "1 identical rows" in merged.notes[0]
    assert [entry["file"] for entry in merged.table.meta["provenance"]["inputs"]] == ["a.ecsv", "b.ecsv"]


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("what", ["", "_guaranteed"])
def test_a_contradiction_is_refused_with_its_place(write, name, what):
    one, other = limits(), limits((40.0,))
    for table in (one, other):
        table[f"{name}{what}"] = table[name]
    other[f"{name}{what}"] *= 1.00001
    with pytest.raises(ArgumentError, match=rf"^a.ecsv and b.ecsv: alpha, gamma at zenith 40 deg.* {name}{what} "):
        merge_limits([write("a.ecsv", one), write("b.ecsv", other)], mixed=True)
    other[f"{name}{what}"] /= 1.00001
    assert len(merge_limits([write("a.ecsv", one), write("b.ecsv", other)]).table) == 2


@pytest.mark.parametrize("name", INNER_EDGES)
def test_a_hollow_and_a_full_range_are_not_one(write, name):
    one, other = limits(), limits((40.0,))
    other[name] = [2.0] * u.Unit(INNER_EDGES[name])
    with pytest.raises(
        ProdconfError, match=rf"^a.ecsv and b.ecsv: .* zenith 40 deg.* {name} 0 and 2 {INNER_EDGES[name]}$"
    ):
        merge_limits([write("a.ecsv", one), write("b.ecsv", other)])
    one[name] = [0.0, 2.0] * u.Unit(INNER_EDGES[name])
    merged = merge_limits([write("a.ecsv", one), write("b.ecsv", other)]).table
    assert merged[name].value.tolist() == [0.0, 2.0]


def test_undetermined_contradicts_a_number_but_not_itself(write):
    unknown = limits((40.0,))
    unknown["viewcone_radius"] = [np.nan] * u.deg
    unknown["viewcone_radius_verdict"] = ["undetermined"]
    with pytest.raises(ProdconfError, match="viewcone_radius 9 and nan deg"):
        merge_limits([write("a.ecsv", limits()), write("b.ecsv", unknown)])
    path = write("b.ecsv", unknown)
    assert len(merge_limits([path, write("c.ecsv", unknown)]).table) == 1
    path = write("d.ecsv", limits((20.0, 20.0, 20.0), energy=np.array([0.01, 0.02, 0.03])))
    with pytest.raises(ProdconfError, match=r"^d.ecsv: alpha, gamma .*contradict"):
        merge_limits([path])


@pytest.mark.parametrize(
    "other",
    [
        {"particle": "proton"},
        {"array": "LSTs"},
        {"azimuth": 180.0},
        {"azimuth": 0.2},
        {"nsb": 1.2},
        {"zenith": (20.2, 40.2)},
        {"particle": ""},
    ],
)
def test_other_rows_are_kept_beside(write, other):
    merged = merge_limits([write("a.ecsv", limits()), write("b.ecsv", limits(**{"energy": 0.02} | other))])
    assert len(merged.table) == 4
    one_simulation = set(other) == {"array"}
    assert len(set(merged.table["production_index"].tolist())) == (2 if one_simulation else 4)


def test_pointings_within_the_tolerance_are_one(write):
    jitter = limits((20.00001, 39.999), azimuth=359.99999, nsb=0.2405)
    merged = merge_limits([write("a.ecsv", limits()), write("b.ecsv", jitter)])
    assert len(merged.table) == 2


def test_words_and_numbers_for_the_sky_stay_apart(write):
    word = limits(energy=0.02, nsb=np.nan)
    word["nsb_label"] = ["dark", "moon"]
    merged = merge_limits([write("a.ecsv", limits()), write("b.ecsv", word), write("c.ecsv", word)])
    assert len(merged.table) == 4
    assert sorted(merged.table["nsb_label"].tolist()) == ["", "", "dark", "moon"]


def test_layouts_stay_apart(write):
    tables = []
    for layout in ("north", "south"):
        table = limits(energy=0.01 if layout == "north" else 0.02)
        table["layout"] = [layout] * 2
        tables.append(write(f"{layout}.ecsv", table))
    assert merge_limits(tables).table["layout"].tolist() == ["north", "south"] * 2


def test_of_identical_rows_the_one_that_says_most_is_kept(write):
    full = limits((40.0,))
    full["n_triggered"], full["upper_radius_limit_verdict"] = [1234], ["ok"]
    merged = merge_limits([write("a.ecsv", limits()), write("b.ecsv", full)])
    assert merged.table["n_triggered"].tolist() == [-1, 1234]
    assert merged.table["upper_radius_limit_verdict"].tolist() == ["", "ok"]


@pytest.mark.parametrize(
    ("one", "other", "match"),
    [
        (
            {"loss_fraction": 1e-3},
            {"loss_fraction": 1e-6},
            "loss fraction of the core distance: 0.001 in a.ecsv; 1e-06",
        ),
        ({"loss_fraction_energy": 1e-3}, {"energy_threshold_fraction": 0.01}, "loss of 0.001 .*; at 0.01 of the peak"),
        ({"loss_fraction_energy": 1e-3}, {"loss_fraction": 1e-2}, "rule of the energy limit: loss of 0.001 in a"),
        ({"confidence": 0.95}, {"confidence": 0.9}, "confidence: 0.95 in a.ecsv; 0.9 in b.ecsv"),
        ({"loss_min_events_core_distance": 0}, {"loss_min_events_core_distance": 10}, "least number of lost events"),
        ({"sub_arrays": {"alpha": {"telescopes": "all"}}}, {"sub_arrays": {"alpha": {"telescopes": ["1"]}}}, "'alpha'"),
    ],
)
def test_tables_made_differently_are_mixed_only_on_request(write, one, other, match):
    files = [
        write("a.ecsv", limits(**one)),
        write("b.ecsv", limits((60.0,), **other)),
        write("c.ecsv", limits((65.0,))),
    ]
    with pytest.raises(ProdconfError, match=match):
        merge_limits(files)
    merged = merge_limits(files, mixed=True)
    assert any(note.startswith("mixed: ") for note in merged.notes)
    assert not set(one) & set(other) & set(merged.table.meta) - {"sub_arrays"}
    assert merged.table.meta["merged"]["notes"] == list(merged.notes)


def test_other_spectra_are_refused_for_one_particle_only(write):
    steep, flat = limits(), limits((60.0,))
    steep["spectral_index"], flat["spectral_index"] = [2.7] * 2, [2.0]
    with pytest.raises(ProdconfError, match=r"spectral index of gamma: 2.7 in a.ecsv; 2.0 in b.ecsv"):
        merge_limits([write("a.ecsv", steep), write("b.ecsv", flat)])
    flat["primary_particle"] = ["proton"]
    assert len(merge_limits([write("a.ecsv", steep), write("b.ecsv", flat)]).table) == 3


def test_generations_are_mixed_with_their_loss_fractions_in_the_rows(shared_data):
    old, new = (shared_data / "limits" / f"corsika_limits_{generation}.ecsv" for generation in ("v0.16", "v0.33"))
    with pytest.raises(ProdconfError, match=r"1e-06 in corsika_limits_v0.16"):
        merge_limits([old, new])
    merged = merge_limits([old, new], mixed=True)
    assert len(merged.table) == 48 + 96
    found = merged.table["upper_radius_limit_loss_fraction"]
    assert set(found[merged.table["array_name"] == ""].tolist()) == {1e-6}
    assert set(found[merged.table["array_name"] != ""].tolist()) == {1e-3}
    energy = merged.table["lower_energy_limit_loss_fraction"]
    assert np.isnan(energy[merged.table["array_name"] != ""]).all()  # there the energy limit is a share of the peak
    assert any(note.startswith("spectral index") or "mixed" in note for note in merged.notes)


def test_what_is_not_stated_is_noted(write):
    merged = merge_limits([write("a.ecsv", limits(confidence=0.95)), write("b.ecsv", limits((60.0,)))])
    assert merged.notes == ("confidence: not stated in b.ecsv",)
    assert merged.table.meta["confidence"] == 0.95


def test_lists_of_skipped_files_are_joined(write):
    bad = [{"file": f"{name}.hdf5", "reason": "is damaged"} for name in "xyz"]
    one, other = limits(skipped_files=bad[:2]), limits((60.0,), skipped_files=bad[1:], pilot_notes=["n"])
    meta = merge_limits([write("a.ecsv", one), write("b.ecsv", other)]).table.meta
    assert meta["skipped_files"] == bad
    assert meta["pilot_notes"] == ["n"]


def test_completeness_of_the_real_table(shared_data, tmp_path, write):
    path = shared_data / "limits" / "corsika_limits_v0.33.ecsv"
    table = read_limits(path)
    levels = sorted(set(table["nsb_level"].tolist()))
    (tmp_path / "grid.yml").write_text(f"zenith: [20, 40, 52, 60]\nazimuth: [0, 180]\nnsb_level: {levels}\n")
    assert merge_limits([path], grid=tmp_path / "grid.yml").missing == ()
    gone = [5, 17, 80]
    holey = write("holes.ecsv", table[[i for i in range(len(table)) if i not in gone]])
    merged = merge_limits([holey], grid=read_points(tmp_path / "grid.yml"))
    wanted = {
        f"gamma, {r['array_name']}: zenith {r['zenith'].value:g} deg, azimuth {r['azimuth'].value:g} deg, "
        f"nsb_level {r['nsb_level']:g}"
        for r in table[gone]
    }
    assert set(merged.missing) == wanted
    assert set(merged.table.meta["merged"]["missing"]) == wanted
    (tmp_path / "half.yml").write_text("zenith: [20, 40]\nazimuth: [0, 180]\n")
    assert any(
        "48 of 96 rows are at points that are not in the grid" in n
        for n in merge_limits([path], grid=tmp_path / "half.yml").notes
    )


def test_the_result_can_be_written_and_read(write):
    one = limits(sub_arrays={"alpha": {"telescopes": "all"}})
    one["telescope_ids"] = [[1, 2], [3]]
    merged = merge_limits([write("a.ecsv", one), write("b.ecsv", limits((60.0,), array="beta"))])
    again = read_limits(write("merged.ecsv", merged.table))
    assert rows(again, index=True) == rows(merged.table, index=True)
    assert list(again["telescope_ids"]) == [[1, 2], [3], []]
    assert again.meta["merged"]["files"] == ["a.ecsv", "b.ecsv"]


@pytest.mark.parametrize(
    "meta",
    [{"loss_fraction": "small"}, {"confidence": [0.95]}, {"energy_threshold_fraction": None}, {"loss_budget": True}],
)
def test_numbers_that_are_none_are_refused(write, meta):
    with pytest.raises(ProdconfError, match=r"a.ecsv: meta \w+ must be a number"):
        merge_limits([write("a.ecsv", limits(**meta))])


@pytest.mark.parametrize(
    "meta", [{"sub_arrays": 3}, {"skipped_files": "none"}, {"pilot_notes": {"a": 1}}, {"merged": 1}]
)
def test_strange_lists_do_no_harm(write, meta):
    assert len(merge_limits([write("a.ecsv", limits(**meta)), write("b.ecsv", limits((60.0,)))]).table) == 3


def test_no_table_and_broken_tables(tmp_path, write):
    with pytest.raises(ProdconfError, match="at least one table"):
        merge_limits([])
    (tmp_path / "broken.ecsv").write_text("# %ECSV 1.0\n# ---\n# what\n")
    with pytest.raises(ProdconfError, match=r"broken\.ecsv"):
        merge_limits([write("a.ecsv", limits()), tmp_path / "broken.ecsv"])


def test_files_of_one_name_are_told_apart(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write_limits(limits(energy=0.01 if folder == "x" else 0.02), tmp_path / folder / "l.ecsv")
    with pytest.raises(ProdconfError, match=r"x/l.ecsv and .*y/l.ecsv: alpha"):
        merge_limits([tmp_path / "x" / "l.ecsv", tmp_path / "y" / "l.ecsv"])


def test_thousands_of_rows_are_merged(tmp_path):
    n = 2000
    grid = np.column_stack([np.repeat(np.linspace(0, 60, 20), 100), np.tile(np.linspace(0, 356.4, 100), 20)])
    files = []
    for name in ("a", "b"):
        table = limits(tuple(grid[:, 0]))
        table["azimuth"] = grid[:, 1] * u.deg
        write_limits(table, tmp_path / f"{name}.ecsv")
        files.append(tmp_path / f"{name}.ecsv")
    assert len(merge_limits(files).table) == n


@pytest.mark.parametrize("field", ["zenith", "azimuth", "nsb_level"])
@pytest.mark.parametrize(
    "value", ["9" * 400, '"1_300"', '"\uff11\uff12"', "true", "[1]", "1e999", '{"value": 1e999, "unit": "deg"}']
)
def test_points_hold_plain_numbers(tmp_path, field, value):
    """What is no number elsewhere is none in a list of points: refused in one sentence, never a traceback or a word."""
    point = {"zenith": "20", "azimuth": "0", "nsb_level": "0.24"} | {field: value}
    path = tmp_path / "points.json"
    path.write_text("[{" + ", ".join(f'"{name}": {text}' for name, text in point.items()) + "}]")
    with pytest.raises(ProdconfError, match=field) as refused:
        read_points(path)
    assert len(str(refused.value)) - len(str(path)) < 300
