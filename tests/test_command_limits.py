"""`prodconf limits` and `prodconf merge`: against order statistics of the events, and what they do to bad input."""

import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import yaml
from astropy.table import QTable

from prodconf.events.reduced import iterate
from prodconf.events.sub_arrays import SubArray
from prodconf.limits.table import LIMITS, read_limits, write_limits
from prodconf.toys.sample import SampleSize, sample_models, write_pilot


@pytest.fixture(scope="module")
def pilots(tmp_path_factory):
    """A folder with two files of one pointing and one of another."""
    folder = tmp_path_factory.mktemp("pilots")
    size = SampleSize((0.0,), (0.24,), n_runs=1, n_showers=100_000, n_uses=5)
    models = sample_models(size="small")
    for number, model in enumerate((models[0], models[0], models[1])):
        seed = np.random.SeedSequence(number)
        write_pilot(folder / f"{'abc'[number]}", model, seed=seed, size=size, first_run=number + 1)
    return folder


@pytest.fixture
def files(pilots):
    """Pattern of all files."""
    return f"{pilots}/*.reduced.hdf5"


@pytest.fixture(scope="module")
def events(pilots):
    """Energy, core distance, angle and masks of the triggers of the first pointing."""
    chunks = list(iterate([pilots / "a.reduced.hdf5", pilots / "b.reduced.hdf5"]))
    columns = [(c.energy, c.core_distance, np.rad2deg(c.angular_distance)) for c in chunks]
    return np.concatenate(columns, axis=1), np.concatenate([c.masks for c in chunks]), chunks[0].telescopes


def expected(values, loss):
    """Limits that lose at most `loss` of the events, from sorting."""
    energy, radius, cone = (np.sort(column) for column in values)
    k = int(np.floor(loss * energy.size))
    return energy[k], radius[-1 - k], cone[-1 - k]


def test_limits_are_order_statistics_of_the_events(run, pilots, files, events, tmp_path):
    names = ("LSTs", "LSTN-01,LSTN-02", "full")
    telescopes = ("LSTs=LSTN-01,LSTN-02,LSTN-03,LSTN-04", "LSTN-01,LSTN-02", "full=all")
    options = [text for one in telescopes for text in ("--telescopes", one)]
    status, out, err = run("limits", files, *options, "--loss-fraction", 0.01, "-o", tmp_path / "l.ecsv")
    assert (status, err) == (0, "")
    table = read_limits(tmp_path / "l.ecsv")
    assert table["array_name"].tolist() == list(names) * 2
    values, masks, known = events
    for row, text in zip(table[:3], telescopes, strict=True):
        chosen = None if text.endswith("all") else tuple(text.split("=")[-1].split(","))
        kept = SubArray("x", chosen).selector(known)(masks)
        assert row["n_triggered"] == kept.sum()
        limits = expected(values[:, kept], 0.01)
        truncated = [str(row[f"{name}_verdict"]) == "truncated" for name in LIMITS]
        for name, limit, edge in zip(LIMITS, limits, truncated, strict=True):
            assert edge or row[name].value == limit, name
        assert not all(truncated)
    assert table.meta["loss_fraction_core_distance"] == 0.01
    assert table.meta["sub_arrays"]["LSTs"]["telescopes"] == ["LSTN-01", "LSTN-02", "LSTN-03", "LSTN-04"]
    assert [entry["file"] for entry in table.meta["provenance"]["event_files"]] == [
        f"{name}.reduced.hdf5" for name in "abc"
    ]
    assert table.meta["skipped_files"] == []
    assert out.splitlines()[0].split()[:4] == ["particle", "array", "zenith", "azimuth"]
    assert out.splitlines()[-1] == f"Written: {tmp_path / 'l.ecsv'}"


