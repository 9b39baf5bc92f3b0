"""The main job from files to files: what is written, what is refused, and whether the number is right."""

import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy import units as u
from astropy.table import QTable, vstack

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.events.reduced import FileInfo, ReducedEventWriter
from prodconf.limits.table import read_limits, write_limits
from prodconf.plan import main_job as module
from prodconf.plan.configuration import PlanConfiguration
from prodconf.plan.main_job import plan_production, write_plan
from prodconf.precision.targets import Metric, Metrics, write_metrics
from prodconf.toys.models import Throw, ToyModel, simulate
from prodconf.toys.sample import SampleSize, write_pilot

FILES = ["allocation.ecsv", "corsika_limits.ecsv", "grid.ecsv", "report.html", "statistics.ecsv"]
THROW = Throw(energy_min=0.006, energy_max=3.0, core_scatter_max=800.0, viewcone_max=7.0)
MODEL = ToyModel(THROW, slope=4.0, correlation=0.1)
TARGET = 0.05


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def same(one: QTable, two: QTable) -> bool:
    """Compare two tables cell by cell; NaN equals NaN."""
    assert one.colnames == two.colnames
    for name in one.colnames:
        a, b = (np.asarray(getattr(t[name], "value", t[name])) for t in (one, two))
        np.testing.assert_array_equal(a, b)
    return True


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A pilot of the closed-form model: reduced events, DL2 events, and a target in three decades of energy."""
    folder = tmp_path_factory.mktemp("toy")
    size = SampleSize((0.0,), (0.24,), n_runs=3, n_showers=25_000, n_uses=5)
    reduced, dl2 = write_pilot(folder / "toy", MODEL, seed=np.random.SeedSequence(8), size=size)
    metric = Metric(target=TARGET, energy_min=0.0158, energy_max=0.64)
    write_metrics(Metrics(uncertainty_effective_area=metric), folder / "metrics.yml")
    return {
        "reduced_events": str(reduced),
        "dl2_events": {"files": str(dl2), "nsb_level": 0.24},
        "metrics": str(folder / "metrics.yml"),
        "loss_fraction": 0.01,
    }


@pytest.fixture(scope="module")
def limits_only(toy):
    """The least plan: limits of one small pilot."""
    return {name: toy[name] for name in ("reduced_events", "loss_fraction")}


@pytest.fixture
def no_pictures(monkeypatch):
    """Write a page without drawing, where the page is not what is tested."""
    monkeypatch.setattr(module, "render_report", lambda plan, provenance: "<p>" + " ".join(plan.summary))


# ---------------------------------------------------------------- what is written


def test_five_files_and_nothing_else(small_plan):
    assert names(small_plan[1]) == FILES
    assert [path.name for path in small_plan[1].parent.iterdir()] == [small_plan[1].name]


def test_tables_are_read_back_as_they_were(small_plan):
    plan, folder = small_plan
    assert same(QTable.read(folder / "grid.ecsv"), plan.grid)
    assert same(QTable.read(folder / "statistics.ecsv"), plan.statistics)
    found = read_limits(folder / "corsika_limits.ecsv")
    for name in plan.limits.colnames:
        if name in found.colnames:
            a, b = (np.asarray(getattr(t[name], "value", t[name])) for t in (found, plan.limits))
            np.testing.assert_array_equal(a, b)
        else:
            assert set(map(str, plan.limits[name])) <= {"", "nan", "-1"}  # a column that says nothing
    assert found.meta["loss_fraction_energy"] == plan.configuration.loss_fraction


def test_tables_have_units_and_verdicts(small_plan):
    grid = QTable.read(small_plan[1] / "grid.ecsv")
    expected = {"zenith": "deg", "lower_energy_limit": "TeV", "upper_radius_limit": "m", "viewcone_radius": "deg"}
    for name, unit in expected.items():
        assert grid[name].unit == u.Unit(unit)
    words = {"ok", "unstated", "sample_limited", "truncated", "undetermined"}
    for name in ("lower_energy_limit_verdict", "upper_radius_limit_verdict", "viewcone_radius_verdict"):
        assert set(grid[name]) <= words
    assert len(grid) == 5 * 3
    assert list(dict.fromkeys(grid["array_name"])) == ["production", "full array", "large telescopes"]


def test_outputs_say_what_they_were_made_from(small_plan, small_sample):
    plan, folder = small_plan
    read = sorted([*small_sample.reduced_events, *small_sample.dl2_events, small_sample.metrics])
    expected = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in read}
    for name in FILES:
        if name.endswith(".ecsv"):
            made = QTable.read(folder / name).meta["provenance"]
            assert {item["file"]: item["sha256"] for item in made["inputs"]} == expected
            assert made["program"] == "prodconf"
            assert made["configuration"] == plan.configuration.model_dump(mode="json")
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert all(checksum in report for checksum in expected.values())


def test_sample_truth_lies_where_the_limits_say(small_plan, small_sample):
    """The truth beside the sample lies in the 95 % intervals of its pilots, up to one of nine."""
    truth = QTable.read(small_sample.truth_limits)
    truth = truth[np.isclose(truth["loss_fraction"], small_plan[0].configuration.loss_fraction)]
    limits, inside = small_plan[0].limits, []
    for row in limits[limits["array_name"] == "full array"]:
        (true,) = truth[np.isclose(truth["zenith"], row["zenith"])]
        for name in ("lower_energy_limit", "upper_radius_limit", "viewcone_radius"):
            inside.append(bool(row[f"{name}_low"] <= true[name] <= row[f"{name}_high"]))
    assert len(inside) == 9
    assert sum(inside) >= 8


# ---------------------------------------------------------------- whether the number is right


def test_the_planned_production_reaches_its_target(toy):
    """
    The production that the plan asks for, thrown at the closed form, has the target's uncertainty in the worst bin.

    Every efficiency is exact there; what is left is the pilot's error on the deciding bin and the design effect.
    """
    plan = plan_production(toy)
    (row,), (need,), (pilot,) = plan.production, plan.requirements, plan.evaluations
    assert [row[f"{q}_verdict"] for q in ("lower_energy_limit", "upper_radius_limit", "viewcone_radius")] == ["ok"] * 3
    box = {
        "energy_min": row["lower_energy_limit"].value,
        "energy_max": row["upper_energy_limit"].value,
        "core_scatter_max": row["upper_radius_limit"].value,
        "viewcone_max": row["viewcone_radius"].value,
    }
    model = dataclasses.replace(MODEL, throw=dataclasses.replace(THROW, **box))
    held = np.flatnonzero(need.held)
    edges = pilot.energy_edges[held[0] : held[-1] + 2]
    assert edges[0] >= box["energy_min"]
    shares = (1 / edges[:-1] - 1 / edges[1:]) / (1 / box["energy_min"] - 1 / box["energy_max"])
    p = model.efficiencies(edges)
    for n_events, reaches in ((row["n_events"], 1.0), (row["n_events_bound"], 0.0)):
        uncertainty = np.sqrt(model.design_effect(p, n_uses=5) * (1 - p) / (p * n_events * shares))
        if reaches:
            error = 2.5 * 0.5 / np.sqrt(need.n_effective) + 0.02
            assert uncertainty.max() == pytest.approx(TARGET, rel=error)
        else:
            assert uncertainty.max() <= TARGET
    # Smaller area, cone and energy range than the pilot's: fewer events than the pilot's ranges would need.
    assert row["n_events"] < plan.statistics["n_required"][need.deciding_bin]


def test_limits_are_those_of_the_closed_form(toy, limits_only):
    (row,) = plan_production(limits_only).limits
    truth = MODEL.limits(0.01)
    for name, value in zip(
        ("lower_energy_limit", "upper_radius_limit", "viewcone_radius"),
        (truth.lower_energy, truth.upper_radius, np.degrees(truth.viewcone)),
        strict=True,
    ):
        assert row[f"{name}_low"].value <= value <= row[f"{name}_high"].value
        assert row[f"{name}_verdict"] == "ok"


# ---------------------------------------------------------------- ways to call it


def test_path_mapping_and_model_give_one_plan(small_plan, small_sample, monkeypatch):
    monkeypatch.chdir(small_sample.folder)
    data = yaml.safe_load(small_sample.configuration.read_text(encoding="utf-8"))
    for configuration in (data, PlanConfiguration.model_validate(data)):
        plan = plan_production(configuration)
        assert same(plan.grid, small_plan[0].grid)
        assert same(plan.limits, small_plan[0].limits)
        assert same(plan.statistics, small_plan[0].statistics)
        assert plan.summary == small_plan[0].summary
        assert plan.notes == small_plan[0].notes


def test_files_are_found_beside_the_plan_and_not_here(small_sample, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = yaml.safe_load(small_sample.configuration.read_text(encoding="utf-8"))
    with pytest.raises(ProdconfError, match="no file found"):
        plan_production(data)


def test_the_order_of_the_files_does_not_matter(small_sample, small_plan):
    data = yaml.safe_load(small_sample.configuration.read_text(encoding="utf-8"))
    data["reduced_events"] = [str(path) for path in small_sample.reduced_events[::-1]]
    data["dl2_events"] = {"files": [str(path) for path in small_sample.dl2_events[::-1]], "nsb_level": 0.24}
    data["metrics"] = str(small_sample.metrics)
    assert same(plan_production(data).grid, small_plan[0].grid)


def test_without_a_grid_the_pilots_pointings_are_planned(small_sample, small_plan):
    data = yaml.safe_load(small_sample.configuration.read_text(encoding="utf-8"))
    del data["grid"], data["dl2_events"], data["metrics"]
    data["reduced_events"] = [str(path) for path in small_sample.reduced_events]
    plan = plan_production(data)
    assert plan.production["zenith"].value.tolist() == [20, 40, 60]
    wanted = small_plan[0].production[[0, 2, 4]]
    radius = plan.production["upper_radius_limit"].value
    assert (radius <= wanted["upper_radius_limit"].value).all()  # with targets no narrower than their bins need
    np.testing.assert_allclose(plan.production["lower_energy_limit"].value, wanted["lower_energy_limit"].value)


def test_a_plan_without_statistics_writes_three_files(limits_only, tmp_path):
    plan = plan_production(limits_only, tmp_path / "out")
    assert names(tmp_path / "out") == ["corsika_limits.ecsv", "grid.ecsv", "report.html"]
    assert plan.statistics is None
    assert np.isnan(plan.n_events)
    assert "The number of events is not determined" in " ".join(plan.summary)


def test_zero_loss_can_be_planned(limits_only, tmp_path):
    plan = plan_production(limits_only | {"loss_fraction": 0.0}, tmp_path / "out")
    assert "ok" not in set(plan.limits["upper_radius_limit_verdict"])


# ---------------------------------------------------------------- output is whole or absent


def test_a_folder_with_files_is_refused_before_any_work(limits_only, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_make", lambda *_: pytest.fail("worked in vain"))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ProdconfError, match="is not empty"):
        plan_production(limits_only, tmp_path)
    with pytest.raises(ProdconfError, match="is a file"):
        plan_production(limits_only, tmp_path / "notes.txt", overwrite=True)
    with pytest.raises(ProdconfError, match="does not exist"):
        plan_production(limits_only, tmp_path / "no" / "where")
    assert names(tmp_path) == ["notes.txt"]


def test_overwriting_replaces_only_its_files(limits_only, tmp_path, no_pictures):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "grid.ecsv").write_text("old")
    plan = plan_production(limits_only, out, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"
    assert same(QTable.read(out / "grid.ecsv"), plan.grid)
    assert names(out) == ["corsika_limits.ecsv", "grid.ecsv", "notes.txt", "report.html"]
    assert names(tmp_path) == ["out"]


def test_no_table_of_an_earlier_plan_stays_beside_a_new_one(toy, limits_only, tmp_path, no_pictures):
    """A plan without reconstructed events over one with them: its statistics would belong to another plan."""
    write_plan(plan_production(toy), tmp_path / "out")
    plan_production(limits_only, tmp_path / "out", overwrite=True)
    assert names(tmp_path / "out") == ["corsika_limits.ecsv", "grid.ecsv", "report.html"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_failure_leaves_everything_as_it_was(limits_only, tmp_path, monkeypatch, exists):
    out = tmp_path / "out"
    if exists:
        out.mkdir()
        (out / "grid.ecsv").write_text("old")

    def fail(*_, **__):
        raise ProdconfError("no report")

    monkeypatch.setattr(module, "render_report", fail)
    with pytest.raises(ProdconfError, match="no report"):
        plan_production(limits_only, out, overwrite=True)
    assert names(tmp_path) == (["out"] if exists else [])
    if exists:
        assert names(out) == ["grid.ecsv"]
        assert (out / "grid.ecsv").read_text() == "old"


# ---------------------------------------------------------------- refusals


def test_a_sub_array_that_never_triggers_is_refused(limits_only, tmp_path):
    arrays = {"all": {}, "southern": {"telescopes": ["SSTS-01"]}}
    with pytest.raises(ProdconfError, match=r"'southern' .* triggered in no pilot"):
        plan_production(limits_only | {"sub_arrays": arrays}, tmp_path / "out")
    assert names(tmp_path) == []


def test_a_telescope_that_no_file_knows_is_named(limits_only):
    """A misspelt telescope must not silently drop out of its sub-array."""
    arrays = {"two": {"telescopes": ["LSTN-01", "LSTN-1O"]}}
    with pytest.warns(ProdconfWarning, match="LSTN-1O of 'two' triggered in no pilot"):
        plan = plan_production(limits_only | {"sub_arrays": arrays})
    assert any("LSTN-1O" in note for note in plan.notes)


def test_outside_the_pilots_is_refused(limits_only, tmp_path):
    grid = {"zenith": ["70 deg"], "azimuth": ["0 deg"], "nsb_level": [0.24]}
    with pytest.raises(ProdconfError, match=r"zenith 70 deg, .* is outside"):
        plan_production(limits_only | {"grid": grid}, tmp_path / "out")
    plan = plan_production(limits_only | {"grid": grid | {"outside": "nearest"}})
    assert plan.production["outside_pilots"].all()
    assert any("outside the pilots" in sentence for sentence in plan.summary)


def test_pilots_of_two_particles_are_not_mixed(limits_only, tmp_path):
    """Gamma and proton pilots of one pointing: one of them must not silently speak for both."""
    info = FileInfo("protons", 0, 1, 14, -2.0, 0.006, 3.0, 0.0, 7.0, 0.0, 800.0, 20.0, 0.0, 0.24)
    path = tmp_path / "protons.hdf5"
    with ReducedEventWriter(path, telescopes=MODEL.telescopes) as writer:
        writer.add_file(info)
        for uses in simulate(MODEL, rng=np.random.default_rng(1), n_showers=20_000):
            ids = {"file_id": 0, "shower_id": uses.shower_id, "event_id": uses.event_id}
            place = {"azimuth": np.degrees(uses.azimuth), "altitude": np.degrees(uses.altitude)}
            writer.add_showers(**ids, energy=uses.energy, x_core=uses.x_core, y_core=uses.y_core, **place)
            rows = uses.triggered
            ids = {"file_id": 0, "shower_id": uses.shower_id[rows], "event_id": uses.event_id[rows]}
            writer.add_triggers(**ids, array_altitude=70.0, array_azimuth=0.0, masks=uses.masks)
    with pytest.raises(ProdconfError, match="proton"):
        plan_production(limits_only | {"reduced_events": [limits_only["reduced_events"], str(path)]})


def test_pilots_of_two_layouts_are_not_mixed(limits_only, monkeypatch):
    """Two arrays at one pointing: the plan could not say which of them a limit is for."""
    original = module.group_files

    def twice(files):
        (group,) = original(files)
        points = [dataclasses.replace(group.point, layout=name) for name in ("Alpha", "Beta")]
        return [dataclasses.replace(group, point=point) for point in points]

    monkeypatch.setattr(module, "group_files", twice)
    with pytest.raises(ProdconfError, match=r"two pilots of one pointing and NSB level \(layouts Alpha and Beta\)"):
        plan_production(limits_only)


def test_bad_files_are_named(limits_only, toy, tmp_path):
    broken = tmp_path / "broken.hdf5"
    broken.write_bytes(Path(toy["reduced_events"]).read_bytes()[:5000])
    for changes, word in (
        ({"reduced_events": str(broken)}, "broken.hdf5"),
        ({"reduced_events": str(tmp_path / "*.none")}, "reduced_events"),
        ({"reduced_events": toy["dl2_events"]["files"]}, "dl2.fits"),
        ({"limits_table": toy["metrics"]}, "metrics.yml"),
        ({"dl2_events": {"files": toy["reduced_events"], "nsb_level": 0.24}, "metrics": toy["metrics"]}, "hdf5"),
        ({"metrics": toy["reduced_events"]}, "hdf5"),
    ):
        with pytest.raises(ProdconfError, match=word) as caught:
            plan_production(limits_only | changes, tmp_path / "out")
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["broken.hdf5"]


def test_warnings_of_the_files_are_notes_as_well(toy, tmp_path):
    """A DL2 file whose list holds one of its three runs, without a word on it."""
    from astropy.io import fits

    path = tmp_path / "some.dl2.fits"
    with fits.open(toy["dl2_events"]["files"]) as hdus:
        events = hdus["EVENTS"]
        events.data = events.data[events.data["OBS_ID"] == 1]
        hdus.writeto(path)
    with pytest.warns(ProdconfWarning, match="1 of 3 thrown runs"):
        plan = plan_production(toy | {"dl2_events": {"files": str(path), "nsb_level": 0.24}})
    assert any("1 of 3 thrown runs" in note for note in plan.notes)
    stated = {"files": str(path), "nsb_level": 0.24, "simulated_fraction": "runs"}
    quiet = plan_production(toy | {"dl2_events": stated})
    assert quiet.production["n_events"][0] == pytest.approx(plan.production["n_events"][0] / 3, rel=0.2)


def test_two_dl2_files_of_one_name(toy, tmp_path):
    """The same name in two folders: both are reported."""
    model = ToyModel(dataclasses.replace(THROW, zenith=40.0), slope=4.0)
    size = SampleSize((0.0,), (0.24,), n_runs=1, n_showers=20_000, n_uses=5)
    reduced, dl2 = write_pilot(tmp_path / "other", model, seed=np.random.SeedSequence(9), size=size, first_run=9)
    files = [tmp_path / "a" / "x.fits", tmp_path / "b" / "x.fits"]
    for path, source in zip(files, (toy["dl2_events"]["files"], dl2), strict=True):
        path.parent.mkdir()
        shutil.copy(source, path)
    data = toy | {
        "reduced_events": [toy["reduced_events"], str(reduced)],
        "dl2_events": {"files": [str(path) for path in files], "nsb_level": 0.24},
    }
    plan_production(data, tmp_path / "out")
    assert names(tmp_path / "out") == FILES[1:]


def test_what_decided_stands_in_the_grid(toy, tmp_path):
    """A pilot at 60 deg needs more events per area, but only 20 deg is planned: its bin decides nothing."""
    model = ToyModel(dataclasses.replace(THROW, zenith=60.0), slope=4.0, efficiency=0.2)
    size = SampleSize((0.0,), (0.24,), n_runs=1, n_showers=40_000, n_uses=5)
    reduced, dl2 = write_pilot(tmp_path / "other", model, seed=np.random.SeedSequence(9), size=size, first_run=9)
    data = toy | {
        "reduced_events": [toy["reduced_events"], str(reduced)],
        "dl2_events": {"files": [toy["dl2_events"]["files"], str(dl2)], "nsb_level": 0.24},
        "grid": {"zenith": ["20 deg"], "azimuth": ["0 deg"], "nsb_level": [0.24]},
    }
    plan = plan_production(data)
    density = {round(p.zenith): n.density for p, n in zip(plan.evaluations, plan.requirements, strict=True)}
    assert density[60] > density[20]
    (sentence,) = [sentence for sentence in plan.summary if "decides" in sentence]
    assert "zenith 20°" in sentence


def test_a_target_that_no_event_speaks_of_is_undetermined(toy, tmp_path):
    """All events lie below the target's energies: the plan says so, with its page."""
    from astropy.io import fits

    path = tmp_path / "low.dl2.fits"
    with fits.open(toy["dl2_events"]["files"]) as hdus:
        events = hdus["EVENTS"]
        events.data = events.data[events.data["MC_ENERGY"] < 0.015]
        hdus.writeto(path)
    plan = plan_production(toy | {"dl2_events": {"files": str(path), "nsb_level": 0.24}}, tmp_path / "out")
    assert names(tmp_path / "out") == FILES[1:]
    assert np.isnan(plan.n_events)
    assert list(plan.production["n_events_status"]) == ["undetermined"]
    assert "The number of events is not determined by these pilots." in plan.summary


