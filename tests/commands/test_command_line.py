"""The command line: what it prints where, its exit status, and what a shell does to it."""

import io
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import prodconf
from prodconf.core.configuration import validate
from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.plan.configuration import PlanConfiguration, example_configuration
from prodconf.precision.targets import write_metrics
from prodconf.toys.sample import SampleSize, sample_metrics, sample_models, write_pilot

COMMANDS = ("plan", "validate-plan", "inspect", "sample")
OUTPUTS = ["corsika_limits.ecsv", "grid.ecsv", "report.html", "statistics.ecsv"]


def in_a_shell(*arguments, **options):
    """Run the program in a process of its own."""
    command = [sys.executable, "-c", "from prodconf.command_line import main; main()", *map(str, arguments)]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False, **options)


@pytest.fixture(scope="module")
def pilot(tmp_path_factory):
    """A folder with one small pilot, its targets and its plan."""
    folder = tmp_path_factory.mktemp("pilot")
    size = SampleSize((0.0,), (0.24,), n_runs=1, n_showers=4000, n_uses=5)
    write_pilot(folder / "pilot", sample_models(size="small")[0], seed=np.random.SeedSequence(5), size=size)
    write_metrics(sample_metrics(), folder / "metrics.yml")
    plan = {
        "reduced_events": "pilot.reduced.hdf5",
        "dl2_events": [{"files": "pilot.dl2.fits", "nsb_level": 0.24}],
        "metrics": "metrics.yml",
        "loss_fraction": 0.01,
    }
    (folder / "plan.yml").write_text(yaml.safe_dump(plan))
    return folder


def one_line(text):
    """Return the only line of a text."""
    assert text.endswith("\n")
    (line,) = text.splitlines()
    return line


