"""The documented workflow: arguments of the predecessor, files that are there and not, what is written."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy import units as u
from astropy.table import QTable

from prodconf.calculate_statistical_errors_grid_point import StatisticalErrorEvaluator
from prodconf.core.errors import ArgumentError, ProdconfError, ProdconfWarning
from prodconf.derive_production_statistics import ProductionStatisticsDerivator
from prodconf.derive_production_statistics_handler import ProductionStatisticsHandler, read_handler_arguments
from prodconf.events.dl2 import DL2Header, write_dl2

EDGES = np.logspace(-1.5, 1.4, 30)
ZENITHS = (20.0, 40.0, 52.5)
METRICS = {
    "uncertainty_effective_area": {
        "target_error": {"value": 0.05},
        "energy_range": {"value": [0.31, 12.6], "unit": "TeV"},
    }
}


def write_pilot(path, zenith):
    """Write a pilot of one pointing; its effective area rises to a plateau, later at larger zenith."""
    rng = np.random.default_rng(int(zenith * 10))
    thrown = 1e6 * np.diff(-1 / EDGES) / (1 / EDGES[0] - 1 / EDGES[-1])
    threshold, plateau = 0.08 / np.cos(np.deg2rad(zenith)) ** 2.5, 0.1 / np.cos(np.deg2rad(zenith))
    efficiency = plateau * np.minimum(1, EDGES[1:] / threshold) ** 3
    passed = rng.binomial(thrown.astype(int), efficiency)
    energy = np.concatenate(
        [rng.uniform(a * 1.001, b * 0.999, k) for a, b, k in zip(EDGES[:-1], EDGES[1:], passed, strict=True)]
    )
    pointing, altitude = np.zeros(energy.size), 90.0 - zenith
    offset = np.rad2deg(np.arccos(rng.uniform(np.cos(np.deg2rad(5)), 1, energy.size)))
    write_dl2(
        path,
        DL2Header(1_000_000, 1, 1000.0, 5.0, EDGES[0], EDGES[-1], -2.0, zenith=zenith, azimuth=0.0),
        energy_edges=EDGES,
        n_simulated=thrown,
        run=np.ones(energy.size, dtype=int),
        energy_true=energy,
        energy_reco=energy,
        azimuth_true=pointing,
        altitude_true=altitude - offset,
        azimuth_reco=pointing,
        altitude_reco=altitude - offset,
    )


@pytest.fixture(scope="module")
def pilots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pilots")
    for zenith in ZENITHS:
        write_pilot(folder / f"gamma_za{zenith:g}.fits", zenith)
    (folder / "metrics.yml").write_text(yaml.safe_dump(METRICS))
    return folder


@pytest.fixture
def arguments(pilots, tmp_path):
    """What the predecessor's handler reads."""
    return {
        "base_path": str(pilots),
        "zeniths": [20, 40, 52.5],
        "camera_offsets": [0],
        "query_point": (1.0, 0.0, 30.0, 0.0, 0.0),
        "metrics_file": str(pilots / "metrics.yml"),
        "file_name_template": "gamma_za{zenith}.fits",
        "output_path": str(tmp_path / "out"),
        "output_file": "production_statistics.json",
    }