def test_a_point_source_can_be_planned(tmp_path):
    """All showers from one direction, 0.5 deg off the pointing: no view cone, but energy and radius."""
    info = FileInfo("point", 0, 1, 1, -2.0, 0.006, 3.0, 0.0, 0.0, 0.0, 800.0, 20.0, 0.0, 0.24)
    path = tmp_path / "point.hdf5"
    with ReducedEventWriter(path, telescopes=MODEL.telescopes) as writer:
        writer.add_file(info)
        for uses in simulate(MODEL, rng=np.random.default_rng(1), n_showers=50_000):
            ids = {"file_id": 0, "shower_id": uses.shower_id, "event_id": uses.event_id}
            place = {"azimuth": 0.0, "altitude": 70.5}
            writer.add_showers(**ids, energy=uses.energy, x_core=uses.x_core, y_core=uses.y_core, **place)
            rows = uses.triggered
            ids = {"file_id": 0, "shower_id": uses.shower_id[rows], "event_id": uses.event_id[rows]}
            writer.add_triggers(**ids, array_altitude=70.0, array_azimuth=0.0, masks=uses.masks)
    plan = plan_production({"reduced_events": str(path), "loss_fraction": 0.05}, tmp_path / "out")
    assert plan.production["viewcone_radius_verdict"][0] == "undetermined"
    assert np.isfinite(plan.production["upper_radius_limit"].value[0])
    assert any("point-like" in note for note in plan.notes)


