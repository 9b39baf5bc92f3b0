"""Settings of the studies as files: the plan of the file has the study's numbers, and the file gives the settings."""

import os
from dataclasses import fields, replace

import numpy as np
import pytest
import study_sample as shared
import yaml
from astropy import units as u

from prodconf.core.errors import ProdconfError
from prodconf.plan.configuration import read_configuration
from prodconf.plan.main_job import plan_production
from prodconf.studies.allocation import allocation_study
from prodconf.studies.grid import grid_study
from prodconf.studies.limits import limits_study
from prodconf.studies.pilots import evaluate
from prodconf.studies.settings import (
    StudySettings,
    _fixed,
    load_settings,
    save_settings,
    settings_configuration,
    settings_of,
)
from prodconf.studies.statistics import statistics_study

LARGE = "large telescopes"
ALL = StudySettings(
    pilot="zenith 60°, azimuth 180°, NSB 0.24",
    sub_array=LARGE,
    multiplicity=3,
    loss_fraction=0.0312,
    confidence=0.9,
    target=0.03,
    energy_range=(0.0631, 7.3),
    spectral_index=2.0,
    radius=912.5,
    viewcone=4.3,
    n_use=7,
    cost={"seconds_per_shower": "20.0 s", "bytes_per_event": "2000.0 byte", "energy_power": 0.9},
    density=0.0123,
    zenith=(25.0, 51.0),
    azimuth=(300.0, 60.0),
    slices=4,
    index=1.7,
    budget=123.4,
)


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    return shared.sample_of(tmp_path_factory)


@pytest.fixture(scope="session")
def pilots(sample):
    return shared.read_once(sample)


def same_answers(pilots, one: StudySettings, other: StudySettings) -> None:
    """Check that the studies answer the same with both."""
    for study in (limits_study, statistics_study, allocation_study, grid_study):
        assert study(pilots, one).table == study(pilots, other).table


@pytest.mark.parametrize(
    "settings",
    [
        StudySettings(),
        StudySettings(sub_array=LARGE, multiplicity=1, confidence=0.68),
        replace(ALL, pilot=None),
    ],
    ids=["as planned", "sub-array", "everything"],
)
def test_the_saved_plan_has_the_numbers_of_the_study(pilots, settings, tmp_path):
    """Limits of the sub-array, and events at the pilots, with limits from the plan."""
    save_settings(pilots, settings, tmp_path / "study.yml")
    plan = plan_production(tmp_path / "study.yml")
    own = limits_study(pilots, settings).record
    row = next(
        row
        for row in plan.limits
        if str(row["array_name"]) == own.sub_array
        and abs(row["zenith"].value - own.point.zenith) < 1e-6
        and abs(row["azimuth"].value - own.point.azimuth) < 1e-6
    )
    assert row["lower_energy_limit_guaranteed"].to_value("TeV") == own.energy.guaranteed
    assert row["upper_radius_limit_guaranteed"].to_value("m") == own.radius.guaranteed
    assert row["viewcone_radius_guaranteed"].to_value("deg") == own.viewcone.guaranteed
    planned = ("sub_array", "multiplicity", "loss_fraction", "confidence", "target", "spectral_index")
    planned = {name: getattr(settings, name) for name in planned}
    events = plan.grid[plan.grid["array_name"] == "production"]
    for name in pilots.event_names:
        zenith, azimuth = (float(word.split()[1].rstrip("°")) for word in name.split(", ")[:2])
        near = np.abs(events["zenith"].value - zenith) + np.abs(events["azimuth"].value - azimuth) < 0.1
        (number,) = events["n_events"][near]
        assert statistics_study(pilots, StudySettings(pilot=name, **planned)).n_events == pytest.approx(
            number, rel=1e-12
        )


def test_another_spectrum_of_the_saved_plan_changes_the_limits_that_a_plan_derives(pilots, tmp_path):
    """The studies keep limits of the spectrum that was read; this is said in the notebook, and bounded here."""
    save_settings(pilots, StudySettings(spectral_index=2.4), tmp_path / "study.yml")
    plan = plan_production(tmp_path / "study.yml")
    assert plan.configuration.spectral_index == 2.4
    assert plan.evaluations[0].index == 2.4
    np.testing.assert_array_equal(plan.evaluations[0].density, evaluate(pilots, index=2.4).density)


