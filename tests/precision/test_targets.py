"""Metrics files: both spellings in, one out, every slip one sentence."""

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError
from prodconf.precision.targets import (
    Metric,
    Metrics,
    energies_not_held,
    metrics_dict,
    not_held_lines,
    parse_metrics,
    ranges_text,
    read_metrics,
    thrown_whole,
    write_metrics,
)

OLD = {"target_error": {"value": 0.02}, "energy_range": {"value": [0.04, 200], "unit": "TeV"}, "description": "area"}
WANTED = Metric(target=0.02, energy_min=0.04, energy_max=200.0, description="area")


def area(entry):
    """Metric of one entry."""
    return parse_metrics({"uncertainty_effective_area": entry}).uncertainty_effective_area


def test_the_real_file(shared_data):
    metrics = read_metrics(shared_data / "configuration" / "metrics_v0.16.yml")
    assert metrics.uncertainty_effective_area == Metric(
        target=0.02,
        energy_min=0.04,
        energy_max=200.0,
        description="Relative uncertainty on the effective area.",
    )
    assert metrics.energy_estimate.target == 0.05


@pytest.mark.parametrize("version", ["0.16", "0.20", "0.31"])
def test_real_files_of_all_generations_ask_the_same(shared_data, version):
    metrics = read_metrics(shared_data / "configuration" / f"metrics_v{version}.yml")
    assert {name: (one.target, one.energy_min, one.energy_max) for name, one in metrics} == {
        "uncertainty_effective_area": (0.02, 0.04, 200.0),
        "energy_estimate": (0.05, 0.04, 200.0),
    }