def test_joint_loss_is_the_union_of_the_cuts(run, files, events, tmp_path):
    assert run("limits", files, "--loss-fraction", 0.02, "-o", tmp_path / "l.ecsv")[0] == 0
    row = read_limits(tmp_path / "l.ecsv")[0]
    values, masks, _ = events
    triggered = (masks != 0).any(axis=1)
    energy, radius, cone = values[:, triggered]
    for end, column in (("", "joint_loss"), ("_guaranteed", "joint_loss_guaranteed")):
        cuts = [row[f"{name}{end}"].value for name in LIMITS]
        lost = (energy < cuts[0]) | (radius > cuts[1]) | (cone > cuts[2])
        assert row[column] == pytest.approx(lost.mean(), abs=1e-12)
    assert row["joint_loss_bound"] > row["joint_loss"]


def test_each_limit_can_have_its_loss(run, files, tmp_path):
    losses = ("--loss-energy", 0.05, "--loss-radius", 0.02, "--loss-fraction", 0.01)
    assert run("limits", files, *losses, "-o", tmp_path / "l.ecsv")[0] == 0
    table = read_limits(tmp_path / "l.ecsv")
    keys = ("loss_fraction_energy", "loss_fraction_core_distance", "loss_fraction_angular_distance")
    assert [table.meta[key] for key in keys] == [0.05, 0.02, 0.01]
    assert [table[f"{name}_loss_fraction"][0] for name in LIMITS] == [0.05, 0.02, 0.01]


def test_a_budget_is_kept_and_a_minimum_raises_the_loss(run, files, tmp_path):
    assert run("limits", files, "--budget", 0.03, "-o", tmp_path / "b.ecsv")[0] == 0
    table = read_limits(tmp_path / "b.ecsv")
    assert (table["joint_loss"] <= 0.03).all()
    assert (table["joint_loss"] > 0.015).all()
    assert table.meta["loss_budget"] == 0.03
    assert run("limits", files, "--min-lost-events", 50, "-o", tmp_path / "m.ecsv")[0] == 0
    table = read_limits(tmp_path / "m.ecsv")
    assert np.allclose(table["viewcone_radius_loss_fraction"] * table["n_triggered"], 50)
    assert table.meta["loss_min_events_angular_distance"] == 50


def test_the_other_energy_rule_is_stated(run, files, tmp_path):
    options = ("--energy-rule", "peak", "--peak-fraction", 0.1, "--loss-fraction", 0.01)
    assert run("limits", files, *options, "-o", tmp_path / "p.ecsv")[0] == 0
    meta = read_limits(tmp_path / "p.ecsv").meta
    assert (meta["energy_rule"], meta["energy_threshold_fraction"]) == ("peak", 0.1)
    assert "loss_fraction_energy" not in meta


def test_multiplicity_and_stereo_are_applied_again(run, files, events, tmp_path):
    options = ("--telescopes", "all", "--multiplicity", 3, "--stereo", "LSTN=2", "--loss-fraction", 0.05)
    assert run("limits", files, *options, "-o", tmp_path / "l.ecsv")[0] == 0
    table = read_limits(tmp_path / "l.ecsv")
    _, masks, known = events
    bits = np.array([[(word >> np.uint64(t)) & np.uint64(1) for t in range(len(known))] for word in masks[:, 0]], int)
    large = np.array([name.startswith("LSTN") for name in known])
    lst, mst = bits[:, large].sum(axis=1), bits[:, ~large].sum(axis=1)
    assert table["n_triggered"][0] == ((lst * (lst >= 2) + mst) >= 3).sum()
    assert table.meta["sub_arrays"]["all"] == {"telescopes": "all", "multiplicity": 3, "stereo": {"LSTN": 2}}


def test_sub_arrays_of_a_file_and_of_the_command_line(run, files, tmp_path):
    (tmp_path / "arrays.yml").write_text(yaml.safe_dump({"telescope_configs": {"full": [], "one": ["LSTN-01"]}}))
    options = ("--sub-arrays", tmp_path / "arrays.yml", "--telescopes", "two=LSTN-01,LSTN-02")
    assert run("limits", files, *options, "--multiplicity", 2, "-o", tmp_path / "l.ecsv")[0] == 0
    table = read_limits(tmp_path / "l.ecsv")
    assert table["array_name"].tolist() == ["full", "one", "two"] * 2
    assert table.meta["sub_arrays"]["two"]["multiplicity"] == 2
    assert [entry["file"] for entry in table.meta["provenance"]["inputs"]] == ["arrays.yml"]


