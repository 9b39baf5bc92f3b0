"""`prodconf config`: what it prints and writes, for generated pilots and for the real ones."""

import json

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable

from prodconf.limits.table import read_limits, write_limits
from prodconf.precision.targets import Metric, Metrics, write_metrics


def keywords(text):
    """Read CORSIKA's keywords from a text that has other lines as well."""
    names = {"RUNNR", "EVTNR", "NSHOW", "PRMPAR", "ESLOPE", "ERANGE", "THETAP", "PHIP", "VIEWCONE", "CSCAT"}
    lines = [line.split() for line in text.splitlines() if line.split()[:1] and line.split()[0] in names]
    return {name: [float(x) for x in rest] for name, *rest in lines}


@pytest.fixture(scope="module")
def pilot(small_sample):
    """DL2 file of the first pilot of the small sample."""
    return small_sample.dl2_events[0]


@pytest.fixture(scope="module")
def limits(tmp_path_factory):
    """A table with two pointings of one array."""
    table = QTable(
        {
            "primary_particle": ["gamma", "gamma"],
            "array_name": ["full array", "full array"],
            "zenith": [20, 40] * u.deg,
            "azimuth": [0, 0] * u.deg,
            "nsb_level": [0.24, 0.24],
            "lower_energy_limit": [10, 20] * u.GeV,
            "upper_radius_limit": [900, 1200] * u.m,
            "viewcone_radius": [6, 6] * u.deg,
        }
    )
    path = tmp_path_factory.mktemp("limits") / "limits.ecsv"
    write_limits(table, path)
    return path


def test_the_block_is_that_of_the_table(run, pilot, limits, tmp_path):
    place, facts = tmp_path / "gamma.inp", tmp_path / "gamma.json"
    options = ("--zenith", "20 deg", "--azimuth", "0", "--nsb", "0.24", "--declination", "-4", "--uses", 5)
    status, out, err = run(
        "config", pilot, "--limits", limits, *options, "--showers-per-run", 1000, "-o", place, "--parameters", facts
    )
    assert (status, err) == (0, "")
    card = keywords(place.read_text())
    assert card["ERANGE"][0] == 10
    assert card["CSCAT"] == [5, 90_000, 0]
    assert card["VIEWCONE"] == [0, 6]
    assert card["THETAP"] == [20, 20]
    assert card["PHIP"] == [176, 176]
    assert card["PRMPAR"] == [1]
    assert card["NSHOW"] == [1000]
    assert keywords(out) == card
    assert f"Written: {place}, {facts}" in out
    made = json.loads(facts.read_text())
    assert made["parameters"]["core_scatter_radius"] == {"value": 900.0, "unit": "m"}
    assert made["parameters"]["number_of_events"] is None
    assert [entry["file"] for entry in made["provenance"]["inputs"]] == [pilot.name, limits.name]


def test_metrics_bring_a_number_of_events(run, pilot, tmp_path):
    metrics = tmp_path / "metrics.yml"
    target = Metric(target=0.1, energy_min=0.03, energy_max=0.15)
    write_metrics(Metrics(uncertainty_effective_area=target), metrics)
    first = ("config", pilot, "--metrics", metrics, "--particle", "gamma", "--showers-per-run", 1000)
    numbers = []
    for more in ((), ("--bound",)):
        status, out, err = run(*first, "--first-run", 77, *more)
        assert (status, err) == (0, "")
        line = next(line for line in out.splitlines() if line.strip().startswith("number_of_events"))
        card = keywords(out)
        assert card["RUNNR"] == [77]
        assert card["NSHOW"][0] <= 1000
        thrown = next(line for line in out.splitlines() if line.startswith("* Thrown: "))
        numbers.append((int(line.split()[-1]), int(thrown.split()[2])))
    (estimate, planned), (same, bound) = numbers
    assert 0 < estimate == same
    assert planned >= estimate
    assert bound > planned
    lines = out.splitlines()
    where = next(i for i, line in enumerate(lines) if line.split()[:1] == ["number_of_events"])
    name, suffices, *words = lines[where + 1].split()
    assert name == "number_of_events_bound"
    assert bound == pytest.approx(int(suffices), abs=1000 * 20)
    assert "about half of the cases" in " ".join(words)
    assert "--bound" in words


def test_nothing_is_replaced_unasked(run, pilot, tmp_path):
    place = tmp_path / "gamma.inp"
    place.write_text("mine")
    first = ("config", pilot, "--particle", "gamma", "-o", place)
    status, _, err = run(*first)
    assert status == 1
    assert str(place) in err
    assert place.read_text() == "mine"
    assert run(*first, "--overwrite")[0] == 0
    assert keywords(place.read_text())["PRMPAR"] == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "primary_particle (--particle) must be given"),
        (("--particle", "graviton"), "particle must be one of"),
        (("--particle", "gamma", "--zenith", "95"), "zenith"),
        (("--particle", "gamma", "--zenith", "20 m"), "zenith"),
        (("--particle", "gamma", "--declination", "west"), "declination"),
        (("--particle", "gamma", "--uses", "21"), "n_use must be a whole number from 1 to 20"),
        (("--particle", "gamma", "--offset-max", "nan"), "offset"),
        (("--particle", "gamma", "--simulated-fraction", "some"), "fraction"),
        (("--particle", "gamma", "--first-run", "1000000"), "run_number"),
    ],
)
def test_bad_options_end_in_one_sentence(run, pilot, options, message):
    status, _, err = run("config", pilot, *options)
    assert status == 1
    assert message in err
    assert err.count("\n") == 1
    assert err.startswith("prodconf: ")


