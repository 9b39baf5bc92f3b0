"""What a user may write in a plan, and what is said of the rest."""

import pytest
import yaml

from prodconf.errors import ProdconfError
from prodconf.plan_configuration import PlanConfiguration, example_configuration, find_files, read_configuration

LEAST = {"reduced_events": "a.hdf5"}


def read(tmp_path, data):
    path = tmp_path / "plan.yml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return read_configuration(path)


def test_the_example_is_a_valid_plan(tmp_path):
    plan, folder = read(tmp_path, example_configuration())
    assert folder == tmp_path
    assert plan.grid.zenith == (20.0, 30.0, 40.0, 50.0, 60.0)
    assert plan.sub_arrays["full array"].telescopes == "all"
    assert plan.sub_arrays["large telescopes"].multiplicity == 2
    assert plan.dl2_events[0].nsb_level == 0.24


def test_every_key_of_the_example_is_explained():
    lines = example_configuration().splitlines()
    assert len([line for line in lines if "#" in line]) >= len(PlanConfiguration.model_fields)
    for key in PlanConfiguration.model_fields:
        assert any(line.lstrip("# ").startswith(f"{key}:") for line in lines), key


def test_the_least_plan_has_defaults(tmp_path):
    plan, _ = read(tmp_path, LEAST)
    assert plan.reduced_events == ("a.hdf5",)
    assert (plan.loss_fraction, plan.confidence, plan.spectral_index) == (1e-3, 0.95, 2.0)
    assert list(plan.sub_arrays) == ["full array"]
    assert plan.grid is None


def test_units_are_converted(tmp_path):
    grid = {"zenith": ["20 deg", {"value": 1800, "unit": "arcmin"}], "azimuth": "0 deg", "nsb_level": 0.24}
    dl2 = {"files": "b.fits", "nsb_level": 0.24, "offset_max": "60 arcmin"}
    plan, _ = read(tmp_path, LEAST | {"grid": grid, "dl2_events": dl2, "metrics": "m.yml"})
    assert plan.grid.zenith == (20.0, pytest.approx(30.0))
    assert plan.grid.azimuth == (0.0,)
    assert plan.grid.nsb_level == (0.24,)
    assert plan.dl2_events[0].offset_max == pytest.approx(1.0)


def test_telescopes_may_be_numbers_or_none(tmp_path):
    plan, _ = read(tmp_path, LEAST | {"sub_arrays": {"a": {"telescopes": [1, 2]}, "b": {"telescopes": []}}})
    assert plan.sub_arrays["a"].telescopes == ("1", "2")
    assert plan.sub_arrays["b"].telescopes == "all"


GRID = {"zenith": ["20 deg"], "azimuth": ["0 deg"], "nsb_level": [0.24]}
DL2 = {"files": "b.fits", "nsb_level": 0.24}
BAD = {
    "nothing to plan": ({}, "reduced_events or limits_table"),
    "no target": (LEAST | {"dl2_events": DL2}, "metrics"),
    "unknown key": (LEAST | {"loss": 0.1}, "loss"),
    "unknown key of the grid": (LEAST | {"grid": GRID | {"zenit": 1}}, "zenit"),
    "bare angle": (LEAST | {"grid": GRID | {"zenith": [20]}}, "unit"),
    "wrong unit": (LEAST | {"grid": GRID | {"zenith": ["20 m"]}}, "zenith"),
    "no zenith": (LEAST | {"grid": GRID | {"zenith": []}}, "zenith"),
    "below the horizon": (LEAST | {"grid": GRID | {"zenith": ["95 deg"]}}, "95"),
    "no sky": (LEAST | {"grid": GRID | {"nsb_level": [0]}}, "nsb_level"),
    "infinite sky": (LEAST | {"grid": GRID | {"nsb_level": [".inf"]}}, "nsb_level"),
    "policy": (LEAST | {"grid": GRID | {"outside": "guess"}}, "outside"),
    "loss above one": (LEAST | {"loss_fraction": 1.0}, "loss_fraction"),
    "loss below zero": (LEAST | {"loss_fraction": -1e-3}, "loss_fraction"),
    "loss is a word": (LEAST | {"loss_fraction": "little"}, "loss_fraction"),
    "confidence": (LEAST | {"confidence": 1}, "confidence"),
    "multiplicity": (LEAST | {"sub_arrays": {"a": {"multiplicity": 0}}}, "multiplicity"),
    "too few telescopes": (
        LEAST | {"sub_arrays": {"a": {"telescopes": ["x", "x"], "multiplicity": 2}}},
        "multiplicity",
    ),
    "no sub-array": (LEAST | {"sub_arrays": {}}, "sub_arrays"),
    "no nsb_level": (LEAST | {"dl2_events": {"files": "b.fits"}, "metrics": "m"}, "nsb_level"),
    "share of runs": (
        LEAST | {"dl2_events": DL2 | {"simulated_fraction": "some"}, "metrics": "m"},
        "simulated_fraction",
    ),
    "a list": ("- 1\n- 2\n", "plan.yml"),
    "empty": ("", "plan.yml"),
    "no YAML": ("a: [1\n", "plan.yml"),
    "an object": ("name: !!python/object/apply:os.system ['true']\n", "plan.yml"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_plans_are_refused_in_one_sentence(tmp_path, case):
    data, word = BAD[case]
    with pytest.raises(ProdconfError) as caught:
        read(tmp_path, data)
    text = str(caught.value)
    assert word in text
    assert "plan.yml" in text
    assert "\n" not in text


def test_a_missing_plan_is_refused(tmp_path):
    with pytest.raises(ProdconfError, match=r"none.yml"):
        read_configuration(tmp_path / "none.yml")


def test_files_are_found_beside_the_plan(tmp_path):
    (tmp_path / "pilots").mkdir()
    for name in ("b.h5", "a.h5"):
        (tmp_path / "pilots" / name).write_text("x")
    found = find_files(("pilots/*.h5", "pilots/a.h5"), tmp_path, "reduced_events")
    assert [path.name for path in found] == ["a.h5", "b.h5"]
    with pytest.raises(ProdconfError, match="reduced_events"):
        find_files(("pilots/*.fits",), tmp_path, "reduced_events")


def test_a_plan_is_frozen():
    plan = PlanConfiguration.model_validate(LEAST)
    with pytest.raises(ValueError, match="frozen"):
        plan.name = "other"