@pytest.mark.parametrize("name", [None, *(field.name for field in fields(StudySettings))])
def test_saved_settings_are_loaded(pilots, tmp_path, name):
    settings = ALL if name is None else StudySettings(**{name: getattr(ALL, name)})
    path = tmp_path / "study.yml"
    save_settings(pilots, settings, path)
    again = load_settings(pilots, path)
    for field in fields(StudySettings):
        value = getattr(settings, field.name)
        if value is not None:
            assert getattr(again, field.name) == value, field.name
    same_answers(pilots, settings, again)
    save_settings(pilots, again, tmp_path / "again.yml")
    assert load_settings(pilots, tmp_path / "again.yml") == again


def test_saved_settings_are_loaded_from_another_folder(sample, pilots, tmp_path, monkeypatch):
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a")
    save_settings(pilots, ALL, "b/study.yml")
    again = load_settings(pilots, "b/study.yml")
    assert again == load_settings(pilots, place / "study.yml")
    text = yaml.safe_load((place / "study.yml").read_text(encoding="utf-8"))
    assert text["reduced_events"] == [os.path.relpath(sample.parent / "*.reduced.hdf5", place)]
    assert "sub_array" in text["what_if"]
    plan = plan_production("b/study.yml")
    assert plan.configuration.loss_fraction == ALL.loss_fraction
    other = shared.read_pilots("b/study.yml")
    assert load_settings(other, place / "study.yml") == again


def test_settings_are_loaded_from_a_plan_through_a_link(sample, pilots, tmp_path):
    (tmp_path / "link").symlink_to(sample.parent, target_is_directory=True)
    same_answers(pilots, load_settings(pilots, sample), StudySettings())
    assert load_settings(pilots, sample) == load_settings(pilots, sample.parent / ".." / "studies" / "plan.yml")


def test_a_file_is_not_overwritten_unasked(pilots, tmp_path):
    path = tmp_path / "study.yml"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(ProdconfError, match=r"study\.yml"):
        save_settings(pilots, ALL, path)
    assert path.read_text(encoding="utf-8") == "mine"
    save_settings(pilots, ALL, path, overwrite=True)
    assert load_settings(pilots, path).density == ALL.density


def test_a_folder_that_is_not_there_is_refused(pilots, tmp_path):
    with pytest.raises(ProdconfError):
        save_settings(pilots, ALL, tmp_path / "absent" / "study.yml")
    with pytest.raises(ProdconfError):
        load_settings(pilots, tmp_path / "absent.yml")