# --- what it says of itself -------------------------------------------------------------------------------------------
def test_version(run):
    assert run("--version") == (0, f"prodconf {prodconf.__version__}\n", "")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_command(run, flag):
    status, out, err = run(flag)
    assert (status, err) == (0, "")
    assert all(f"  {command} " in out for command in COMMANDS)
    assert "..." not in out.split("Plan:")[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_ends_in_an_example(run, command):
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    assert f"Example: prodconf {command} " in " ".join(out.split("\n\n")[-1].split())


def test_help_has_a_section_for_each_group_of_commands_and_panel_of_options(run):
    titles = [line for line in run("--help")[1].splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Options:", "Plan:", "Pilots:", "Events and precision:", "Production:"]
    titles = [line for line in run("grid", "--help")[1].splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Arguments:", "Limits:", "Sky:", "Events:", "Jobs:", "Options:"]


def test_help_loads_none_of_what_works():
    heavy = "{'numpy', 'scipy', 'astropy', 'h5py', 'matplotlib', 'pydantic', 'rich', 'yaml'}"
    code = f"import sys, prodconf.command_line; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_examples_are_commands_that_exist(run):
    """Every option of the examples is one of the command."""
    for command in COMMANDS:
        out = run(command, "--help")[1]
        example = out.split("Example: ")[1]
        options = {word for part in example.split("&&") for word in part.split() if word.startswith("-")}
        assert all(option in out or option in run("plan", "--help")[1] for option in options)


def test_example_configuration_is_one(run, tmp_path):
    status, out, err = run("plan", "--example-config")
    assert (status, err, out) == (0, "", example_configuration())
    data = yaml.safe_load(out)
    assert validate(PlanConfiguration, data, source="example").sub_arrays["large telescopes"].multiplicity == 2
    commented = {line.lstrip("# ").split(":")[0] for line in out.splitlines() if line.startswith("# ")}
    described = set(data) | commented
    assert set(PlanConfiguration.model_fields) <= described
    assert os.listdir(tmp_path) == []


# --- the exit status --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ["Usage", "plan", "inspect", "sample"]),
        (("plam",), ["plam"]),
        (("--nonsense",), ["--nonsense"]),
        (("plan", "--nonsense"), ["--nonsense"]),
        (("plan", "one.yml", "two.yml"), ["two.yml"]),
        (("plan", "-o"), ["-o"]),
        (("inspect",), ["files"]),
        (("sample",), ["folder"]),
        (("sample", "there", "--seed", "-1"), ["--seed"]),
        (("sample", "there", "--seed", "one"), ["--seed"]),
    ],
)
def test_wrong_usage_is_status_2(run, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    assert all(word in err for word in words)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", ["plan", "inspect"])
def test_a_foreseen_failure_is_status_1_and_one_line(run, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(command, "absent.file")
    assert (status, out) == (1, "")
    line = one_line(err)
    assert line.startswith("prodconf: ")
    assert line.count("absent.file") == 1
    assert os.listdir(tmp_path) == []


def test_several_lines_of_a_sentence_become_one(run, monkeypatch):
    def fail(*_, **__):
        raise ProdconfError("first\n   second\tthird")

    monkeypatch.setattr("prodconf.plan.main_job.plan_production", fail)
    assert run("plan", "x.yml") == (1, "", "prodconf: first second third\n")


def test_what_is_not_foreseen_is_not_hidden(run, monkeypatch):
    """A bug in the package comes out as one, not as a sentence about the input."""

    def fail(*_, **__):
        raise AssertionError("a bug")

    monkeypatch.setattr("prodconf.plan.main_job.plan_production", fail)
    with pytest.raises(AssertionError, match="a bug"):
        run("plan", "x.yml")


def test_interruption_is_said(run, monkeypatch, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("prodconf.plan.main_job.plan_production", interrupt)
    status, out, err = run("plan", "x.yml")
    assert (status, out) == (130, "")
    assert "interrupted" in one_line(err)


def test_interruption_while_writing_leaves_nothing(run, monkeypatch, pilot, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("prodconf.plan.main_job.render_report", interrupt)
    status, *_ = run("plan", pilot / "plan.yml", "-o", tmp_path / "out")
    assert status == 130
    assert os.listdir(tmp_path) == []


# --- plan and sample --------------------------------------------------------------------------------------------------
def test_plan_in_a_pipe(run, pilot, tmp_path):
    """Sentences on standard output, nothing on standard error: no progress bar, no warning."""
    status, out, err = run("plan", pilot / "plan.yml", "-o", tmp_path / "out")
    assert (status, err) == (0, "")
    assert out.startswith("Simulate gamma from ")
    assert sorted(os.listdir(tmp_path / "out")) == OUTPUTS
    assert os.listdir(tmp_path) == ["out"]
    assert all(str(tmp_path / "out" / name) in out.splitlines()[-1] for name in OUTPUTS)
    assert "\r" not in out


def test_written_names_what_was_written(run, pilot, tmp_path, monkeypatch):
    """Not what else lies in the folder; and no file of the earlier plan stays that this one does not have."""
    monkeypatch.setattr("prodconf.plan.main_job.render_report", lambda *_, **__: "")
    out = tmp_path / "out"
    run("plan", pilot / "plan.yml", "-o", out)
    (out / "notes.txt").write_text("mine")
    (pilot / "limits_only.yml").write_text("reduced_events: pilot.reduced.hdf5\n")
    status, text, err = run("plan", pilot / "limits_only.yml", "-o", out, "--overwrite")
    assert (status, err) == (0, "")
    assert (out / "notes.txt").read_text() == "mine"
    assert "notes.txt" not in text
    assert "statistics.ecsv" not in text.splitlines()[-1]
    assert not (out / "statistics.ecsv").exists(), "numbers of an earlier plan stand beside the new report"


def test_progress_on_a_terminal_only(run, pilot, monkeypatch, tmp_path):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("prodconf.plan.main_job.write_plan", lambda *_, **__: (tmp_path / "out").mkdir())
    status, *_ = run("plan", pilot / "plan.yml", "-o", tmp_path / "out")
    assert status == 0
    assert "limits" in terminal.getvalue()
    assert "statistics" in terminal.getvalue()


def test_a_warning_is_one_line(run, pilot, monkeypatch, tmp_path):
    def warn(*_, **__):
        warnings.warn("first\n   second", ProdconfWarning, stacklevel=2)
        (tmp_path / "out").mkdir()
        return SimpleNamespace(summary=["done"], notes=[])

    monkeypatch.setattr("prodconf.plan.main_job.plan_production", warn)
    status, _, err = run("plan", pilot / "plan.yml", "-o", tmp_path / "out")
    assert (status, err) == (0, "warning: first second\n")


def test_sample_is_refused_before_it_is_made(run, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("simulated although the folder is taken")

    monkeypatch.setattr("prodconf.toys.sample.write_pilot", never)
    (tmp_path / "mine.txt").write_text("mine")
    status, out, err = run("sample", tmp_path)
    assert (status, out) == (1, "")
    assert str(tmp_path) in one_line(err)
    assert os.listdir(tmp_path) == ["mine.txt"]


# --- inspect ----------------------------------------------------------------------------------------------------------
def test_inspect_every_real_file(run, shared_data):
    files = [p for folder in ("dl2", "limits", "reduced_events") for p in sorted((shared_data / folder).iterdir())]
    assert len(files) > 10
    for path in files:
        status, out, err = run("inspect", path)
        if "trigger_histograms" in path.name:
            assert (status, out) == (1, "")
            assert "holds trigger histograms, not events" in one_line(err)
        else:
            assert (status, err) == (0, ""), path
            assert len(out.splitlines()) > 5


def test_inspect_sample_files(run, pilot):
    for name, words in (("pilot.reduced.hdf5", "20000 rows"), ("pilot.dl2.fits", "reconstructed events")):
        status, out, err = run("inspect", pilot / name)
        assert (status, err) == (0, "")
        assert words in out


@pytest.mark.parametrize("name", ["metrics.yml", "plan.yml"])
def test_inspect_says_what_it_can_read(run, pilot, name):
    """A targets or plan file is described, or the refusal names all that can be."""
    status, out, err = run("inspect", pilot / name)
    if status == 0:
        assert name in out
    else:
        assert all(word in one_line(err) for word in (name, "HDF5", "FITS", "ECSV"))


def test_inspect_of_a_cut_table_says_so(run, shared_data, tmp_path):
    whole = (shared_data / "limits/corsika_limits_v0.33.ecsv").read_bytes()
    (tmp_path / "cut.ecsv").write_bytes(whole[: len(whole) * 2 // 3])
    status, out, err = run("inspect", tmp_path / "cut.ecsv")
    assert (status, out) == (1, "")
    assert "ECSV" in one_line(err)
    assert "HDF5" not in err


def test_inspect_reports_the_good_files_beside_a_bad_one(run, pilot):
    status, out, err = run("inspect", pilot / "pilot.dl2.fits", pilot / "absent.fits", pilot / "pilot.reduced.hdf5")
    assert status == 1
    assert "absent.fits" in one_line(err)
    assert "reconstructed events" in out
    assert "20000 rows" in out


def test_inspect_names_each_file_once(run, pilot):
    """With several files the heading is the only place of the name."""
    _, out, _ = run("inspect", pilot / "pilot.dl2.fits", pilot / "pilot.reduced.hdf5")
    assert out.count("pilot.dl2.fits") == 1
    assert out.count("pilot.reduced.hdf5") == 1


# --- the other end of the pipe ----------------------------------------------------------------------------------------
def test_closed_pipe():
    """`prodconf plan --example-config | head -1` ends without a word."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = in_a_shell("plan", "--example-config", stdout=closed)
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_full_device():
    with open("/dev/full", "w") as full:
        done = in_a_shell("plan", "--example-config", stdout=full)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert one_line(done.stderr).startswith("prodconf: ")


def test_output_that_knows_few_characters(run, monkeypatch, tmp_path):
    """A Windows code page has no superscripts; the plan is written, so its sentences must come out somehow."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stream)
    (tmp_path / "out").mkdir()
    result = SimpleNamespace(summary=["This takes 4.4·10⁷ events."], notes=[])
    monkeypatch.setattr("prodconf.plan.main_job.plan_production", lambda *_, **__: result)
    status, *_ = run("plan", "x.yml", "-o", tmp_path / "out")
    stream.flush()
    assert status == 0
    assert stream.buffer.getvalue().startswith(b"This takes 4.4\xb710")


# --- the studio -------------------------------------------------------------------------------------------------------
def test_studio_help_names_its_options(run):
    status, out, _ = run("studio", "--help")
    assert status == 0
    assert all(word in out for word in ("--address", "--port", "--folder", "--memory", "prodconf studio my_plan.yml"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--address", "nowhere"], "address must be an IP address"),
        (["--memory", "0.5"], "memory"),
        (["--port", "70000"], "port"),
        (["--port", "no"], "port"),
    ],
    ids=str,
)
def test_studio_refuses_in_one_line(run, pilot, monkeypatch, options, words):
    monkeypatch.setattr("prodconf.studies.server._require_voila", lambda: None)
    status, out, err = run("studio", pilot / "plan.yml", *options)
    assert status in (1, 2)
    assert words in err
    assert "Studio:" not in out
    assert "Traceback" not in err


def test_studio_without_voila_or_plan_says_so(run, pilot, monkeypatch, tmp_path):
    status, _, err = run("studio", tmp_path / "none.yml")
    assert status == 1
    assert "none.yml" in one_line(err)
    monkeypatch.setattr("prodconf.studies.server.find_spec", lambda name: None)
    status, _, err = run("studio", pilot / "plan.yml")
    assert status == 1
    assert "prodconf[app]" in one_line(err)


def test_studio_tells_where_it_is(run, pilot, monkeypatch, tmp_path):
    """Address, port and folder reach the server; without a plan the sample production is read."""
    from contextlib import contextmanager

    asked = {}

    @contextmanager
    def served(pilots, **how):
        asked.update(how, pilots=pilots)
        yield SimpleNamespace(url="http://127.0.0.1:9999/", process=SimpleNamespace(wait=lambda: 0))

    monkeypatch.setattr("prodconf.studies.server.serve_studio", served)
    status, out, _ = run("studio", pilot / "plan.yml", "--port", "9999", "--folder", tmp_path, "--memory", "1")
    assert (status, out) == (0, "Studio: http://127.0.0.1:9999/\n")
    assert (asked["address"], asked["port"], asked["folder"]) == ("127.0.0.1", 9999, tmp_path)
    assert len(asked["pilots"].trigger_names) == 1


# --- long lines and odd numbers ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "status", "start"),
    [
        (["inspect", "x" * 900], 1, "prodconf: "),
        (["inspect", *(["deep"] * 3), "y/" * 400 + "pilot.hdf5"], 1, "prodconf: "),
        (["sample", "a", "--seed", "9" * 900 + "x"], 2, "Usage"),
        (["no" * 400], 2, "Usage"),
    ],
)
def test_no_line_of_a_failure_is_longer_than_300(run, words, status, start):
    found, _, err = run(*words)
    assert found == status
    assert max(map(len, err.splitlines())) <= 300
    assert err.startswith(start)


def test_a_long_list_of_problems_keeps_its_lines_with_key_and_value(run, tmp_path):
    keys = [f"key_{number}_{'k' * 120}" for number in range(4)]
    plan = {"reduced_events": "a", "dl2_events": [], "metrics": "m", "loss_fraction": "v" * 900}
    (tmp_path / "plan.yml").write_text(yaml.safe_dump(plan | dict.fromkeys(keys, 1)))
    status, _, err = run("plan", tmp_path / "plan.yml", "-o", tmp_path / "made")
    assert status == 1
    assert max(map(len, err.splitlines())) <= 300
    assert all(any(f"unknown key {key}" in line for line in err.splitlines()) for key in keys)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("seed", ["1_3", "１３", "1 _3", "٣"])
def test_an_option_takes_plain_numbers_only(run, tmp_path, seed):
    status, _, err = run("sample", tmp_path / "a", "--seed", seed)
    assert status == 2
    assert "--seed" in err
    assert not (tmp_path / "a").exists()


def test_a_number_with_a_unit_is_plain_too(run, pilot):
    status, _, err = run(
        "statistics", pilot / "pilot.dl2.fits", "--metrics", pilot / "metrics.yml", "--offset-max", "1_0"
    )
    assert status in (1, 2)
    assert "1_0" in err