# ---------------------------------------------------------------- earlier limits


def earlier(limits: QTable, **changes) -> QTable:
    """Make a table of the same places with other limits."""
    table = limits.copy()
    table.meta.clear()
    for name, value in changes.items():
        table[name] = value
    return table


def plan_with(limits_only, path: Path, table: QTable, **more):
    write_limits(table, path)
    return plan_production(limits_only | {"limits_table": str(path)} | more)


def worse(limits: QTable) -> QTable:
    return earlier(
        limits,
        upper_radius_limit=[777.0] * u.m,
        upper_radius_limit_guaranteed=[777.0] * u.m,
        upper_radius_limit_verdict=["sample_limited"],
    )


def test_the_better_verdict_wins(limits_only, tmp_path):
    own = plan_production(limits_only).limits
    plan = plan_with(limits_only, tmp_path / "worse.ecsv", worse(own))
    assert same(plan.limits, own)
    assert [n for n in plan.notes if "in the table" in n] == [
        "limits of full array at zenith 20 deg are in a pilot and in the table; the pilot is used"
    ]
    # A pilot too small for a loss of 1e-4: its table at 1 % is better.
    plan = plan_with(limits_only, tmp_path / "better.ecsv", earlier(own), loss_fraction=1e-5)
    assert list(plan.limits["upper_radius_limit_verdict"]) == ["ok"]
    assert plan.limits["upper_radius_limit"][0] == own["upper_radius_limit"][0]
    assert any(note.endswith("the table is used") for note in plan.notes)
    assert tmp_path / "better.ecsv" in plan.inputs