def test_a_mapping_may_name_its_schema_as_a_file_may():
    named = {"schema_name": "production_configuration_metrics.metaschema", "schema_version": "0.1.0"}
    assert parse_metrics(named | {"uncertainty_effective_area": OLD}).uncertainty_effective_area == WANTED


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"target_uncertainty": 0.02, "target_error": None},
        {"target_uncertainty": {"value": 0.02}, "target_error": None},
        {"target_error": 0.02},
        {"target_error": {"value": 2, "unit": "%"}},
        {"target_error": {"value": 0.02, "unit": "dimensionless"}},
        {"energy_range": {"value": [40, 2e5], "unit": "GeV"}},
        {"energy_range": ["40 GeV", "200 TeV"]},
        {"energy_range": [{"value": 0.04, "unit": "TeV"}, "200 TeV"]},
    ],
)
def test_all_spellings_mean_the_same(change):
    entry = {key: value for key, value in (OLD | change).items() if value is not None}
    got = area(entry)
    assert got.target == pytest.approx(WANTED.target, rel=1e-12)
    assert (got.energy_min, got.energy_max) == pytest.approx((0.04, 200.0), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"target_error": {"value": -0.02}}, "target"),
        ({"target_error": {"value": 0}}, "target"),
        ({"target_error": {"value": 1}}, "target"),
        ({"target_error": {"value": True}}, "target"),
        ({"target_error": {"value": float("nan")}}, "target"),
        ({"target_error": {"value": "0.02"}}, "target"),
        ({"target_error": {"values": 0.02}}, "uncertainty_effective_area"),
        ({"target_error": {"value": 0.02, "unit": "m"}}, "uncertainty_effective_area"),
        ({"target_uncertainty": 0.02}, "once"),
        ({"target_error": None}, "once"),
        ({"energy_range": {"value": [200, 0.04], "unit": "TeV"}}, "energy_range"),
        ({"energy_range": {"value": [1, 1], "unit": "TeV"}}, "energy_range"),
        ({"energy_range": {"value": [0, 1], "unit": "TeV"}}, "energy_range"),
        ({"energy_range": {"value": [-1, 1], "unit": "TeV"}}, "energy_range"),
        ({"energy_range": {"value": [0.04, 200], "unit": "m"}}, "energy_range"),
        ({"energy_range": {"value": [0.04, 200], "unit": "nonsense"}}, "energy_range"),
        ({"energy_range": {"value": [0.04, float("inf")], "unit": "TeV"}}, "energy_range"),
        ({"energy_range": {"value": [0.04], "unit": "TeV"}}, "energy_range"),
        ({"energy_range": {"value": 0.04, "unit": "TeV"}}, "energy_range"),
        ({"energy_range": {"value": [0.04, 200]}}, "energy_range"),
        ({"energy_range": [0.04, 200]}, "energy_range"),
        ({"energy_range": None}, "energy_range"),
        ({"desciption": "slip"}, "unknown key uncertainty_effective_area.desciption"),
        ({"description": 3}, "description"),
    ],
)
def test_slips_are_named_in_one_sentence(tmp_path, change, field):
    entry = {key: value for key, value in (OLD | change).items() if value is not None}
    path = tmp_path / "metrics.yml"
    path.write_text(yaml.safe_dump({"uncertainty_effective_area": entry}))
    with pytest.raises(ProdconfError) as caught:
        read_metrics(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert field in text
    assert "\n" not in text


def test_files_that_are_no_metrics(tmp_path):
    path = tmp_path / "metrics.yml"
    for text, rule in [
        ("", "is empty"),
        ("{}", "names no metric"),
        ("uncertainty_effective_area: null", "names no metric"),
        ("- 1", "metrics.yml"),
        ("uncertainty_effective_area: 3", "must have target_uncertainty"),
        ("effective_area: {}", "unknown key effective_area"),
        ("a: [", "not valid YAML"),
        ("x: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ]:
        path.write_text(text)
        with pytest.raises(ProdconfError, match=rule):
            read_metrics(path)
    with pytest.raises(ProdconfError, match="cannot be read"):
        read_metrics(tmp_path / "none.yml")


@settings(max_examples=50, deadline=None)
@given(
    target=st.floats(1e-6, 0.999),
    low=st.floats(1e-4, 1),
    factor=st.floats(1.001, 1e5),
    text=st.text(st.characters(exclude_categories=("C", "Z")), max_size=20),
)
def test_writing_and_reading_give_the_same(tmp_path_factory, target, low, factor, text):
    metric = Metric(target=target, energy_min=low, energy_max=low * factor, description=text)
    path = tmp_path_factory.mktemp("metrics") / "metrics.yml"
    for metrics in (Metrics(uncertainty_effective_area=metric), Metrics(energy_estimate=metric)):
        write_metrics(metrics, path, overwrite=True)
        assert read_metrics(path) == metrics
        assert parse_metrics(metrics_dict(metrics)) == metrics
    with pytest.raises(ProdconfError, match="exists"):
        write_metrics(metrics, path)
    with pytest.raises(ProdconfError, match="ask for nothing"):
        write_metrics(Metrics(), path, overwrite=True)


def test_only_whole_bins_are_held_to_the_target():
    edges = np.array([0.01, 0.03, 0.05, 0.2, 150, 250])
    assert WANTED.covers(edges).tolist() == [False, False, True, True, False]
    assert WANTED.covers([0.04, 200]).tolist() == [True]
    assert WANTED.covers([0.04 * (1 - 1e-8), 200 * (1 + 1e-8)]).tolist() == [True]
    assert WANTED.covers([0.0399, 200]).tolist() == [False]
    for bad in ([1, 0.5], [1], [0, 1], [1, np.nan], [[1, 2], [3, 4]]):
        with pytest.raises(ProdconfError, match="energy_edges"):
            WANTED.covers(bad)


def test_damaged_files(tmp_path):
    rng = np.random.default_rng(2)
    path = tmp_path / "metrics.yml"
    write_metrics(Metrics(uncertainty_effective_area=WANTED, energy_estimate=WANTED), path)
    good, outcome = path.read_bytes(), {True: 0, False: 0}
    for i in range(300):
        data = bytearray(good)
        if i % 3 == 0:
            del data[int(rng.integers(1, len(data))) :]
        else:
            for at in rng.integers(0, len(data), 2):
                data[at] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(data)
        try:
            read_metrics(path)
            outcome[True] += 1
        except ProdconfError as error:
            outcome[str(path) not in str(error)] += 1
    assert outcome[False] > 100


@pytest.mark.parametrize(
    ("thrown", "expected"),
    [
        ((0.0, np.inf), ((0.02, 0.03), (100.0, 150.0))),
        ((0.03, 50.0), ((0.02, 0.03), (30.0, 150.0))),
        ((0.05, 100.0), ((0.02, 0.1), (100.0, 150.0))),
        ((0.2, 0.25), ((0.02, 150.0),)),
    ],
)
def test_energies_that_no_bin_is_held_to(thrown, expected):
    edges = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0]
    wide = Metrics(uncertainty_effective_area=Metric(target=0.1, energy_min=0.02, energy_max=150.0))
    assert energies_not_held(wide, edges, thrown_whole(edges, *thrown)) == expected
    assert len(not_held_lines(ranges_text(expected))) == 1
    whole = Metrics(energy_estimate=Metric(target=0.1, energy_min=0.1, energy_max=30.0))
    assert energies_not_held(whole, edges, np.ones(9, dtype=bool)) == ()
    assert not_held_lines(ranges_text(())) == []


def test_energies_that_targets_of_two_ranges_leave_out_are_joined():
    edges = np.logspace(-1, 1, 3)
    both = Metrics(
        uncertainty_effective_area=Metric(target=0.1, energy_min=0.05, energy_max=12.0),
        energy_estimate=Metric(target=0.1, energy_min=0.08, energy_max=11.0),
    )
    assert energies_not_held(both, edges, np.ones(2, dtype=bool)) == ((0.05, 0.1), (10.0, 12.0))
