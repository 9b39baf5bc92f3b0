"""Pilots that were read once: what they keep, what they refuse, and that they need their files no more."""

import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from study_sample import plan_once, read_once, sample_of

from prodconf.core.errors import ProdconfError
from prodconf.events.sub_arrays import SubArray
from prodconf.limits.pilots import LimitRequest
from prodconf.plan.configuration import read_configuration, write_configuration
from prodconf.plan.main_job import plan_production, plan_sub_arrays
from prodconf.studies.grid import grid_study
from prodconf.studies.limits import limits_study
from prodconf.studies.pilots import choose, largest_loss, multiplicities, place_name, read_pilots
from prodconf.studies.settings import StudySettings, changed_configuration, plan_anew
from prodconf.studies.statistics import statistics_study


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    return sample_of(tmp_path_factory)


@pytest.fixture(scope="session")
def pilots(sample):
    return read_once(sample)


# ---------------------------------------------------------------- what is kept


def test_every_pilot_sub_array_and_multiplicity_is_there(pilots):
    names = [f"zenith {z}°, azimuth {a}°, NSB 0.24" for z in (20, 60) for a in (0, 180)]
    assert sorted(pilots.trigger_names) == sorted(pilots.event_names) == names
    wanted = {("full array", m) for m in range(1, 7)} | {("large telescopes", m) for m in range(1, 5)}
    assert set(pilots.triggers) == {(name, *one) for name in names for one in wanted}
    assert pilots.largest_loss == 0.1


def test_multiplicities_of_sub_arrays():
    assert multiplicities(SubArray("a", None, 2)) == (1, 2, 3, 4, 5, 6)
    assert multiplicities(SubArray("a", None, 9)) == (1, 2, 3, 4, 5, 6, 9)
    assert multiplicities(SubArray("a", ("x", "y", "z"), 2)) == (1, 2, 3)
    assert multiplicities(SubArray("a", ("x",), 1)) == (1,)
    assert multiplicities(SubArray("a", tuple("abcdefgh"), 7)) == (1, 2, 3, 4, 5, 6, 7)


@pytest.mark.parametrize("loss_fraction", [0.0, 1e-4, 1e-3, 0.01, 0.06, 0.3])
@pytest.mark.parametrize("memory", [0.0, 1e6, 20e6, 256e6, 1e12])
def test_the_largest_loss_fits_into_memory_and_is_never_below_the_plans(loss_fraction, memory):
    groups, n_tails = [SimpleNamespace(n_triggers=n) for n in (1000, 300_000, 2_000_000)], 10
    found = largest_loss(groups, n_tails, loss_fraction=loss_fraction, memory=memory)
    assert max(loss_fraction, 0) <= found <= max(0.1, loss_fraction)

    def taken(loss):
        return sum(LimitRequest(loss_fraction=loss).capacity(one.n_triggers) for one in groups) * n_tails * 3 * 5 * 8

    assert taken(found) <= memory or found < 2 * loss_fraction or found < 2e-6 or found == loss_fraction
    if found < 0.1 and found > loss_fraction:
        assert taken(2 * found) > memory


def test_a_small_memory_is_respected_and_the_loss_beyond_it_refused(sample):
    pilots = read_pilots(sample, memory=1.0)
    plan = pilots.configuration.loss_fraction
    assert plan <= pilots.largest_loss < 2 * plan
    whole = limits_study(read_once(sample))
    assert limits_study(pilots).record.energy == whole.record.energy


def test_names_of_places():
    assert place_name(20.0, 540.0, 0.24) == "zenith 20°, azimuth 180°, NSB 0.24"
    assert place_name(52.3741, -10.0, None) == "zenith 52.37°, azimuth 350°"


def test_choice_of_names():
    assert choose("pilot", None, ("a", "b")) == "a"
    assert choose("pilot", "b", ("a", "b")) == "b"
    with pytest.raises(ProdconfError, match=r"pilot must be one of a; b, got 'c'"):
        choose("pilot", "c", ("a", "b"))
    with pytest.raises(ProdconfError, match=r"names no such files"):
        choose("pilot", None, ())


# ---------------------------------------------------------------- plans with changed values