def strict(text):
    """Read JSON as the standard has it, without NaN and infinity."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


# --- the documented workflow ------------------------------------------------------------------------------------------
def test_the_steps_one_by_one(arguments, tmp_path):
    handler = ProductionStatisticsHandler(arguments)
    handler.initialize_evaluators()
    assert [e.file.path.name for e in handler.evaluator_instances] == [f"gamma_za{z:g}.fits" for z in ZENITHS]
    found = handler.perform_interpolation()
    assert found.shape == (1,)
    handler.write_output(found)
    document = strict((tmp_path / "out" / "production_statistics.json").read_text())
    assert document["query_point"] == [1.0, 0.0, 30.0, 0.0, 0.0]
    assert document["production_statistics"] == pytest.approx(list(found))
    assert document["unit"] == "ct"


def test_run_does_all(arguments, tmp_path):
    ProductionStatisticsHandler(arguments).run()
    assert sorted(os.listdir(tmp_path / "out")) == ["production_statistics.ecsv", "production_statistics.json"]


def test_at_a_pilot_the_answer_is_that_of_the_derivator(arguments, pilots):
    handler = ProductionStatisticsHandler(arguments | {"query_point": (1.5, 0.0, 40.0, 0.0, 0.0)})
    handler.run()
    evaluator = StatisticalErrorEvaluator(str(pilots / "gamma_za40.fits"), METRICS, (None, 0.0, 40.0, 0.0, 0.0))
    derivator = ProductionStatisticsDerivator(evaluator, METRICS)
    expected = derivator.calculate_production_statistics_at_grid_point((1.5, 0.0, 40.0, 0.0, 0.0))
    written = strict(handler.outputs[0].read_text())
    assert written["production_statistics"][0] == pytest.approx(expected.value)
    assert written["records"]["total"]["value"][0] == pytest.approx(derivator.total.n_events)
    assert written["pilots"][1]["n_events"] == pytest.approx(derivator.total.n_events)


def test_between_the_pilots_the_answer_is_between_theirs(arguments):
    handler = ProductionStatisticsHandler(arguments | {"query_point": (20 * u.TeV, 0, 30 * u.deg, 0, 0)})
    handler.run()
    totals = [pilot["n_events"] for pilot in strict(handler.outputs[0].read_text())["pilots"]]
    assert min(totals[:2]) * 0.8 < handler.records["total"][0] < max(totals[:2]) * 1.2
    assert 0 < handler.records["sigma"][0] < handler.records["value"][0]


def test_what_is_written(arguments, pilots):
    handler = ProductionStatisticsHandler(arguments)
    handler.run()
    document = strict(handler.outputs[0].read_text())
    assert {"value", "sigma", "leave_one_out", "total", "status", "outside"} <= set(document["records"])
    assert [row["file"] for row in document["provenance"]["inputs"]] == [
        "metrics.yml",
        *(f"gamma_za{z:g}.fits" for z in ZENITHS),
    ]
    assert document["provenance"]["configuration"]["zeniths"] == [20.0, 40.0, 52.5]
    assert document["provenance"]["program"] == "prodconf"
    table = QTable.read(handler.outputs[1])
    assert len(table) == 1
    assert table["energy"].unit == u.TeV
    assert table["zenith"][0] == 30 * u.deg
    assert table["value"][0].to_value(u.ct) == pytest.approx(document["production_statistics"][0])
    for name in ("value", "sigma", "total"):
        assert table[name].unit == u.ct
        assert document["records"][name]["unit"] == "ct"
    assert table.meta["provenance"]["inputs"] == document["provenance"]["inputs"]


def test_evaluators_are_not_doubled(arguments):
    handler = ProductionStatisticsHandler(arguments)
    handler.initialize_evaluators()
    handler.initialize_evaluators()
    assert len(handler.evaluator_instances) == 3


def test_figures_are_saved_when_asked_for(arguments, tmp_path):
    handler = ProductionStatisticsHandler(arguments | {"plot_production_statistics": True})
    handler.run()
    figures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert figures == [f"production_statistics_gamma_za{z:g}.png" for z in ZENITHS]
    assert all(path.exists() for path in handler.written)


def test_an_ecsv_may_be_asked_for(arguments):
    handler = ProductionStatisticsHandler(arguments | {"output_file": "answer.ecsv"})
    assert [path.name for path in handler.outputs] == ["answer.json", "answer.ecsv"]


# --- what is there and what is not ------------------------------------------------------------------------------------
def test_missing_files_are_named_and_the_others_used(arguments):
    handler = ProductionStatisticsHandler(arguments | {"zeniths": [20, 30.5, 40]})
    with pytest.warns(ProdconfWarning, match=r"lacks gamma_za30\.5\.fits; the others are used"):
        handler.initialize_evaluators()
    assert len(handler.evaluator_instances) == 2


def test_no_file_at_all(arguments):
    handler = ProductionStatisticsHandler(arguments | {"zeniths": [5, 15]})
    with pytest.raises(ProdconfError, match=r"holds none of the pilot files \(gamma_za5\.fits, gamma_za15\.fits\)"):
        handler.initialize_evaluators()


def test_a_file_at_another_place_than_said(arguments, pilots):
    handler = ProductionStatisticsHandler(arguments | {"azimuths": [90]})
    with pytest.raises(ProdconfError, match="azimuth"):
        handler.initialize_evaluators()


@pytest.mark.parametrize(
    ("template", "zenith", "name"),
    [
        ("gamma_za{zenith}.fits", 20, "gamma_za20.fits"),
        ("gamma_za{zenith}.fits", 20.0, "gamma_za20.fits"),
        ("gamma_za{zenith}.fits", 52.5, "gamma_za52.5.fits"),
        ("gamma_za{zenith}.fits", 0.5 * u.rad, "gamma_za28.64788976.fits"),
        ("gamma_za{zenith:04.1f}.fits", 7.25, "gamma_za07.2.fits"),
        ("gamma_za{zenith:03d}.fits", 20, "gamma_za020.fits"),
        ("gamma_az{azimuth}_nsb{nsb}_off{offset}_za{zenith}.fits", 60, "gamma_az180_nsb0.24_off0.5_za60.fits"),
    ],
)
def test_templates(arguments, tmp_path, template, zenith, name):
    more = {"azimuths": [180], "nsb": 0.24, "camera_offsets": 30 * u.arcmin, "base_path": tmp_path}
    handler = ProductionStatisticsHandler(arguments | more | {"file_name_template": template, "zeniths": [zenith]})
    with pytest.raises(ProdconfError) as caught:
        handler.initialize_evaluators()
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"file_name_template": "gamma_za{zenith:03d}.fits"}, "52.5 is not a whole number"),
        ({"file_name_template": "gamma_za{zen}.fits"}, "got {zen}"),
        ({"file_name_template": "gamma_za{zenith.fits"}, "file_name_template"),
        ({"file_name_template": "gamma_za{zenith!q}.fits"}, "file_name_template"),
        ({"file_name_template": "gamma_za{}.fits"}, "file_name_template"),
        ({"file_name_template": "gamma_{zenith:999999999}.fits"}, "file_name_template: a format specification"),
        ({"file_name_template": "gamma_{zenith:.1000f}.fits"}, "file_name_template: a format specification"),
        ({"file_name_template": "gamma_{zenith!s:>9999}.fits"}, "file_name_template: a format specification"),
        ({"file_name_template": "gamma_{zenith:{zenith}}.fits"}, "file_name_template: a format specification"),
        ({"file_name_template": "gamma_{zenith:>400}.fits"}, "file_name_template: must give names of 1 to 255"),
        ({"file_name_template": "gamma\0_{zenith}.fits"}, "file_name_template: must give names"),
        ({"file_name_template": "{zenith}/" * 1000 + "x"}, "file_name_template"),
        ({"file_name_template": "gamma.fits"}, "must name {zenith}, as zeniths has 3 values"),
        ({"camera_offsets": [0, 1]}, "must name {offset}, as camera_offsets has 2 values"),
        ({"file_name_template": "gamma_za{zenith}_{azimuth}.fits"}, "azimuths is not given"),
    ],
)
def test_bad_templates(arguments, change, words):
    handler = ProductionStatisticsHandler(arguments | change)
    with pytest.raises(ProdconfError) as caught:
        handler.initialize_evaluators()
    assert words in str(caught.value)


# --- arguments --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"zenith": [20]}, "unknown key zenith (did you mean zeniths?)"),
        ({"querry_point": 1}, "unknown key querry_point (did you mean query_point?)"),
        ({"xyzzy": 1}, "unknown key xyzzy"),
        ({"zeniths": []}, "zeniths"),
        ({"zeniths": [20 * u.m]}, "zeniths: must have a unit convertible to deg"),
        ({"zeniths": ["twenty"]}, "zeniths"),
        ({"zeniths": [float("nan")]}, "zeniths: must be one finite number"),
        ({"query_point": (1, 0, 30, 0)}, "query_point must be five"),
        ({"query_point": (1 * u.m, 0, 30, 0, 0)}, "query_point: energy"),
        ({"query_point": (1, 0, -30, 0, 0)}, "query_point: zenith"),
        ({"offset_max": -1}, "offset_max"),
        ({"outside": "guess"}, "outside"),
        ({"spectral_index": -2.0}, "spectral_index"),
        ({"energy_axis": "thrown"}, "energy_axis"),
        ({"metrics_file": "nowhere.yml"}, "nowhere.yml"),
        ({"base_path": None}, "base_path is missing"),
        ({"metrics_file": None}, "metrics_file is missing"),
    ],
)
def test_bad_arguments(arguments, change, words):
    with pytest.raises(ProdconfError) as caught:
        ProductionStatisticsHandler(arguments | change)
    assert words in str(caught.value)


def test_a_mapping_is_wanted():
    with pytest.raises(ProdconfError, match="args_dict must be a mapping of names to values, got list"):
        ProductionStatisticsHandler([])


def test_keys_of_the_application_are_ignored(arguments):
    theirs = {"log_level": "info", "user_name": "me", "label": None, "test": False, "skip_output_validation": True}
    ProductionStatisticsHandler(arguments | theirs)


def test_targets_must_be_positive(arguments, tmp_path):
    entry = {"target_error": {"value": -0.02}, "energy_range": {"value": [0.3, 30], "unit": "TeV"}}
    (tmp_path / "metrics.yml").write_text(yaml.safe_dump({"uncertainty_effective_area": entry}))
    with pytest.raises(ProdconfError, match=r"metrics.yml.*target.*-0\.02"):
        ProductionStatisticsHandler(arguments | {"metrics_file": tmp_path / "metrics.yml"})


# --- the query --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "point", [(1, 180, 30, 0, 0), (1, 0, 70, 0, 0), (1, 0, 30, 5, 0), (1, 0, 30, 0, 3), (500, 0, 30, 0, 0)]
)
def test_queries_beyond_the_pilots_are_refused(arguments, point):
    handler = ProductionStatisticsHandler(arguments | {"query_point": point})
    with pytest.raises(ProdconfError):
        handler.run()
    assert not handler.output_path.exists()


def test_the_nearest_pilot_answers_when_asked_to(arguments):
    handler = ProductionStatisticsHandler(arguments | {"query_point": (1, 0, 10, 0, 0), "outside": "nearest"})
    with pytest.warns(ProdconfWarning, match="nearest"):
        handler.run()
    assert strict(handler.outputs[0].read_text())["records"]["outside"]["value"] == [True]


def test_what_all_pilots_agree_on_need_not_be_stated(arguments):
    whole, short = (
        ProductionStatisticsHandler(arguments | {"query_point": point})
        for point in ((1, 0, 30, 0, 0), (1, None, 30, None, None))
    )
    answers = []
    for handler in (whole, short):
        handler.initialize_evaluators()
        answers.append(handler.perform_interpolation())
    assert answers[0] == answers[1]
    lacking = ProductionStatisticsHandler(arguments | {"query_point": (1, 0, None, 0, 0)})
    lacking.initialize_evaluators()
    with pytest.raises(ProdconfError, match=r"zenith must be given, as the evaluators have 20, 40, 52\.5"):
        lacking.perform_interpolation()


def test_steps_out_of_order(arguments):
    handler = ProductionStatisticsHandler(arguments)
    with pytest.raises(ProdconfError, match="initialize_evaluators is to be called first"):
        handler.perform_interpolation()
    with pytest.raises(ProdconfError, match="perform_interpolation is to be called first"):
        handler.write_output([1.0])
    handler.initialize_evaluators()
    handler.perform_interpolation()
    with pytest.raises(ProdconfError, match=r"must hold 1 number"):
        handler.write_output([1.0, 2.0])
    asked = {key: value for key, value in arguments.items() if key != "query_point"}
    without = ProductionStatisticsHandler(asked)
    without.initialize_evaluators()
    with pytest.raises(ProdconfError, match="query_point is missing"):
        without.perform_interpolation()


# --- writing ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["production_statistics.json", "production_statistics.ecsv"])
def test_nothing_is_overwritten_unasked(arguments, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(ProdconfError, match="exists, and overwriting was not asked for"):
        ProductionStatisticsHandler(arguments).run()
    assert [(p.name, p.read_text()) for p in (tmp_path / "out").iterdir()] == [(name, "mine")]
    ProductionStatisticsHandler(arguments | {"overwrite": True}).run()
    assert len(os.listdir(tmp_path / "out")) == 2


def test_a_folder_that_cannot_be(arguments, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ProdconfError):
        ProductionStatisticsHandler(arguments).run()


def test_json_has_null_where_nothing_is_known(arguments, pilots, tmp_path):
    """One pilot: the error of the interpolation cannot be measured."""
    one = arguments | {"zeniths": [40], "query_point": (1, 0, 40, 0, 0)}
    handler = ProductionStatisticsHandler(one)
    handler.run()
    text = handler.outputs[0].read_text()
    document = strict(text)
    assert "NaN" not in text
    assert "Infinity" not in text
    assert document["pilots"][0]["nsb"] is None


# --- real files -------------------------------------------------------------------------------------------------------
def test_the_script_of_the_predecessor(shared_data, tmp_path):
    """The arguments that its application passes, on its own files."""
    arguments = {
        "base_path": str(shared_data / "dl2") + "/",
        "zeniths": [20.0, 40.0, 60.0],
        "camera_offsets": [0.0],
        "query_point": [1, 0, 30, 0, 0],
        "metrics_file": str(shared_data / "configuration" / "metrics_v0.16.yml"),
        "file_name_template": "prod6_LaPalma-{zenith}deg_gamma_cone.N.Am-4LSTs09MSTs_ID0_reduced.fits",
        "output_path": str(tmp_path),
        "output_file": "production_statistics.json",
        "offset_max": 1.0,
        "simulated_fraction": "runs",
        "log_level": "INFO",
        "label": None,
    }
    handler = ProductionStatisticsHandler(arguments)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        handler.run()
    assert any("undetermined" in str(warning.message) for warning in caught)
    document = strict((tmp_path / "production_statistics.json").read_text())
    assert document["records"]["status"]["value"] == ["undetermined"]
    assert 0 < document["production_statistics"][0] < 1e10
    assert all(pilot["n_events"] < 1e13 for pilot in document["pilots"])


# --- what is refused before anything is written -----------------------------------------------------------------------
@pytest.mark.parametrize("bad", [[np.nan], [np.inf], [-1.0], [1 * u.m], ["many"], 1 * u.deg, None, [[1.0]]])
def test_only_numbers_of_events_are_written(arguments, bad):
    handler = ProductionStatisticsHandler(arguments)
    handler.initialize_evaluators()
    handler.perform_interpolation()
    with pytest.raises(ProdconfError, match="production_statistics must"):
        handler.write_output(bad)
    assert not handler.output_path.exists()


@pytest.mark.parametrize("good", [[7], 7.0, np.array([7]), 7 * u.ct, [7] * u.ct, [7 * u.ct], 7 * u.one])
def test_numbers_of_events_with_and_without_unit(arguments, good):
    handler = ProductionStatisticsHandler(arguments)
    handler.initialize_evaluators()
    handler.perform_interpolation()
    handler.write_output(good)
    assert strict(handler.outputs[0].read_text())["production_statistics"] == [7.0]


def test_a_figure_in_the_way_stops_before_the_work(arguments, tmp_path):
    (tmp_path / "out").mkdir()
    figure = tmp_path / "out" / f"production_statistics_gamma_za{ZENITHS[-1]:g}.png"
    figure.write_text("mine")
    handler = ProductionStatisticsHandler(arguments | {"plot_production_statistics": True})
    with pytest.raises(ProdconfError, match="exists, and overwriting was not asked for"):
        handler.run()
    assert handler.evaluator_instances == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == [figure.name]


@pytest.mark.parametrize("name", ["", ".", "/", "..", "a\0b.json", "nowhere/x.json"])
def test_impossible_output_names(arguments, name):
    with pytest.raises(ProdconfError, match="output"):
        ProductionStatisticsHandler(arguments | {"output_file": name}).run()


def test_arguments_can_be_subscripted_as_the_dictionary_can(arguments):
    handler = ProductionStatisticsHandler(arguments)
    assert handler.args["zeniths"] == handler.args.zeniths
    assert handler.args["overwrite"] is False
    with pytest.raises(KeyError):
        handler.args["zenits"]


@pytest.mark.parametrize("upper", [True, False])
def test_a_job_file_of_the_predecessor(arguments, tmp_path, upper):
    """The block of an application, and its arguments alone, in capitals and not; nothing else of it is an argument."""
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
    plain |= {"zeniths": [20, 40], "query_point": [1, 180, 30, 0, 0]}
    plain = {name: value for name, value in plain.items() if isinstance(value, (str, int, list))}

    def spelt(names):
        return {name.upper() if upper else name: value for name, value in names.items()}

    job = {"application": "simtools-production-derive-statistics", "configuration": spelt(plain), "test_name": "any"}
    other = spelt({"application": "simtools-production-generate-grid", "configuration": {}})
    files = {"alone.yml": spelt(plain), "other.yml": spelt({"applications": [other]})}
    files["job.yml"] = {"CTA_SIMPIPE": {"APPLICATIONS": [other, spelt(job)]}, "SCHEMA_NAME": "any"}
    files["late.yml"] = spelt({"applications": [other, spelt(job)]})
    for name, content in files.items():
        (tmp_path / name).write_text(yaml.safe_dump(content))
    for name in ("alone.yml", "job.yml", "late.yml"):
        assert read_handler_arguments(tmp_path / name) == plain
        assert ProductionStatisticsHandler(read_handler_arguments(tmp_path / name)).args.zeniths == (20.0, 40.0)
    with pytest.raises(ArgumentError, match="must hold a job of production-derive-statistics, got production-generate"):
        read_handler_arguments(tmp_path / "other.yml")


def test_a_job_file_may_leave_out_what_the_application_supplied(tmp_path, monkeypatch):
    job = {"APPLICATION": "production-derive-statistics", "CONFIGURATION": {"BASE_PATH": "here", "ZENITHS": [20]}}
    (tmp_path / "job.yml").write_text(yaml.safe_dump({"CTA_SIMPIPE": {"APPLICATIONS": [job]}}))
    found = read_handler_arguments(tmp_path / "job.yml")
    assert found["base_path"] == "here"  # relative to where the job is run, for it is not beside the file
    assert "{zenith}deg" in found["file_name_template"]
    assert found["output_file"] == "interpolated_production_statistics.json"
    (tmp_path / "here").mkdir()
    assert read_handler_arguments(tmp_path / "job.yml")["base_path"] == str(tmp_path / "here")


def test_missing_pilots_are_a_missing_file(arguments, tmp_path):
    with pytest.raises(FileNotFoundError):
        ProductionStatisticsHandler(arguments | {"base_path": tmp_path}).initialize_evaluators()
    with pytest.raises(FileNotFoundError):
        ProductionStatisticsHandler(arguments | {"metrics_file": tmp_path / "none.yml"})