def test_between_equals_the_pilot_is_used(limits_only, tmp_path):
    own = plan_production(limits_only).limits
    other = earlier(own, upper_radius_limit_guaranteed=[777.0] * u.m)
    assert same(plan_with(limits_only, tmp_path / "equal.ecsv", other).limits, own)


def test_other_places_of_the_table_are_added(limits_only, tmp_path):
    own = plan_production(limits_only).limits
    far = earlier(own, zenith=[40.0] * u.deg, upper_radius_limit_guaranteed=[1234.0] * u.m)
    grid = {"zenith": ["20 deg", "40 deg"], "azimuth": ["0 deg"], "nsb_level": [0.24]}
    plan = plan_with(limits_only, tmp_path / "far.ecsv", far, grid=grid)
    np.testing.assert_allclose(
        plan.production["upper_radius_limit"].value, [own["upper_radius_limit_guaranteed"].value[0], 1234]
    )
    assert not any("in the table" in note for note in plan.notes)


def test_a_table_alone_can_be_planned(limits_only, tmp_path):
    own = plan_production(limits_only).limits
    write_limits(earlier(own), tmp_path / "alone.ecsv")
    plan = plan_production({"limits_table": str(tmp_path / "alone.ecsv")}, tmp_path / "out")
    assert names(tmp_path / "out") == ["corsika_limits.ecsv", "grid.ecsv", "report.html"]
    np.testing.assert_allclose(plan.production["upper_radius_limit"].value, own["upper_radius_limit_guaranteed"].value)