def test_ids_of_the_predecessor_s_file(run, shared_data, tmp_path):
    events, arrays = shared_data / "reduced_events", shared_data / "configuration" / "telescope_ids_v0.16.yml"
    status, _, err = run(
        "limits", events / "run202_proton_za20deg_v0.17.hdf5", "--sub-arrays", arrays, "-o", tmp_path / "l.ecsv"
    )
    assert status == 0, err
    table = read_limits(tmp_path / "l.ecsv")
    row = table[table["array_name"].tolist().index("full")]
    assert row["n_triggered"] == 7
    assert row["primary_particle"] == "proton"
    assert [f"{row[name].value:.4g}" for name in LIMITS] == ["0.07585", "842.3", "3.931"]
    assert {str(row[f"{name}_verdict"]) for name in LIMITS} == {"sample_limited"}


def test_rounding_outward(run, files, tmp_path):
    options = ("--loss-fraction", 0.02, "--round-outward", "1 GeV, 25 m, 0.25 deg")
    assert run("limits", files, *options, "-o", tmp_path / "r.ecsv")[0] == 0
    table = read_limits(tmp_path / "r.ecsv")
    energy, radius, cone = (table[name].value for name in LIMITS)
    sure = [table[f"{name}_guaranteed"].value for name in LIMITS]
    assert ((energy <= sure[0]) & (radius >= sure[1]) & (cone >= sure[2])).all()
    assert np.allclose(radius % 25, 0)
    assert np.allclose(cone % 0.25, 0)
    assert table.meta["rounded_outward"]["upper_radius_limit"] == "25 m"


def test_curves_and_plots(run, pilots, tmp_path):
    options = ("--loss-fraction", 0.05, "--curves", tmp_path / "c.ecsv", "--plots", tmp_path / "plots")
    status, out, err = run("limits", pilots / "c.reduced.hdf5", *options, "-o", tmp_path / "l.ecsv")
    assert (status, err) == (0, "")
    assert f"Written: {tmp_path / 'l.ecsv'}, {tmp_path / 'c.ecsv'}, {tmp_path / 'plots'}" in out
    table, curves = read_limits(tmp_path / "l.ecsv"), QTable.read(tmp_path / "c.ecsv")
    assert curves["n_triggered"].sum() == table["n_triggered"][0]
    assert (curves["upper_radius_limit_guaranteed"] >= curves["upper_radius_limit"]).all()
    assert (curves["energy_min"] < curves["energy_max"]).all()
    pictures = sorted(path.name for path in (tmp_path / "plots").iterdir())
    tails = ["curve_core_distance", "curve_view_cone"]
    tails += [f"survival_{name}" for name in ("core_distance", "energy", "view_cone")]
    kinds = sorted(["core_distance", "core_distance_energy", "core_xy", "energy", "view_cone", *tails])
    assert pictures == [f"gamma_za40_az0_nsb0.24_all_{kind}.png" for kind in kinds]
    assert all((tmp_path / "plots" / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for name in pictures)


def test_the_cache_and_a_cluster_change_nothing(run, files, tmp_path):
    def table(name, *options):
        assert run("limits", files, "--loss-fraction", 0.01, *options, "-o", tmp_path / name)[0] == 0
        found = read_limits(tmp_path / name)
        found.meta = {}
        return found

    plain, cache = table("plain.ecsv"), ("--cache", tmp_path / "cache")
    for name, options in (("first.ecsv", cache), ("second.ecsv", cache), ("two.ecsv", ("--scheduler", "local:1"))):
        other = table(name, *options)
        for column in plain.colnames:
            one, two = (np.asarray(getattr(t[column], "value", t[column])) for t in (plain, other))
            assert np.array_equal(one, two, equal_nan=one.dtype.kind == "f"), (name, column)
    assert any((tmp_path / "cache").iterdir())


def test_a_bad_file_stops_or_is_listed(run, pilots, tmp_path):
    (tmp_path / "bad.hdf5").write_bytes((pilots / "a.reduced.hdf5").read_bytes()[:5000])
    (tmp_path / "empty.hdf5").touch()
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["x"] = [1, 2]
    given = (pilots / "a.reduced.hdf5", f"{tmp_path}/*.hdf5")
    status, out, err = run("limits", *given, "-o", tmp_path / "l.ecsv")
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "l.ecsv").exists()
    status, out, err = run("limits", *given, "--skip-invalid", "-o", tmp_path / "l.ecsv")
    assert status == 0
    assert [line.split(":")[0] for line in err.splitlines()] == ["skipped"] * 3
    meta = read_limits(tmp_path / "l.ecsv").meta
    assert [entry["file"] for entry in meta["skipped_files"]] == ["bad.hdf5", "empty.hdf5", "other.hdf5"]
    assert all(entry["reason"] for entry in meta["skipped_files"])
    assert [entry["file"] for entry in meta["provenance"]["event_files"]] == ["a.reduced.hdf5"]