def test_settings_of_other_pilots_are_refused(sample, pilots, tmp_path):
    for number, changes in enumerate(
        (
            {"reduced_events": ["za20*.reduced.hdf5"]},
            {"dl2_events": None, "metrics": None},
            {"sub_arrays": {"full array": {"telescopes": "all"}}},
            {"sub_arrays": {"full array": {"telescopes": "all"}, LARGE: {"telescopes": ["LSTN-01"]}}},
            {"limits_table": "table.ecsv"},
        )
    ):
        plan = yaml.safe_load(sample.read_text(encoding="utf-8")) | changes
        path = sample.parent / f"other{number}.yml"  # beside the files, so that only the plan differs
        path.write_text(yaml.safe_dump({k: v for k, v in plan.items() if v is not None}), encoding="utf-8")
        try:
            with pytest.raises(ProdconfError, match="must be as in the plan that was read"):
                load_settings(pilots, path)
        finally:
            path.unlink()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (StudySettings(loss_fraction=1.0), "loss_fraction"),
        (StudySettings(confidence=0.0), "confidence"),
        (StudySettings(target=-1.0), "target"),
        (StudySettings(spectral_index=99.0), "spectral_index"),
        (StudySettings(multiplicity=9), "multiplicity"),
        (StudySettings(energy_range=(2.0, 1.0)), "energy_range"),
        (StudySettings(n_use=0), "n_use"),
        (StudySettings(density=-1.0), "density"),
        (StudySettings(sub_array="none"), "sub_array"),
        (StudySettings(radius=float("nan")), "radius"),
        (StudySettings(cost={"seconds": "1 s"}), "cost"),
        (StudySettings(slices=0), "slices"),
        (StudySettings(slices=9), "slices"),
        (StudySettings(slices=2.5), "slices"),
        (StudySettings(index=-1.0), "index"),
        (StudySettings(index="steep"), "index"),
        (StudySettings(budget=0.0), "budget"),
        (StudySettings(budget=float("inf")), "budget"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_not_saved(pilots, tmp_path, settings, word):
    """A file that could not be planned or loaded again is worth nothing."""
    with pytest.raises(ProdconfError, match=word):
        save_settings(pilots, settings, tmp_path / "study.yml")
    assert list(tmp_path.iterdir()) == []


def test_the_plan_ignores_what_if(sample, tmp_path):
    own = {"radius": "10 m", "viewcone": "1 deg", "n_use": 3, "density": 0.5, "energy_range": ["1 TeV", "2 TeV"]}
    path = shared.changed(sample, tmp_path, what_if=own)
    plan, wanted = plan_production(path), shared.plan_once(sample)
    for name in ("n_events", "upper_radius_limit", "viewcone_radius"):
        np.testing.assert_array_equal(np.asarray(plan.grid[name]), np.asarray(wanted.grid[name]))
    assert plan.summary == wanted.summary
    assert settings_of(plan.configuration) == StudySettings(
        radius=10.0, viewcone=1.0, n_use=3, density=0.5, energy_range=(1.0, 2.0)
    )


def test_a_free_index_and_a_budget_with_a_unit_are_kept(pilots, tmp_path):
    save_settings(pilots, StudySettings(index="free", budget=7200 * u.s), tmp_path / "study.yml")
    text = yaml.safe_load((tmp_path / "study.yml").read_text(encoding="utf-8"))
    assert text["what_if"] == {"index": "free", "budget": pytest.approx(2.0)}
    again = load_settings(pilots, tmp_path / "study.yml")
    assert (again.index, again.slices) == ("free", None)
    assert again.budget == pytest.approx(2.0)


def test_a_plan_with_job_logs_is_the_same_from_another_folder(pilots, tmp_path):
    """The name of the table is relative to the plan, as all names are."""
    configuration = pilots.configuration
    (tmp_path / "a").mkdir()
    data = {
        place: _fixed(
            configuration.model_copy(update={"cost": {"job_logs": name, "bytes_per_event": "1 kB"}}),
            place,
            None,
            "full array",
        )
        for place, name in ((tmp_path, "jobs.ecsv"), (tmp_path / "a", "../jobs.ecsv"))
    }
    assert (
        data[tmp_path]["cost"]
        == data[tmp_path / "a"]["cost"]
        == {
            "job_logs": str(tmp_path / "jobs.ecsv"),
            "bytes_per_event": "1 kB",
        }
    )


def test_targets_in_the_plan_equal_those_of_a_file(sample, tmp_path):
    metrics = yaml.safe_load((sample.parent / "metrics.yml").read_text(encoding="utf-8"))
    plan, wanted = plan_production(shared.changed(sample, tmp_path, metrics=metrics)), shared.plan_once(sample)
    for name in ("limits", "statistics", "grid"):
        one, other = getattr(plan, name), getattr(wanted, name)
        for column in one.colnames:
            np.testing.assert_array_equal(np.asarray(one[column]), np.asarray(other[column]), err_msg=column)
    assert plan.summary == wanted.summary


def test_a_configuration_without_questions_is_the_plans(sample, pilots):
    plan, _ = read_configuration(sample)
    made = settings_configuration(pilots, StudySettings())
    assert made.model_copy(update={"what_if": None}) == plan
    assert settings_of(plan) == StudySettings()
    assert settings_of(made) == StudySettings()