def test_limits_of_another_particle_are_not_taken(limits_only, tmp_path):
    own = plan_production(limits_only).limits
    protons = earlier(own, primary_particle=["proton"], upper_radius_limit_guaranteed=[50.0] * u.m)
    write_limits(vstack([protons, earlier(own)]), tmp_path / "both.ecsv")
    plan = plan_production({"limits_table": str(tmp_path / "both.ecsv"), "primary": "gamma"})
    assert list(plan.limits["primary_particle"]) == ["gamma"]
    np.testing.assert_allclose(plan.production["upper_radius_limit"].value, own["upper_radius_limit_guaranteed"].value)


def test_a_table_without_the_sub_array_is_refused(limits_only, tmp_path):
    own = plan_production(limits_only).limits
    with pytest.raises(ProdconfError, match=r"no gamma limits of a sub-array; it has other \(gamma\)"):
        plan_with(limits_only, tmp_path / "other.ecsv", earlier(own, array_name=["other"]))


# ---------------------------------------------------------------- real files


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    """Plan over the real sample files."""
    configuration = {
        "reduced_events": [
            str(shared_data / "reduced_events" / f"gamma_diffuse_za20deg_v0.{v}.hdf5") for v in (34, 36)
        ],
        "dl2_events": {
            "files": str(shared_data / "dl2" / "*.fits"),
            "nsb_level": 0.24,
            "offset_max": "1 deg",
            "simulated_fraction": "runs",
        },
        "limits_table": str(shared_data / "limits" / "corsika_limits_v0.33.ecsv"),
        "metrics": str(shared_data / "configuration" / "metrics_v0.16.yml"),
        "sub_arrays": {"CTAO-North-Alpha": {"telescopes": "all", "multiplicity": 2}},
        "grid": {
            "zenith": ["20 deg", "40 deg", "52 deg", "60 deg"],
            "azimuth": "0 deg",
            "nsb_level": 0.24,
        },
    }
    folder = tmp_path_factory.mktemp("real") / "plan"
    return plan_production(configuration, folder), folder