def test_a_sub_array_without_triggers_has_no_row_and_is_named(run, files, tmp_path):
    given = ("--telescopes", "all", "--telescopes", "few=LSTN-01,LSTN-02,LSTN-03,LSTN-04", "--multiplicity", 4)
    (tmp_path / "a.yml").write_text(yaml.safe_dump({"telescope_configs": {"none": ["LSTN-77"], "full": []}}))
    status, _, err = run("limits", files, *given, "--sub-arrays", tmp_path / "a.yml", "-o", tmp_path / "l.ecsv")
    assert status == 0
    assert "note: sub-array 'none' triggered at 0 of 2 places, and has no row at the others" in err.splitlines()
    table = read_limits(tmp_path / "l.ecsv")
    assert table["array_name"].tolist() == ["full", "all", "few"] * 2
    assert any("LSTN-77" in note for note in table.meta["notes"])


def test_checksums_on_request(run, pilots, tmp_path):
    from prodconf.core.files import sha256

    assert run("limits", pilots / "a.reduced.hdf5", "--checksums", "-o", tmp_path / "l.ecsv")[0] == 0
    (entry,) = read_limits(tmp_path / "l.ecsv").meta["provenance"]["event_files"]
    assert entry["sha256"] == sha256(pilots / "a.reduced.hdf5")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--telescopes", "x=LSTN-77"), "LSTN-77"),
        (("--telescopes", "=LSTN-01"), "sub-array"),
        (("--telescopes", "all", "--telescopes", "all"), "different names"),
        (("--multiplicity", 99, "--telescopes", "x=LSTN-01"), "multiplicity must not exceed"),
        (("--stereo", "LSTN"), "--stereo must be a type and a number"),
        (("--stereo", "SSTS=2", "--telescopes", "x=LSTN-01"), "type 'SSTS'"),
        (("--loss-fraction", 1), "loss_fraction"),
        (("--loss-energy", -0.1), "loss_fraction"),
        (("--confidence", 1.5), "confidence"),
        (("--round-outward", "5 kg"), "rounding must be"),
        (("--sub-arrays", "missing.yml"), "missing.yml"),
        (("--scheduler", "nonsense"), "scheduler must be"),
        (("--multiplicity", 60), "all"),
        (("--plots", "no/such/folder"), "does not exist"),
        (("--curves", "/nowhere/c.ecsv"), "its folder does not exist"),
    ],
)
def test_bad_requests_end_in_one_line(run, pilots, tmp_path, options, match):
    status, out, err = run("limits", pilots / "a.reduced.hdf5", *options, "-o", tmp_path / "l.ecsv")
    assert (status, out) == (1, "")
    assert match in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("prodconf: ")
    assert not (tmp_path / "l.ecsv").exists()


