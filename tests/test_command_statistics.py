"""`prodconf evaluate` and `prodconf statistics`: what they print, write and refuse."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from astropy.table import QTable

from prodconf.calculate_statistical_errors_grid_point import StatisticalErrorEvaluator
from prodconf.core.errors import FileError
from prodconf.derive_production_statistics import ProductionStatisticsDerivator
from prodconf.events.dl2 import DL2Header, write_dl2

EDGES = np.logspace(-1.5, 1, 26)
METRICS = {
    "uncertainty_effective_area": {
        "target_uncertainty": {"value": 0.05},
        "energy_range": {"value": [0.39, 6.4], "unit": "TeV"},
    }
}
N_HELD = 12


def write_pilot(path, zenith, highest=10.0):
    """Write a pilot of one pointing whose area rises to a plateau and ends at the highest energy."""
    rng = np.random.default_rng(zenith)
    thrown = 4e5 * np.diff(-1 / EDGES) / (1 / EDGES[0] - 1 / EDGES[-1])
    threshold = 0.08 / np.cos(np.deg2rad(zenith)) ** 2.5
    efficiency = 0.1 * np.minimum(1, EDGES[1:] / threshold) ** 3 * (EDGES[1:] < highest * 1.01)
    passed = rng.binomial(thrown.astype(int), efficiency)
    energy = np.concatenate(
        [rng.uniform(a * 1.001, b * 0.999, k) for a, b, k in zip(EDGES[:-1], EDGES[1:], passed, strict=True)]
    )
    azimuth = np.full(energy.size, 180.0)
    altitude = 90 - zenith - np.rad2deg(np.arccos(rng.uniform(np.cos(np.deg2rad(5)), 1, energy.size)))
    write_dl2(
        path,
        DL2Header(400_000, 1, 1000.0, 5.0, EDGES[0], EDGES[-1], -2.0, zenith=zenith, azimuth=180.0),
        energy_edges=EDGES,
        n_simulated=thrown,
        run=np.ones(energy.size, dtype=int),
        energy_true=energy,
        energy_reco=energy,
        azimuth_true=azimuth,
        altitude_true=altitude,
        azimuth_reco=azimuth,
        altitude_reco=altitude,
    )


@pytest.fixture(scope="module")
def pilots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pilots")
    for zenith in (20, 40):
        write_pilot(folder / f"za{zenith}.fits", zenith)
    write_pilot(folder / "blind.fits", 20, highest=EDGES[-5])
    (folder / "metrics.yml").write_text(yaml.safe_dump(METRICS))
    arguments = {
        "base_path": ".",
        "file_name_template": "za{zenith}.fits",
        "zeniths": [20, "40 deg"],
        "metrics_file": "metrics.yml",
        "query_point": ["1 TeV", 180, 30, None, None],
        "output_file": "from_yaml.json",
    }
    (folder / "statistics.yml").write_text(yaml.safe_dump(arguments))
    return folder


def one_line(text):
    """Return the only line of a text."""
    assert text.endswith("\n")
    (line,) = text.splitlines()
    return line


@pytest.mark.parametrize("command", ["evaluate", "statistics", "config"])
def test_help_ends_in_an_example(run, command):
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    example = " ".join(out.split("\n\n")[-1].split())
    assert f"Example: prodconf {command} " in example
    assert all(word in out for word in example.split() if word.startswith("--"))
    assert f"  {command} " in run("--help")[1]


# --- evaluate ---------------------------------------------------------------------------------------------------------
def test_evaluate_prints_bins_and_verdicts(run, pilots):
    status, out, err = run("evaluate", pilots / "za20.fits", "--metrics", pilots / "metrics.yml")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["E_min/TeV", "E_max/TeV", "passed"]
    held = StatisticalErrorEvaluator(str(pilots / "za20.fits")).counts.n_true[-N_HELD - 2 : -2]
    assert [float(line.split()[2]) for line in lines[1 : N_HELD + 1]] == list(held)
    assert "decides" in out
    total = ProductionStatisticsDerivator(StatisticalErrorEvaluator(str(pilots / "za20.fits"), METRICS), METRICS).total
    assert lines[N_HELD + 1 : N_HELD + 1 + len(total.verdicts())] == total.verdicts()
    assert f"Events to throw: {total.n_events:.3g} +-" in out


def test_evaluate_verbose_has_all_bins(run, pilots):
    short, long = (run("evaluate", pilots / "za20.fits", "-m", pilots / "metrics.yml", *v)[1] for v in ((), ("-v",)))
    assert len(long.splitlines()) - len(short.splitlines()) == EDGES.size - 1 - N_HELD


@pytest.mark.parametrize("axis", ["reco", "true"])
def test_evaluate_writes_a_table(run, pilots, tmp_path, axis):
    out_file = tmp_path / "bins.ecsv"
    command = ("evaluate", pilots / "za20.fits", "-m", pilots / "metrics.yml", "--energy-axis", axis, "-o", out_file)
    status, out, err = run(*command)
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == f"Written: {out_file}"
    table = QTable.read(out_file)
    assert len(table) == EDGES.size - 1
    assert table.meta["provenance"]["configuration"]["energy_axis"] == axis
    assert [row["file"] for row in table.meta["provenance"]["inputs"]] == ["za20.fits", "metrics.yml"]
    before = out_file.read_bytes()
    status, _, err = run(*command)
    assert status == 1
    assert "overwriting was not asked for" in one_line(err)
    assert out_file.read_bytes() == before
    assert run(*command, "--overwrite")[0] == 0


def test_evaluate_says_what_is_undetermined(run, pilots):
    status, out, _ = run("evaluate", pilots / "blind.fits", "-m", pilots / "metrics.yml")
    assert status == 0
    assert "Undetermined (too few events passed): 3.98 to 6.31 TeV" in out
    assert "Verdict: undetermined." in out.splitlines()
    assert "nan" not in out


def test_evaluate_options_change_the_answer(run, pilots):
    def events(*options):
        status, out, _ = run("evaluate", pilots / "za20.fits", "-m", pilots / "metrics.yml", *options)
        assert status == 0
        return float(out.split("Events to throw: ")[1].split()[0])

    assert events("--spectral-index", "1.5") < 0.5 * events()
    reco = ("--energy-axis", "reco")
    assert events("--simulated-fraction", "0.5", *reco) == pytest.approx(0.5 * events(*reco), rel=0.01)
    assert events("--offset-max", "5 deg") == pytest.approx(events(), rel=1e-3)
    assert events("--grid-point", "1 TeV", "180 deg", "20", "-", "0") == events()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--grid-point", "1", "180", "60", "-", "-"), "zenith"),
        (("--grid-point", "1 m", "180", "20", "-", "-"), "--grid-point: energy"),
        (("--offset-max", "wide"), "--offset-max"),
        (("--offset-max", "0"), "offset_max"),
        (("--simulated-fraction", "2"), "simulated_fraction"),
        (("--simulated-fraction", "some"), "--simulated-fraction"),
    ],
)
def test_evaluate_refuses(run, pilots, options, words):
    status, out, err = run("evaluate", pilots / "za20.fits", "-m", pilots / "metrics.yml", *options)
    assert (status, out) == (1, "")
    assert words in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate",), "file"),
        (("evaluate", "a.fits"), "--metrics"),
        (("evaluate", "a.fits", "-m", "m.yml", "--grid-point", "1"), "--grid-point"),
        (("evaluate", "a.fits", "-m", "m.yml", "--energy-axis", "both"), "--energy-axis"),
        (("evaluate", "a.fits", "-m", "m.yml", "--spectral-index", "-2"), "--spectral-index"),
        (("statistics", "a.yml", "b.yml"), "b.yml"),
        (("statistics", "--query-point", "1", "2"), "--query-point"),
    ],
)
def test_wrong_usage_is_status_2(run, arguments, words):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert words.lower() in err.lower()


@pytest.mark.parametrize("name", ["nowhere.fits", "metrics.yml"])
def test_evaluate_wants_a_dl2_file(run, pilots, name):
    status, out, err = run("evaluate", pilots / name, "-m", pilots / "metrics.yml")
    assert (status, out) == (1, "")
    assert name in one_line(err)


# --- statistics -------------------------------------------------------------------------------------------------------
def options_of(pilots, output):
    return (
        *("--base-path", pilots, "--file-name-template", "za{zenith}.fits", "--zenith", "20", "--zenith", "40 deg"),
        *("--metrics", pilots / "metrics.yml", "--query-point", "1 TeV", "180", "30", "-", "-", "-o", output),
    )


def test_statistics_from_options(run, pilots, tmp_path):
    status, out, err = run("statistics", *options_of(pilots, tmp_path / "out.json"), "-v")
    assert (status, err) == (0, "")
    assert out.startswith("At energy 1 TeV, azimuth 180 deg, zenith 30 deg")
    assert "za20.fits: " in out
    assert out.splitlines()[-1] == f"Written: {tmp_path / 'out.json'}, {tmp_path / 'out.ecsv'}"
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["query_point"] == [1.0, 180.0, 30.0, None, None]
    assert document["production_statistics"][0] > 0


def test_statistics_from_a_file_and_options_that_replace_it(run, pilots, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("statistics", pilots / "statistics.yml")[0] == 0
    written = json.loads((tmp_path / "from_yaml.json").read_text())
    assert run("statistics", *options_of(pilots, "options.json"))[0] == 0
    assert json.loads((tmp_path / "options.json").read_text())["records"] == written["records"]
    status, out, _ = run(
        "statistics", pilots / "statistics.yml", "--query-point", "1", "180", "20", "-", "-", "--overwrite"
    )
    assert status == 0
    assert "zenith 20 deg" in out


def test_statistics_refuses_before_it_works(run, pilots, tmp_path):
    (tmp_path / "out.json").write_text("mine")
    status, out, err = run("statistics", *options_of(pilots, tmp_path / "out.json"))
    assert (status, out) == (1, "")
    assert "overwriting was not asked for" in one_line(err)
    assert (tmp_path / "out.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--zenith", "5"), "holds none of the pilot files"),
        (("--zenith", "steep"), "--zenith"),
        (("--query-point", "1", "180", "70", "-", "-"), "zenith"),
        (("--query-point", "1", "0", "30", "-", "-"), "azimuth"),
    ],
)
def test_statistics_refuses(run, pilots, tmp_path, options, words):
    status, out, err = run("statistics", pilots / "statistics.yml", "-o", tmp_path / "x.json", *options)
    assert (status, out) == (1, "")
    assert words in one_line(err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["- a list\n", "zenits: [20]\n", "zeniths: [20\n"])
def test_statistics_of_a_wrong_file(run, tmp_path, text):
    (tmp_path / "bad.yml").write_text(text)
    status, out, err = run("statistics", tmp_path / "bad.yml")
    assert (status, out) == (1, "")
    one_line(err)


def test_statistics_without_anything(run):
    status, out, err = run("statistics")
    assert (status, out) == (1, "")
    assert one_line(err).startswith("prodconf: --base-path is missing")


# --- outputs ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def mine(pilots, tmp_path):
    """A copy of the pilots and targets, and what it holds."""
    for path in pilots.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path, {path.name: path.read_bytes() for path in pilots.iterdir()}


@pytest.mark.parametrize("name", ["za20.fits", "metrics.yml"])
def test_evaluate_never_replaces_what_it_reads(run, mine, name):
    folder, before = mine
    command = ("evaluate", folder / "za20.fits", "-m", folder / "metrics.yml", "-o", folder / name, "--overwrite")
    status, out, err = run(*command)
    assert (status, out) == (1, "")
    assert one_line(err) == f"prodconf: output {folder / name}: is an input of this command and would be overwritten"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("name", ["za20.fits", "metrics.yml", "statistics.yml", "targets.json"])
def test_statistics_never_replaces_what_it_reads(run, mine, name):
    folder, before = mine
    (folder / "targets.ecsv").write_bytes(before["metrics.yml"])
    before |= {"targets.ecsv": before["metrics.yml"]}
    targets = ("--metrics", folder / "targets.ecsv") if name == "targets.json" else ()
    command = ("statistics", folder / "statistics.yml", *targets, "-o", folder / name, "--overwrite")
    status, out, err = run(*command)
    assert (status, out) == (1, "")
    assert "is an input of this command and would be overwritten" in one_line(err)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_figure_never_replaces_a_pilot(run, mine):
    folder, before = mine
    (folder / "x_za40.png").write_bytes(before["za40.fits"])
    (folder / "za40.fits").unlink()
    (folder / "za40.fits").symlink_to(folder / "x_za40.png")
    status, out, err = run("statistics", folder / "statistics.yml", "-o", folder / "x.json", "--plot", "--overwrite")
    assert (status, out) == (1, "")
    assert "x_za40.png: is an input" in one_line(err)
    assert not (folder / "x.json").exists()


@pytest.mark.parametrize("name", ["", ".", "/", "x" * 300])
@pytest.mark.parametrize("command", ["evaluate", "statistics"])
def test_names_that_are_none(run, pilots, name, command):
    first = (pilots / "statistics.yml",)
    if command == "evaluate":
        first = (pilots / "za20.fits", "-m", pilots / "metrics.yml")
    status, out, err = run(command, *first, "-o", name)
    assert (status, out) == (1, "")
    assert "output" in one_line(err)


def test_a_zero_byte_in_a_file_of_arguments(run, mine):
    folder, before = mine
    arguments = yaml.safe_load(before["statistics.yml"]) | {"output_file": "a\0b.json"}
    (folder / "zero.yml").write_text(yaml.safe_dump(arguments))
    status, out, err = run("statistics", folder / "zero.yml")
    assert (status, out) == (1, "")
    assert "cannot be written" in one_line(err)


def test_a_closed_standard_output_of_a_shell(pilots):
    code = "import sys; from prodconf.command_line import main; sys.argv[0] = 'prodconf'; main()"
    command = [sys.executable, "-c", code, "evaluate", str(pilots / "za20.fits"), "-m", str(pilots / "metrics.yml")]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_closed_standard_output(run, pilots, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    command = ("evaluate", pilots / "za20.fits", "-m", pilots / "metrics.yml", "-o", tmp_path / "bins.ecsv")
    status, *_ = run(*command)
    sys.stdout.close()
    assert status == 0
    assert len(QTable.read(tmp_path / "bins.ecsv")) == EDGES.size - 1


# --- more of what is said ---------------------------------------------------------------------------------------------
def test_evaluate_with_a_reference_energy(run, pilots):
    def line(*options):
        status, out, _ = run("evaluate", pilots / "za20.fits", "-m", pilots / "metrics.yml", *options)
        assert status == 0
        return out.splitlines()[-1]

    assert "of its peak" in line()
    threshold = StatisticalErrorEvaluator(str(pilots / "za20.fits")).threshold(reference_energy=1.0)
    assert line("--reference-energy", "1 TeV") == line("--reference-energy", "1000 GeV")
    assert f"(area at 10% of that at 1 TeV): {threshold.value:.3g} TeV" in line("--reference-energy", "1")
    status, _, err = run("evaluate", pilots / "za20.fits", "-m", pilots / "metrics.yml", "--reference-energy", "1 m")
    assert status == 1
    assert "--reference-energy" in one_line(err)


def test_statistics_names_the_option_that_is_missing(run, pilots):
    status, _, err = run("statistics", "--base-path", pilots)
    assert status == 1
    assert "--file-name-template is missing" in one_line(err)
    (pilots / "part.yml").write_text(yaml.safe_dump({"zenits": [20]}))
    assert "did you mean zeniths" in one_line(run("statistics", pilots / "part.yml")[2])


# --- a production at one energy ---------------------------------------------------------------------------------------
def test_a_production_at_one_energy_has_one_bin(run, shared_data):
    """N = (1 - p) / (p δ²) for the only bin, whatever its width and whatever the spectrum."""
    folder = shared_data / "cases"
    pilot, metrics = folder / "mono_energetic/mono_300GeV.fits", folder / "metrics.yml"
    evaluator = StatisticalErrorEvaluator(pilot, metrics)
    p, target = evaluator.file.n_events / 20_000, evaluator.metrics.uncertainty_effective_area.target
    needed = (1 - p) / (p * target**2)
    for index in (None, 1.5):
        total = ProductionStatisticsDerivator(evaluator, None, spectral_index=index).total
        assert total.n_events == pytest.approx(needed, rel=1e-9)
    status, out, _ = run("evaluate", pilot, "-m", metrics)
    assert status == 0
    lines = out.splitlines()
    assert lines[1].split()[2] == str(evaluator.file.n_events)
    assert lines[2].startswith(f"Events to throw: {needed:.3g} +- ")
    assert "(0.3 TeV, cores within 600 m, directions within 5 deg)" in lines[2]
    status, out, _ = run("config", pilot, "-m", metrics, "--particle", "gamma")
    assert status == 0
    assert "ERANGE   300.0 300.0" in out


def test_counts_beside_the_only_energy_are_refused(tmp_path):
    edges = np.array([0.1, 0.2, 0.4])
    header = DL2Header(100, 1, 500.0, 5.0, 0.3, 0.3, -2.0, zenith=20.0, azimuth=0.0)
    one = {name: np.ones(1) for name in ("energy_true", "energy_reco", "azimuth_true", "altitude_true")}
    one |= {"azimuth_reco": np.ones(1), "altitude_reco": np.ones(1), "run": np.ones(1, dtype=int)}
    one["energy_true"] = one["energy_reco"] = np.array([0.3])
    write_dl2(tmp_path / "two.fits", header, energy_edges=edges, n_simulated=np.array([1.0, 99.0]), **one)
    with pytest.raises(FileError, match=r"must count events in the bin of 0\.3 TeV alone"):
        StatisticalErrorEvaluator(tmp_path / "two.fits")