def test_real_files_give_a_plan(real):
    plan, folder = real
    assert names(folder) == FILES[1:]
    assert len(plan.evaluations) == 3
    assert {round(one.zenith) for one in plan.evaluations} == {20, 40, 60}
    left_out = [note for note in plan.notes if "was left out" in note]
    assert len(left_out) == 1
    assert left_out[0].startswith("gamma_diffuse_za20deg_v0.34.hdf5 was left out")
    assert not any(path.name.endswith("v0.34.hdf5") for path in plan.inputs)


def test_real_limits_are_those_of_the_table_and_say_what_they_rest_on(real):
    plan, _ = real
    rows = plan.production
    np.testing.assert_allclose(rows["upper_radius_limit"].value, [1425, 1925, 2425, 2775])
    np.testing.assert_allclose(rows["lower_energy_limit"].value, [0.006, 0.01, 0.015, 0.039])
    np.testing.assert_allclose(rows["upper_energy_limit"].value, [330, 660, 860, 990])
    assert set(rows["viewcone_radius_verdict"]) == {"truncated"}  # every one at its 10 deg edge
    assert set(rows["upper_radius_limit_verdict"]) == {"unstated"}
    text = " ".join(plan.summary)
    assert "view cone is cut off by the simulated range" in text
    assert "does not say how sure it is" in text