@pytest.mark.parametrize("command", ["limits", "merge"])
def test_help_has_an_example(run, command):
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    assert f"Example: prodconf {command} " in out


@pytest.mark.parametrize("arguments", [(), ("x.hdf5",), ("x.hdf5", "-o", "l.ecsv", "--energy-rule", "no")])
def test_usage_is_status_two(run, arguments):
    status, out, err = run("limits", *arguments)
    assert (status, out) == (2, "")
    assert "Usage" in err or "Missing" in err


def test_nothing_is_replaced_unasked_and_no_input_ever(run, pilots, tmp_path):
    event_file, output = pilots / "a.reduced.hdf5", tmp_path / "l.ecsv"
    output.write_text("precious")
    status, _, err = run("limits", event_file, "-o", output)
    assert (status, output.read_text()) == (1, "precious")
    assert "--overwrite" in err
    before = event_file.stat().st_mtime_ns
    status, _, err = run("limits", f"{pilots}/*.hdf5", "-o", event_file, "--overwrite")
    assert (status, event_file.stat().st_mtime_ns) == (1, before)
    assert "is an input" in err
    assert run("limits", event_file, "-o", output, "--overwrite")[0] == 0
    assert len(read_limits(output)) == 1


def test_a_killed_run_leaves_nothing_broken_and_can_be_run_again(run, files, tmp_path):
    given = ["limits", files, "--cache", str(tmp_path / "cache"), "-o", str(tmp_path / "l.ecsv")]
    command = [sys.executable, "-c", "from prodconf.command_line import main; main()", *given]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < limit:
        if (tmp_path / "cache").is_dir() and any((tmp_path / "cache").iterdir()):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    process.wait(300)
    if (tmp_path / "l.ecsv").exists():
        read_limits(tmp_path / "l.ecsv")
        (tmp_path / "l.ecsv").unlink()
    for options in ([], ["--overwrite"]):
        status, _, err = run(*given, *options)
        assert status == 0, err
        assert len(read_limits(tmp_path / "l.ecsv")) == 2


# --- merge ------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def tables(pilots, tmp_path_factory):
    """Limits of the two pointings in two tables."""
    from prodconf.limits.production import derive_limits
    from prodconf.limits.rows import limits_table

    folder, names = tmp_path_factory.mktemp("tables"), (["a", "b"], ["c"])
    for number, files in enumerate(names):
        found = derive_limits([pilots / f"{name}.reduced.hdf5" for name in files], [SubArray("all")])
        table = limits_table(found.pilots, primary="", loss_fraction=1e-3)
        write_limits(table, folder / f"{number}.ecsv")
    return folder


def test_merged_tables_are_written_when_complete(run, tables, tmp_path):
    (tmp_path / "grid.yml").write_text("zenith: [20, 40]\nazimuth: 0\nnsb: 0.24\n")
    given = ("merge", f"{tables}/*.ecsv", "--grid", tmp_path / "grid.yml", "-o", tmp_path / "merged.ecsv")
    status, out, err = run(*given)
    assert (status, err) == (0, "")
    assert f"Written: {tmp_path / 'merged.ecsv'}" in out
    merged = read_limits(tmp_path / "merged.ecsv")
    assert merged["zenith"].value.tolist() == [20.0, 40.0]
    assert merged["lower_energy_limit_reason"].tolist() == [
        reason for n in (0, 1) for reason in read_limits(tables / f"{n}.ecsv")["lower_energy_limit_reason"].tolist()
    ]
    assert run(*given)[0] == 1  # it exists
    assert run("merge", tables / "0.ecsv", tmp_path / "merged.ecsv", "-o", tmp_path / "again.ecsv")[0] == 0
    assert len(read_limits(tmp_path / "again.ecsv")) == 2