def test_outside_the_table(run, pilot, limits):
    asked = ("config", pilot, "--limits", limits, "--zenith", "60")
    status, _, err = run(*asked)
    assert status == 1
    assert "outside" in err
    status, out, _ = run(*asked, "--nearest")
    assert status == 0
    assert "OUTSIDE" in out
    assert keywords(out)["CSCAT"][1] == 120_000


def test_real_pilot(run, shared_data):
    file = shared_data / "dl2/prod6_LaPalma-20deg_gamma_cone.N.Am-4LSTs09MSTs_ID0_reduced.fits"
    table = shared_data / "limits/corsika_limits_v0.33.ecsv"
    asked = ("config", file, "--limits", table, "--array", "CTAO-North-Alpha", "--nsb", "0.24")
    status, out, err = run(*asked, "--offset-max", "1", "--simulated-fraction", "runs")
    assert (status, err) == (0, "")
    card = keywords(out)
    assert card["NSHOW"] == [100_000]
    assert card["CSCAT"][0] == 20
    assert card["THETAP"] == [20, 20]
    assert card["VIEWCONE"][1] <= 10
    assert run("config", "missing.fits")[0] == 1


@pytest.mark.parametrize("option", ["--output", "--parameters"])
@pytest.mark.parametrize("name", ["pilot.fits", "metrics.yml", "limits.ecsv"])
def test_config_never_replaces_what_it_reads(run, pilot, limits, tmp_path, option, name):
    (tmp_path / "pilot.fits").write_bytes(pilot.read_bytes())
    (tmp_path / "limits.ecsv").write_bytes(limits.read_bytes())
    write_metrics(
        Metrics(uncertainty_effective_area=Metric(target=0.1, energy_min=0.03, energy_max=0.15)),
        tmp_path / "metrics.yml",
    )
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    files = ("--metrics", tmp_path / "metrics.yml", "--limits", tmp_path / "limits.ecsv")
    status, out, err = run("config", tmp_path / "pilot.fits", *files, option, tmp_path / name, "--overwrite")
    assert (status, out) == (1, "")
    assert f"{name}: is an input of this command and would be overwritten" in err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_config_writes_both_files_or_none(run, pilot, tmp_path):
    place, facts = tmp_path / "gamma.inp", tmp_path / "gamma.json"
    place.write_text("mine")
    status, out, err = run("config", pilot, "--particle", "gamma", "-o", place, "--parameters", facts)
    assert (status, out) == (1, "")
    assert "overwriting was not asked for" in err
    assert not facts.exists()
    status, _, err = run("config", pilot, "--particle", "gamma", "-o", facts, "--parameters", facts)
    assert status == 1
    assert "is named for two outputs" in err
    assert not facts.exists()


def test_parameters_alone_need_no_particle(run, pilot, tmp_path):
    facts = tmp_path / "gamma.json"
    status, out, err = run("config", pilot, "--parameters", facts)
    assert (status, err) == (0, "")
    assert "core_scatter_radius" in out
    assert keywords(out) == {}
    assert json.loads(facts.read_text())["parameters"]["core_scatter_radius"]["value"] > 0


def test_a_hollow_cone_stays_hollow_on_the_card(run, shared_data):
    """A pilot thrown at .4 deg alone: its card throws there, not into the full cone."""
    folder = shared_data / "cases"
    status, out, err = run(
        "config", folder / "ring_wobble/ring.fits", "-m", folder / "metrics.yml", "--particle", "gamma"
    )
    assert (status, err) == (0, "")
    assert keywords(out)["VIEWCONE"] == [0.4, 0.4]
    assert "directions at 0.4 deg" in out


def test_the_hollow_cone_of_a_table_decides_the_number_of_events(run, pilot, limits, tmp_path):
    """The pilot fills its cone: a ring of its directions needs the ring's share of the events."""
    table, hollow = read_limits(limits), tmp_path / "hollow.ecsv"
    table["br_viewcone_min"] = [4.0, 4.0] * u.deg
    write_limits(table, hollow)
    target = Metric(target=0.1, energy_min=0.03, energy_max=0.15)
    write_metrics(Metrics(uncertainty_effective_area=target), tmp_path / "m.yml")
    events = {}
    for path, cone in ((limits, [0, 6]), (hollow, [4, 6])):
        facts = tmp_path / f"{path.stem}.json"
        given = ("-m", tmp_path / "m.yml", "--zenith", 20, "--particle", "gamma", "--showers-per-run", 1000)
        status, out, err = run(
            "config", pilot, "--limits", path, *given, "--parameters", facts, "-o", tmp_path / f"{path.stem}.inp"
        )
        assert (status, err) == (0, "")
        assert keywords(out)["VIEWCONE"] == cone
        events[path.stem] = json.loads(facts.read_text())["parameters"]["number_of_events"]["value"]
    cosines = np.cos(np.deg2rad([0, 4, 6]))
    share = (cosines[1] - cosines[2]) / (cosines[0] - cosines[2])
    assert events["hollow"] / events["limits"] == pytest.approx(share, rel=1e-3)