def test_real_statistics_are_honest(real):
    plan, _ = real
    table = plan.statistics
    assert set(plan.production["n_events_status"]) == {"undetermined"}
    assert all(need.status == "undetermined" for need in plan.requirements)
    seen = np.asarray(table["n_passed"]) > 0
    asked = ~np.isin(np.asarray(table["status"]), ["not_requested", "not_thrown"])
    np.testing.assert_array_equal(np.isfinite(table["n_required"]), seen)
    np.testing.assert_array_equal(np.isfinite(table["relative_uncertainty"]), seen)
    assert set(table["status"][asked & ~seen]) == {"undetermined"}
    assert (table["n_required_bound"][seen] > table["n_required"][seen]).all()
    assert np.isfinite(plan.production["n_events"]).all()
    assert not set(table["status"][table["decides"]]) & {"undetermined"}  # what decides is determined, by few events
    assert (plan.production["n_events_sigma"] > 0.15 * plan.production["n_events"]).all()
    assert "too few events passed in bins within" in " ".join(plan.summary)


def test_real_effective_areas_are_those_of_the_field_notes(real):
    """A(1 TeV) within 1 deg: 8.3, 9.4 and 8.5 · 10⁵ m² at 20, 40 and 60 deg, here from about ten events a bin."""
    table = real[0].statistics
    for zenith, area in ((20, 8.3e5), (40, 9.4e5), (60, 8.5e5)):
        near = np.abs(np.asarray(table["zenith"].value) - zenith) < 0.5
        centre = np.sqrt(table["energy_min"].value * table["energy_max"].value)
        rows = table[near & (centre > 0.5) & (centre < 2.0)]
        found = np.sum(rows["n_passed"]) / np.sum(
            rows["n_passed"] / np.where(np.isfinite(rows["effective_area"].value), rows["effective_area"].value, np.inf)
        )
        assert found == pytest.approx(area, rel=0.35)