def test_missing_points_are_listed_and_fail(run, tables, tmp_path):
    (tmp_path / "grid.yml").write_text("zenith: [20, 40, 60]\nazimuth: [0, 180]\n")
    given = ("merge", f"{tables}/*.ecsv", "--grid", tmp_path / "grid.yml", "-o", tmp_path / "merged.ecsv")
    status, out, err = run(*given)
    assert (status, out) == (1, "")
    assert err.splitlines()[0] == "missing: gamma, all: zenith 20 deg, azimuth 180 deg"
    assert err.splitlines()[-1].endswith("limits missing: 4; nothing was written")
    assert not (tmp_path / "merged.ecsv").exists()
    status, _, err = run(*given, "--allow-missing")
    assert status == 0
    assert len(read_limits(tmp_path / "merged.ecsv").meta["merged"]["missing"]) == 4


def test_of_many_missing_points_some_are_listed(run, tables, tmp_path):
    (tmp_path / "grid.yml").write_text(f"zenith: {list(range(30))}\nazimuth: 0\n")
    given = ("merge", tables / "0.ecsv", "--grid", tmp_path / "grid.yml", "-o", tmp_path / "merged.ecsv")
    lines = run(*given)[2].splitlines()
    assert len([line for line in lines if line.startswith("missing: gamma")]) == 20
    assert lines[-2] == "missing: 9 more (--verbose lists all)"
    assert len([line for line in run(*given, "-v")[2].splitlines() if line.startswith("missing: gamma")]) == 29


def test_contradictions_and_mixtures_are_refused(run, tables, tmp_path):
    table = read_limits(tables / "0.ecsv")
    table["upper_radius_limit"] *= 1.1
    write_limits(table, tmp_path / "other.ecsv")
    status, out, err = run("merge", tables / "0.ecsv", tmp_path / "other.ecsv", "--mixed", "-o", tmp_path / "m.ecsv")
    assert (status, out) == (1, "")
    assert "has two different limits" in err
    table = read_limits(tables / "1.ecsv")
    table.meta["confidence"] = 0.99
    write_limits(table, tmp_path / "mixed.ecsv")
    given = ("merge", tables / "0.ecsv", tmp_path / "mixed.ecsv", "-o", tmp_path / "m.ecsv")
    status, _, err = run(*given)
    assert status == 1
    assert "--mixed" in err
    status, _, err = run(*given, "--mixed")
    assert status == 0
    assert "note: mixed: confidence" in err


def test_merge_spares_its_inputs(run, tables, tmp_path):
    before = (tables / "0.ecsv").read_bytes()
    for extra in ((), ("--overwrite",)):
        status, _, err = run("merge", tables / "0.ecsv", "-o", tables / "0.ecsv", *extra)
        assert status == 1
        assert "is an input" in err
    assert (tables / "0.ecsv").read_bytes() == before
    assert run("merge", tmp_path / "none.ecsv", "-o", tmp_path / "m.ecsv")[0] == 1
    assert run("merge")[0] == 2


def test_a_list_of_files_stands_for_them(run, files, pilots, tmp_path):
    """The predecessor's list: YAML with the key `files`, relative to its own folder."""
    listing = pilots / "list.yml"
    listing.write_text("files:\n- a.reduced.hdf5\n- '[bc].reduced.hdf5'\n")
    for source, name in ((listing, "listed"), (files, "named")):
        assert run("limits", source, "--telescopes", "all", "-o", tmp_path / f"{name}.ecsv")[0] == 0
    listed, named = (read_limits(tmp_path / f"{name}.ecsv") for name in ("listed", "named"))
    assert listed["n_triggered"].tolist() == named["n_triggered"].tolist()
    listing.write_text("names: [a.reduced.hdf5]\n")
    status, _, err = run("limits", listing, "-o", tmp_path / "none.ecsv")
    assert (status, err.count("\n")) == (1, 1)
    assert "must hold a list of event files under the key files" in err
    listing.unlink()