def test_a_plan_anew_without_changes_is_the_plan(sample, pilots):
    again, plan = plan_anew(pilots), plan_once(sample)
    assert again.configuration == plan.configuration
    assert again.notes == [note for note in plan.notes if "end of the search" not in note]  # of the division
    for name in ("limits", "statistics", "grid"):
        one, other = getattr(again, name), getattr(plan, name)
        assert one.colnames == other.colnames
        assert len(one) == len(other)
        for column in one.colnames:
            if not column.startswith("joint_"):  # counted by the plan only
                np.testing.assert_array_equal(np.asarray(one[column]), np.asarray(other[column]), err_msg=column)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss_fraction": 0.05, "confidence": 0.68},
        {"sub_array": "large telescopes", "multiplicity": 3},
        {"target": 0.1},
        {"spectral_index": 2.6},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_plan_anew_is_the_plan_of_the_changed_configuration(sample, pilots, changes, tmp_path):
    """The numbers are those of reading everything again; but limits keep the spectrum that they were read with."""
    again = plan_anew(pilots, StudySettings(**changes))
    configuration = changed_configuration(pilots, StudySettings(**changes))
    write_configuration(configuration, tmp_path / "plan.yml", folder=sample.parent)
    plan = plan_production(tmp_path / "plan.yml")
    assert plan.configuration.model_dump(exclude={"reduced_events", "dl2_events", "metrics"}) == (
        configuration.model_dump(exclude={"reduced_events", "dl2_events", "metrics"})
    )
    columns = ("n_events", "n_events_sigma", "n_events_bound", "lower_energy_limit", "upper_radius_limit")
    if "spectral_index" in changes:
        own = plan_anew(pilots)
        np.testing.assert_array_equal(again.limits["lower_energy_limit"], own.limits["lower_energy_limit"])
        np.testing.assert_array_equal(again.evaluations[0].density, plan.evaluations[0].density)
        return
    for column in columns:
        np.testing.assert_array_equal(np.asarray(again.grid[column]), np.asarray(plan.grid[column]), err_msg=column)


def test_plans_are_remembered_but_not_for_ever(pilots):
    own = replace(pilots, plans={})
    first = plan_anew(own, StudySettings(loss_fraction=0.02))
    assert plan_anew(own, StudySettings(loss_fraction=0.02)) is first
    for number in range(9):
        plan_anew(own, StudySettings(confidence=0.5 + number / 50))
    assert len(own.plans) <= 8
    assert plan_anew(own, StudySettings(loss_fraction=0.02)) is not first


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss_fraction": 1.0}, "loss_fraction"),
        ({"loss_fraction": -0.1}, "loss_fraction"),
        ({"loss_fraction": np.nan}, "loss_fraction"),
        ({"confidence": 1.0}, "confidence"),
        ({"spectral_index": 40.0}, "spectral_index"),
        ({"target": 0.0}, "target"),
        ({"target": -1.0}, "target"),
        ({"target": np.inf}, "target"),
        ({"sub_array": "small telescopes"}, "sub_array"),
        ({"multiplicity": 7}, "multiplicity"),
        ({"multiplicity": 0}, "multiplicity"),
    ],
)
def test_values_out_of_range_are_refused_in_one_sentence(pilots, changes, words):
    with pytest.raises(ProdconfError, match=words) as caught:
        plan_anew(pilots, StudySettings(**changes))
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- without the files


def test_pickled_pilots_answer_when_their_files_are_gone(sample, pilots, tmp_path):
    """The page of `prodconf studio` has only the pickle; the files may be on a disk that was taken away."""
    place = tmp_path / "moved"
    shutil.copytree(sample.parent, place)
    kept = pickle.dumps(read_pilots(place / "plan.yml"))
    shutil.rmtree(place)
    again = pickle.loads(kept)
    for study in (limits_study, statistics_study, grid_study):
        assert study(again).table == study(pilots).table
    name = again.event_names[-1]
    one = statistics_study(
        again, StudySettings(pilot=name, target=0.03, spectral_index=2.4, n_use=3, energy_range=(0.1, 10.0))
    )
    assert (
        one.table
        == statistics_study(
            pilots, StudySettings(pilot=name, target=0.03, spectral_index=2.4, n_use=3, energy_range=(0.1, 10.0))
        ).table
    )
    assert (
        grid_study(again, StudySettings(density=0.02, confidence=0.9)).table
        == grid_study(pilots, StudySettings(density=0.02, confidence=0.9)).table
    )


def test_mappings_and_configurations_are_taken(sample, monkeypatch, pilots):
    configuration, folder = read_configuration(sample)
    monkeypatch.chdir(folder)
    short = yaml.safe_load(sample.read_text(encoding="utf-8")) | {"dl2_events": []}
    short["sub_arrays"] = {"full array": short["sub_arrays"]["full array"]}
    one = read_pilots(short)
    assert one.folder == Path.cwd()
    assert limits_study(one).table == limits_study(pilots).table
    assert plan_sub_arrays(configuration)[0].name == "full array"


def test_a_cache_changes_nothing(sample, pilots, tmp_path):
    for _ in range(2):
        cached = read_pilots(sample, cache=tmp_path)
        for key, one in pilots.triggers.items():
            other = cached.triggers[key]
            assert one.record.energy == other.record.energy
            assert one.rows.weight.tobytes() == other.rows.weight.tobytes()


def test_bad_input_is_one_sentence(tmp_path):
    with pytest.raises(ProdconfError, match=re.escape("none.yml")):
        read_pilots(tmp_path / "none.yml")
    with pytest.raises(ProdconfError, match="reduced_events"):
        read_pilots({"reduced_events": str(tmp_path / "*.hdf5")})