def test_old_files_can_be_planned(shared_data, tmp_path, no_pictures):
    """Files of v0.16 give no radius: the plan says so."""
    path = shared_data / "reduced_events" / "run202_proton_za20deg_v0.16.hdf5"
    data = {"reduced_events": str(path), "primary": "proton", "nsb_level": 0.24}
    plan = plan_production(data, tmp_path / "out")
    (row,) = plan.production
    assert row["upper_radius_limit_verdict"] == "undetermined"
    assert row["lower_energy_limit"].value == pytest.approx(0.0759, abs=5e-5)
    assert row["viewcone_radius"].value == pytest.approx(3.93, abs=5e-3)
    assert any("core positions cannot be known" in note for note in plan.notes)
    found = read_limits(tmp_path / "out" / "corsika_limits.ecsv")
    assert np.isnan(found["upper_radius_limit"].value[0])


@pytest.mark.parametrize("generation", ["0.17", "0.32", "0.34", "0.36"])
def test_every_generation_can_be_planned(shared_data, generation):
    (path,) = (shared_data / "reduced_events").glob(f"*v{generation}.hdf5")
    primary = "proton" if "proton" in path.name else "gamma"
    plan = plan_production({"reduced_events": str(path), "nsb_level": 0.24, "primary": primary})
    (row,) = plan.production
    assert np.isfinite([row["lower_energy_limit"].value, row["upper_radius_limit"].value]).all()
    assert row["lower_energy_limit_verdict"] != "ok"


def test_sub_arrays_can_be_given_by_id_or_name(shared_data):
    """The real file of v0.36 holds both: MSTN-01 is telescope 5, MSTN-07 is 11, MSTN-10 is 14."""
    path = shared_data / "reduced_events" / "gamma_diffuse_za20deg_v0.36.hdf5"
    arrays = {"by id": [5, 11, 14], "by name": ["MSTN-01", "MSTN-07", "MSTN-10"], "mixed": [5, "MSTN-07", 14]}
    telescopes = {name: {"telescopes": listed, "multiplicity": 2} for name, listed in arrays.items()}
    plan = plan_production({"reduced_events": str(path), "sub_arrays": telescopes})
    one, two, three = (
        (pilot.n_triggered, pilot.energy, pilot.radius, pilot.viewcone)
        for pilot in sorted(plan.pilots, key=lambda pilot: pilot.sub_array)
    )
    assert one == two == three
    assert one[0] > 0
