"""What a user may write in a plan, and what is said of the rest."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError
from prodconf.plan.configuration import (
    PlanConfiguration,
    configuration_dict,
    example_configuration,
    find_files,
    read_configuration,
    write_configuration,
)
from prodconf.precision.targets import parse_metrics

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


# ---------------------------------------------------------------- what-if settings, and writing a plan


WHAT_IF = {
    "pilot": "zenith 20°, azimuth 0°, NSB 0.24",
    "sub_array": "large telescopes",
    "energy_range": ["50 GeV", "10 TeV"],
    "radius": "0.9 km",
    "viewcone": "6 deg",
    "n_use": 10,
    "density": 0.01,
    "zenith": ["20 deg", "50 deg"],
    "azimuth": ["300 deg", "60 deg"],
    "cost": {"seconds_per_shower": "20 s"},
}


def test_what_if_settings_are_read_with_their_units(tmp_path):
    plan, _ = read(tmp_path, LEAST | {"what_if": WHAT_IF})
    own = plan.what_if
    assert own.energy_range == pytest.approx((0.05, 10.0))
    assert (own.radius, own.viewcone, own.n_use, own.density) == (900.0, 6.0, 10, 0.01)
    assert (own.zenith, own.azimuth) == ((20.0, 50.0), (300.0, 60.0))
    assert read(tmp_path, LEAST)[0].what_if is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"energy_range": ["1 TeV", "0.5 TeV"]}, "energy_range"),
        ({"energy_range": [0.1, 10]}, "energy_range"),
        ({"energy_range": ["1 TeV"]}, "energy_range"),
        ({"radius": "5 deg"}, "radius"),
        ({"viewcone": 5}, "viewcone"),
        ({"n_use": 0}, "n_use"),
        ({"n_use": 2.0}, "n_use"),
        ({"density": 0}, "density"),
        ({"density": "inf"}, "density"),
        ({"zenith": ["20 deg"]}, "zenith"),
        ({"cost": 3}, "cost"),
        ({"loss_fraction": 0.1}, "loss_fraction"),
    ],
)
def test_bad_what_if_settings_are_refused_in_one_sentence(tmp_path, change, word):
    with pytest.raises(ProdconfError, match=word) as caught:
        read(tmp_path, LEAST | {"what_if": change})
    assert "\n" not in str(caught.value)


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
NAMES = TEXTS.filter(lambda text: text.strip() and text != "production")
NUMBERS = st.floats(1e-6, 1e6, allow_nan=False)
ANGLES = st.floats(0, 89)


def _quantity(numbers, unit):
    return numbers.map(lambda number: f"{number!r} {unit}")


def _or_none(strategy):
    return st.none() | strategy


PAIRS = st.tuples(NUMBERS, NUMBERS).filter(lambda pair: pair[0] != pair[1]).map(sorted)
METRICS = st.builds(
    lambda target, pair: {
        "uncertainty_effective_area": {
            "target_error": {"value": target},
            "energy_range": {"value": list(pair), "unit": "TeV"},
        }
    },
    st.floats(1e-3, 0.9),
    PAIRS,
)
WHAT_IFS = st.fixed_dictionaries(
    {},
    optional={
        "pilot": TEXTS,
        "sub_array": TEXTS,
        "energy_range": PAIRS.map(lambda pair: [f"{energy!r} TeV" for energy in pair]),
        "radius": _quantity(NUMBERS, "m"),
        "viewcone": _quantity(st.floats(0.1, 89), "deg"),
        "n_use": st.integers(1, 10**6),
        "density": NUMBERS,
        "zenith": st.tuples(st.floats(0, 40), st.floats(41, 89)).map(lambda pair: [f"{angle!r} deg" for angle in pair]),
        "azimuth": st.lists(_quantity(st.floats(-360, 360), "deg"), min_size=2, max_size=2),
        "cost": st.just({"seconds_per_shower": "20 s", "bytes_per_event": {"value": 2.0, "unit": "kB"}}),
    },
)
PLANS = st.fixed_dictionaries(
    {"reduced_events": st.lists(NAMES, min_size=1, max_size=3)},
    optional={
        "name": TEXTS,
        "nsb_level": NUMBERS,
        "limits_table": NAMES,
        "metrics": NAMES | METRICS,
        "loss_fraction": st.floats(0, 0.99).filter(lambda x: x == 0 or x > 1e-90),
        "confidence": st.floats(0.01, 0.99),
        "spectral_index": st.floats(0.01, 19),
        "sub_arrays": st.dictionaries(
            NAMES,
            st.just({"telescopes": "all", "multiplicity": 3})
            | st.lists(NAMES, min_size=1, max_size=4).map(lambda names: {"telescopes": names}),
            min_size=1,
            max_size=3,
        ),
        "grid": st.fixed_dictionaries(
            {
                "zenith": st.lists(ANGLES, min_size=1, max_size=3, unique=True).map(
                    lambda angles: [f"{angle!r} deg" for angle in angles]
                ),
                "azimuth": st.just(["0 deg", "180 deg"]),
                "nsb_level": st.just([0.24]),
            },
            optional={"outside": st.sampled_from(["refuse", "nearest"])},
        ),
        "what_if": WHAT_IFS,
    },
)


@given(PLANS, st.booleans())
def test_plain_data_of_a_plan_give_the_same_plan(data, dl2):
    if dl2:
        data |= {"dl2_events": [{"files": "b.fits", "nsb_level": 0.24, "offset_max": "2.5 deg"}]}
        data.setdefault("metrics", "m.yml")
    plan = PlanConfiguration.model_validate(data)
    plain = configuration_dict(plan)
    assert PlanConfiguration.model_validate(plain) == plan
    text = yaml.safe_dump(plain, allow_unicode=True)
    assert PlanConfiguration.model_validate(yaml.safe_load(text)) == plan


def test_a_written_plan_is_the_same_from_another_folder(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "new" / "deep").mkdir(parents=True)
    data = LEAST | {
        "reduced_events": ["pilots/*.h5", "/elsewhere/a.h5"],
        "dl2_events": [{"files": ["b.fits"], "nsb_level": 0.24}],
        "metrics": "m.yml",
        "limits_table": "../l.ecsv",
        "what_if": WHAT_IF,
    }
    plan, folder = read(tmp_path / "old", data)
    path = tmp_path / "new" / "deep" / "plan.yml"
    write_configuration(plan, path, folder=folder)
    again, place = read_configuration(path)
    assert place == path.parent
    assert again.reduced_events == ("../../old/pilots/*.h5", "/elsewhere/a.h5")
    assert again.dl2_events[0].files == ("../../old/b.fits",)
    assert (again.metrics, again.limits_table) == ("../../old/m.yml", "../../l.ecsv")
    for name in ("what_if", "sub_arrays", "loss_fraction", "grid"):
        assert getattr(again, name) == getattr(plan, name)
    with pytest.raises(ProdconfError, match=r"plan\.yml"):
        write_configuration(plan, path, folder=folder)
    write_configuration(plan, path, folder=folder, overwrite=True)
    with pytest.raises(ProdconfError):
        write_configuration(plan, tmp_path / "absent" / "plan.yml", folder=folder)


def test_targets_may_stand_in_the_plan(tmp_path):
    metrics = {"uncertainty_effective_area": {"target_error": {"value": 0.02}}}
    metrics["uncertainty_effective_area"]["energy_range"] = {"value": [50, 5000], "unit": "GeV"}
    plan, _ = read(tmp_path, LEAST | {"metrics": metrics})
    area = parse_metrics(plan.metrics).uncertainty_effective_area
    assert (area.target, area.energy_min, area.energy_max) == pytest.approx((0.02, 0.05, 5.0))
    with pytest.raises(ProdconfError, match=r"plan\.yml"):
        read(tmp_path, LEAST | {"metrics": {"uncertainty_effective_area": {"target_error": {"value": -1}}}})
    with pytest.raises(ProdconfError, match=r"plan\.yml"):
        read(tmp_path, LEAST | {"metrics": 5})
