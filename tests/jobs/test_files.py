"""Job files: read back as CORSIKA, a shell and the schedulers read them; run, where a scheduler is installed."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import astropy.units as u
import numpy as np
import pytest
from astropy.table import QTable

from prodconf.core.errors import ProdconfError
from prodconf.jobs import files as job_files
from prodconf.jobs.corsika import CorsikaInput, input_block
from prodconf.jobs.cost import CostModel
from prodconf.jobs.files import (
    BatchSettings,
    CardSettings,
    htcondor_submit,
    input_card,
    job_script,
    run_seeds,
    slurm_script,
    slurm_submit,
    write_job_files,
)
from prodconf.jobs.runs import JobPoints, RunSettings, plan_jobs

POINTS = JobPoints(
    [20.0, 40.0, 60.0],
    [0.0, 163.0, 270.0],
    [0.03, 0.06, 0.2],
    300.0,
    [900.0, 1100.0, 1700.0],
    [8.0, 0.0, 5.0],
    ["dark", "nsb=0.24", "x:y@z+1"],
)
COST = CostModel(seconds_per_shower=1.0)
JOBS = plan_jobs(POINTS, RunSettings(5, first_run=40, cost=COST), n_events=[380, 820, 204], n_use=10)
COMMAND = 'grep -h NSHOW "{card}" > "out{run_number}.txt"'
CARDS = CardSettings("gamma", -5.3)
GOOD = {"cards": CARDS, "batch": BatchSettings(COMMAND)}
RECORD = CorsikaInput(1, 0.03, 300.0, -2.0, 20.0, 180.0, 0.0, 8.0, 900.0, 10, 5000, -5.3, 42)


@pytest.fixture
def written(tmp_path):
    """Write the job files of a small production."""
    batch = BatchSettings(f"{COMMAND}\necho {{job}} {{point}} {{label}}", tasks_per_array=4)
    return write_job_files(JOBS, POINTS, tmp_path / "jobs", cards=CARDS, batch=batch)


def keywords(text):
    """Read a card: keyword and numbers of each line; comments skipped."""
    lines = [line.split() for line in text.splitlines() if not line.startswith("*")]
    return [(line[0], [float(part) for part in line[1:]]) for line in lines]


def test_seeds_are_those_of_the_formula_and_within_range():
    for run in (1, 2, 999_999):
        for production in (0, 1, 223):
            numbers = [4 * (10**6 * production + run) + k for k in range(4)]
            seeds = run_seeds(run, production=production)
            assert seeds == tuple(1 + 556_230_569 * x % 899_999_963 for x in numbers)
            assert all(1 <= seed <= 900_000_000 for seed in seeds)


def test_no_seed_stands_twice_in_all_runs_of_three_productions():
    runs = np.arange(1, 1_000_000)
    every = np.concatenate([job_files._seeds(runs, production).ravel() for production in (0, 1, 223)])
    every.sort()
    assert np.all(np.diff(every) > 0)
    assert every[0] >= 1
    assert every[-1] <= 900_000_000


def test_the_modulus_is_prime():
    numbers = np.arange(2, 30_001)
    assert job_files._PRIME < 30_000**2
    assert np.all(job_files._PRIME % numbers)


@pytest.mark.parametrize(("run", "production"), [(0, 0), (10**6, 0), (1, 224), (1, -1), (1.5, 0), (np.nan, 0)])
def test_seeds_of_impossible_runs_are_refused(run, production):
    with pytest.raises(ProdconfError, match=r"run_number|production"):
        run_seeds(run, production=production)


def test_the_card_is_the_block_with_seeds_and_site():
    card = input_card(RECORD, production=3, site_lines="OBSLEV 2147E2\nTELFIL a{run_number}.zst\nEXIT\n")
    plain = [line for line in input_block(RECORD).splitlines() if "To be added" not in line]
    assert [line for line in card.splitlines() if line in plain] == plain
    others = [line for line in card.splitlines() if line not in plain]
    seeds = [f"SEED     {seed} 0 0" for seed in run_seeds(42, production=3)]
    assert others == [*seeds, "OBSLEV 2147E2", "TELFIL a42.zst", "EXIT"]
    names = [name for name, _ in keywords(input_card(RECORD))]
    assert names[:7] == ["RUNNR", "EVTNR", *["SEED"] * 4, "NSHOW"]


def test_a_card_without_the_site_does_not_run_and_says_why():
    card = input_card(RECORD)
    assert "EXIT" not in [name for name, _ in keywords(card)]
    assert "* To be added: site, telescopes, output, EXIT." in card
    assert "SEED (different" not in card


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("RUNNR 5", "site_lines must leave RUNNR to the plan"),
        ("  seed 1 0 0", "site_lines must leave SEED to the plan"),
        ("EXIT\nOBSLEV 1", "EXIT at their end only"),
        ("* größer", "plain characters"),
        ("OBSLEV 1\x07", "plain characters"),
        (["OBSLEV 1"], "site_lines must be a text"),
    ],
)
def test_lines_of_the_site_leave_the_plan_alone(lines, words):
    with pytest.raises(ProdconfError, match=words):
        input_card(RECORD, site_lines=lines)


def test_every_card_is_that_of_its_job(written):
    table = QTable.read(written.folder / "jobs.ecsv")
    assert written.n_jobs == len(table) == len(JOBS) == len(list((written.folder / "cards").iterdir()))
    for row, job in zip(table, JOBS, strict=True):
        point, run = int(job["point"]), int(job["run_number"])
        record = CorsikaInput(
            particle=1,
            energy_min=float(POINTS.energy_min[point]),
            energy_max=300.0,
            spectral_index=-2.0,
            zenith=float(POINTS.zenith[point]),
            azimuth=float(POINTS.azimuth[point]),
            viewcone_min=0.0,
            viewcone_max=float(POINTS.viewcone[point]),
            core_scatter_radius=float(POINTS.core_scatter_radius[point]),
            n_use=10,
            n_showers=5,
            declination=-5.3,
            run_number=run,
        )
        text = (written.folder / "cards" / f"run{run:06d}.inp").read_text()
        assert text == input_card(record, comments=[f"Point {point}: {POINTS.labels[point]}"])
        assert row["card"] == f"run{run:06d}.inp"
        assert tuple(row[f"seed_{k}"] for k in (1, 2, 3, 4)) == run_seeds(run)


def test_the_job_table_keeps_units_and_provenance(written):
    table = QTable.read(written.folder / "jobs.ecsv")
    assert table["energy_min"].unit == u.TeV
    assert table["core_scatter_radius"][-1] == 1700 * u.m
    assert table["viewcone"][0] == 8 * u.deg
    assert table["viewcone_min"][0] == 0 * u.deg
    assert table["cpu_hours"].unit == u.h
    assert table.meta["n_use"] == 10
    assert table.meta["particle"] == 1
    assert table.meta["provenance"]["program"] == "prodconf"
    again = plan_jobs(POINTS, RunSettings(5, first_run=40), n_events=[380, 820, 204], n_use=10)
    for name in again.colnames:
        assert table[name].tolist() == again[name].tolist()


def test_a_table_read_back_writes_the_same_cards(written, tmp_path):
    table = QTable.read(written.folder / "jobs.ecsv")
    other = write_job_files(table, POINTS, tmp_path / "again", cards=CardSettings(1, -5.3 * u.deg))
    assert other.submit == {}
    for card in (written.folder / "cards").iterdir():
        assert (other.folder / "cards" / card.name).read_text() == card.read_text()
    assert sorted(path.name for path in other.folder.iterdir()) == ["cards", "jobs.ecsv", "jobs.list", "logs"]


def test_the_shell_accepts_all_scripts(written):
    scripts = [*written.folder.glob("*.sh"), written.folder / "jobs.sbatch"]
    assert len(scripts) == 3
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
        assert os.access(script, os.X_OK) == (script.suffix == ".sh")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing(tmp_path):
    files = write_job_files(JOBS, POINTS, tmp_path / "jobs", cards=CARDS, batch=BatchSettings('run "{card}"'))
    scripts = [*files.folder.glob("*.sh"), files.folder / "jobs.sbatch"]
    found = subprocess.run(["shellcheck", "-e", "SC2034", *scripts], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_the_arrays_run_every_job_once(written):
    """A stand-in for sbatch runs each array's tasks one after the other."""
    stand_in = written.folder.parent / "bin"
    stand_in.mkdir()
    text = """#!/bin/bash
    range=${1#--array=0-}
    for ((i = 0; i <= range; i++)); do SLURM_ARRAY_TASK_ID=$i bash "${@:2}" >> done.txt; done
    """
    (stand_in / "sbatch").write_text(text)
    (stand_in / "sbatch").chmod(0o755)
    path = {"PATH": f"{stand_in}:/usr/bin:/bin"}
    subprocess.run([written.folder / "submit_slurm.sh"], check=True, env=path)
    lines = [f"{job['job']} {job['point']} {POINTS.labels[job['point']]}" for job in JOBS]
    assert (written.folder / "done.txt").read_text().splitlines() == lines
    assert len(list(written.folder.glob("out*.txt"))) == len(JOBS)


@pytest.mark.parametrize(("n_jobs", "tasks"), [(1, 1), (1000, 1000), (1001, 1000), (10, 3), (99_999, 1000)])
def test_arrays_cover_all_jobs_within_the_largest_index(n_jobs, tasks):
    batch = BatchSettings("run {card}", tasks_per_array=tasks)
    covered = []
    for line in slurm_submit(batch, n_jobs).splitlines()[3:]:
        last, _, first = line.removeprefix("sbatch --array=0-").split()
        assert int(last) < tasks
        covered += range(int(first), int(first) + int(last) + 1)
    assert covered == list(range(n_jobs))
    assert f"--array=0-{min(n_jobs, tasks) - 1}\n" in slurm_script(batch, n_jobs)


def test_requests_are_rounded_up_and_optional():
    batch = BatchSettings("run {card}", time_limit=61 * u.s, memory="1 GiB", name="a.b-c")
    assert (batch.time_limit, batch.memory) == (2, 1024)
    assert "allowed_job_duration = 120\n" in htcondor_submit(batch)
    assert "request_memory = 1024\n" in htcondor_submit(batch)
    script = slurm_script(batch, 5)
    assert "#SBATCH --time=2\n" in script
    assert "#SBATCH --mem=1024M\n" in script
    plain = BatchSettings("run {card}")
    bare = htcondor_submit(plain) + slurm_script(plain, 5)
    assert not any(word in bare for word in ("memory", "duration", "--mem", "--time"))
    assert BatchSettings("run {card}", time_limit=0.1 * u.day).time_limit == 144


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a b"}, "name must be one plain word"),
        ({"name": "a\nqueue"}, "name must be one plain word"),
        ({"time_limit": 5}, "time_limit: needs a unit"),
        ({"time_limit": "5 m"}, "time_limit: must have a unit convertible to min"),
        ({"memory": "-1 GB"}, "memory must be positive"),
        ({"tasks_per_array": 1.5}, "tasks_per_array must be a whole number"),
        ({"schedulers": "pbs"}, "scheduler must be one of htcondor, slurm, got 'pbs'"),
        ({"command": "run"}, "command must name"),
    ],
)
def test_wrong_requests_are_told_in_a_sentence(change, words):
    with pytest.raises(ProdconfError, match=words):
        BatchSettings(**{"command": "run {card}"} | change)


def test_names_in_the_command_become_variables():
    script = job_script("a {card} ${HOME} {run_number}; { b; }\nc '{job}'")
    assert script.endswith("a ${card} ${HOME} ${run_number}; { b; }\nc '${job}'\n")


@pytest.mark.parametrize("command", [None, "", "  \n", "run all", "run {cards}", "run {card} {nsb}", "a\0{card}"])
def test_commands_that_cannot_be_meant_are_refused(command):
    with pytest.raises(ProdconfError, match="command"):
        job_script(command)


SLICES = JobPoints(
    [20.0, 20.0, 20.0, 52.0], 180.0, [0.02, 0.3, 5.0, 0.1], [0.3, 5.0, 300.0, 330.0], [600.0, 1100.0, 1700.0, 1500.0],
    [4.0, 6.0, 8.0, 0.0],
)  # fmt: skip
OWN = {"n_use": [5, 10, 20, 1], "spectral_index": [-2.2, -1.8, -1.25, 0.0]}
SLICED = plan_jobs(SLICES, RunSettings(20), n_events=[500, 400, 90, 7], **OWN)


def write_slices(jobs, folder):
    """Write the cards of slices of energy, without scripts."""
    return write_job_files(jobs, SLICES, folder, cards=CARDS)


def test_cards_of_slices_hold_their_own_range_spectrum_disc_and_cone(tmp_path):
    made = write_slices(SLICED, tmp_path / "jobs")
    table = QTable.read(made.folder / "jobs.ecsv")
    assert not {"n_use", "spectral_index"} & set(table.meta)
    for row, job in zip(table, SLICED, strict=True):
        point = int(job["point"])
        card = dict(keywords((made.folder / "cards" / row["card"]).read_text()))
        low, high = SLICES.energy_min[point], SLICES.energy_max[point]
        assert card["ERANGE"] == pytest.approx([1000 * low, 1000 * high])
        assert card["ESLOPE"] == [OWN["spectral_index"][point]]
        assert card["CSCAT"][:2] == [OWN["n_use"][point], 100 * SLICES.core_scatter_radius[point]]
        assert card["VIEWCONE"] == [0.0, SLICES.viewcone[point]]
        assert card["THETAP"] == [SLICES.zenith[point]] * 2
        assert card["PHIP"] == [card["PHIP"][0]] * 2 == dict(keywords(first_card(made)))["PHIP"]
        assert card["NSHOW"] == [job["n_showers"]]
        assert (row["n_use"], row["spectral_index"]) == (OWN["n_use"][point], OWN["spectral_index"][point])
        assert row["n_events"] == job["n_showers"] * OWN["n_use"][point]
        assert row["energy_max"] == high * u.TeV


def first_card(made):
    """Return the text of the first card."""
    return sorted((made.folder / "cards").iterdir())[0].read_text()


def test_slices_read_back_write_the_same_cards(tmp_path):
    made = write_slices(SLICED, tmp_path / "jobs")
    again = write_slices(QTable.read(made.folder / "jobs.ecsv"), tmp_path / "again")
    for card in (made.folder / "cards").iterdir():
        assert (again.folder / "cards" / card.name).read_text() == card.read_text()


def test_columns_are_preferred_to_metadata(tmp_path):
    jobs = SLICED.copy()
    jobs.meta.update(n_use=7, spectral_index=-3.0)
    plain, other = write_slices(SLICED, tmp_path / "jobs"), write_slices(jobs, tmp_path / "other")
    assert first_card(plain) == first_card(other)
    assert not {"n_use", "spectral_index"} & set(QTable.read(other.folder / "jobs.ecsv").meta)


def test_jobs_of_one_point_may_differ_in_uses_and_spectrum(tmp_path):
    jobs = SLICED[:2].copy()
    jobs["n_use"], jobs["spectral_index"] = [2, 3], [-2.0, -2.5]
    jobs["n_events"] = jobs["n_showers"] * jobs["n_use"]
    made = write_slices(jobs, tmp_path / "jobs")
    cards = [dict(keywords(path.read_text())) for path in sorted((made.folder / "cards").iterdir())]
    assert [(card["CSCAT"][0], card["ESLOPE"][0]) for card in cards] == [(2.0, -2.0), (3.0, -2.5)]


def sliced_with(name, row, value):
    """Return the jobs of the slices with one value changed, the column as float where it has to be."""
    jobs = SLICED.copy()
    if name == "n_use":
        jobs[name] = jobs[name].astype(float)
    jobs[name][row] = value
    return jobs


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        (
            sliced_with("n_events", 2, 99),
            "n_events must be n_showers times the 5 uses .* got 99 of 20 showers in row 2",
        ),
        (sliced_with("n_use", 5, 11), "n_events must be n_showers times the 11 uses of a shower, .* in row 5"),
        (sliced_with("n_use", 5, 21), "n_use must be a whole number from 1 to 20, got 21"),
        (sliced_with("n_use", 5, 2.5), "n_use must be a whole number from 1 to 20, got 2.5"),
        (sliced_with("n_use", 5, np.nan), "jobs: n_use must be finite"),
        (sliced_with("spectral_index", 5, np.nan), "jobs: spectral_index must be finite"),
        (sliced_with("spectral_index", 5, 1.0), r"spectral_index must lie in \[-20, 0\]"),
        (QTable(SLICED, masked=True, copy=True), "runs"),
    ],
)
def test_slices_that_do_not_fit_are_refused(jobs, words, tmp_path):
    if words == "runs":
        jobs["n_use"].mask[3] = True
        words = "n_use must be one number in every row"
    with pytest.raises(ProdconfError, match=words):
        write_slices(jobs, tmp_path / "jobs")
    assert list(tmp_path.iterdir()) == []


def changed(name, value):
    """Return the jobs with one value of a column changed."""
    jobs = JOBS.copy()
    jobs[name][1] = value
    return jobs


@pytest.mark.parametrize(
    ("jobs", "words"),
    [
        (changed("run_number", 40), "run_number must differ from job to job, got 40 twice"),
        (changed("run_number", 10**6), "run_number must lie in 1 to 999999"),
        (changed("point", 3), "point must lie in 0 to 2"),
        (changed("point", -1), "point must lie in 0 to 2"),
        (changed("n_events", 7), "n_events must be n_showers times the 10 uses"),
        (changed("n_showers", 0), "n_events must be n_showers times"),
        (changed("first_event", 0), "first_event must be a whole number"),
        (JOBS["job", "point"], "jobs must have the column run_number"),
        (JOBS[:0], "jobs must be 1 to 100000"),
        (QTable(JOBS.columns), "metadata must hold n_use"),
        ([1, 2], "jobs must have the column job"),
        (
            QTable({name: np.zeros(100_001, int) for name in JOBS.colnames}),
            "got 100001; make longer runs or write parts",
        ),
        (QTable({name: JOBS[name] * 1.0 for name in JOBS.colnames}), "job must be whole numbers"),
    ],
)
def test_jobs_that_do_not_fit_are_refused(jobs, words, tmp_path):
    with pytest.raises(ProdconfError, match=words):
        write_job_files(jobs, POINTS, tmp_path / "jobs", **GOOD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"particle": "photon"}, "particle must be one of"),
        ({"declination": np.nan}, "declination must be finite"),
        ({"declination": 1 * u.m}, "declination must be one number in deg"),
        ({"production": 224}, "production must be a whole number from 0 to 223"),
        ({"site_lines": "NSHOW 5"}, "site_lines must leave NSHOW"),
    ],
)
def test_wrong_cards_are_told_in_a_sentence(change, words):
    with pytest.raises(ProdconfError, match=words):
        CardSettings(**{"particle": "gamma", "declination": -5.3} | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cards": CardSettings(1, 200)}, r"declination must lie in \[-180, 180\]"),
        ({"cards": {"particle": 1}}, "cards must be CardSettings, got dict"),
        ({"batch": "slurm"}, "batch must be BatchSettings, got str"),
    ],
)
def test_bad_input_leaves_no_folder(change, words, tmp_path):
    with pytest.raises(ProdconfError, match=words):
        write_job_files(JOBS, POINTS, tmp_path / "jobs", **GOOD | change)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [False, True])
def test_a_failure_on_the_way_changes_nothing(before, tmp_path, monkeypatch):
    if before:
        write_job_files(JOBS[:3], POINTS, tmp_path / "jobs", **GOOD)
    found = sorted(path for path in tmp_path.rglob("*"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job_files, "_write_list", full)
    with pytest.raises(ProdconfError, match=r"cannot be written \(No space left on device"):
        write_job_files(JOBS, POINTS, tmp_path / "jobs", **GOOD, overwrite=True)
    assert sorted(path for path in tmp_path.rglob("*")) == found


def test_a_folder_of_job_files_is_replaced_only_when_asked(tmp_path):
    write_job_files(JOBS, POINTS, tmp_path / "jobs", **GOOD)
    with pytest.raises(ProdconfError, match="is not empty, and overwriting was not asked for"):
        write_job_files(JOBS[:3], POINTS, tmp_path / "jobs", **GOOD)
    write_job_files(
        JOBS[:3], POINTS, tmp_path / "jobs", cards=CARDS, batch=BatchSettings(COMMAND, "slurm"), overwrite=True
    )
    assert len(list((tmp_path / "jobs" / "cards").iterdir())) == 3
    assert not (tmp_path / "jobs" / "jobs.sub").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["jobs"]


@pytest.mark.parametrize("name", ["logs/jobs.log", "cards/notes.txt", "DAT000040", "jobs.sub"])
def test_results_are_never_replaced(name, tmp_path):
    files = write_job_files(JOBS, POINTS, tmp_path / "jobs", cards=CARDS, batch=BatchSettings(COMMAND, "slurm"))
    target = files.folder / name
    target.mkdir() if name == "jobs.sub" else target.touch()
    with pytest.raises(ProdconfError, match=f"is not replaced, because it holds {name}"):
        write_job_files(JOBS[:3], POINTS, tmp_path / "jobs", **GOOD, overwrite=True)
    assert len(list((files.folder / "cards").glob("run*"))) == len(JOBS)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "jobs").mkdir()
    assert write_job_files(JOBS, POINTS, tmp_path / "jobs", **GOOD).n_jobs == len(JOBS)
    assert [path.name for path in tmp_path.iterdir()] == ["jobs"]


HTCONDOR = """
import json, sys
try:
    import htcondor
except ImportError:
    sys.exit(77)
submit = htcondor.Submit(open("jobs.sub").read())
names = ("Cmd", "Iwd", "Arguments", "TransferInput", "Out", "Err", "JobUniverse", "RequestMemory",
         "AllowedJobDuration", "ShouldTransferFiles", "JobBatchName")
print(json.dumps([{name: ad.get(name) for name in names} for ad in submit.jobs(itemdata=submit.itemdata())]))
"""


def test_htcondor_makes_every_job_and_each_runs_with_what_it_is_sent(tmp_path):
    batch = BatchSettings(COMMAND, name="g20", time_limit="2 h", memory="1 GiB")
    files = write_job_files(JOBS, POINTS, tmp_path / "jobs", cards=CARDS, batch=batch)
    environment = {**os.environ, "CONDOR_CONFIG": "ONLY_ENV"}
    made = subprocess.run(
        [sys.executable, "-c", HTCONDOR], cwd=files.folder, env=environment, capture_output=True, text=True, check=False
    )
    if made.returncode == 77:
        pytest.skip("HTCondor's Python bindings (htcondor < 25) are not installed")
    assert made.returncode == 0, made.stderr
    ads = json.loads(made.stdout)
    assert len(ads) == len(JOBS)
    for ad, job in zip(ads, JOBS, strict=True):
        run = int(job["run_number"])
        assert ad["TransferInput"] == f"cards/run{run:06d}.inp"
        assert (ad["Out"], ad["Err"]) == (f"logs/run{run}.out", f"logs/run{run}.err")
        assert (ad["JobUniverse"], ad["RequestMemory"], ad["AllowedJobDuration"]) == (5, 1024, 7200)
        assert (ad["ShouldTransferFiles"], ad["JobBatchName"]) == ("YES", "g20")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for ad in ads[::4]:
        for sent in (Path(ad["Cmd"]), Path(ad["Iwd"]) / ad["TransferInput"]):
            shutil.copy(sent, scratch)
        subprocess.run([scratch / "run_job.sh", *ad["Arguments"].split()], cwd=scratch, check=True)
    assert {path.read_text() for path in scratch.glob("out*.txt")} == {"NSHOW    5\n"}
    assert len(list(scratch.glob("out*.txt"))) == len(ads[::4])


@pytest.mark.skipif(shutil.which("condor_submit") is None, reason="condor_submit is not installed")
def test_condor_submit_accepts_the_submit_file(written):
    subprocess.run(["condor_submit", "-dry-run", "-", "jobs.sub"], cwd=written.folder, check=True, capture_output=True)


SLURM = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={port}
SlurmdPort={other}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=1 RealMemory=500 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def free_ports():
    """Return two ports nobody listens on."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@pytest.fixture
def slurm(tmp_path):
    """Start a Slurm of one node for this test alone; give the environment of its commands."""
    if missing := [name for name in ("slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]:
        pytest.skip(f"{missing[0]} is not installed")
    place, (port, other) = tmp_path / "slurm", free_ports()
    for folder in (place, place / "state", place / "spool"):
        folder.mkdir()
    values = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser(), "place": place}
    (place / "slurm.conf").write_text(SLURM.format(**values, port=port, other=other))
    environment = {**os.environ, "SLURM_CONF": str(place / "slurm.conf")}
    commands = (["slurmctld", "-D", "-c"], ["slurmd", "-D", "-N", values["host"]])
    started = []
    try:
        for command in commands:
            with (place / f"{command[0]}.out").open("w") as out:
                started.append(subprocess.Popen(command, env=environment, cwd=place, stdout=out, stderr=out))
        for _ in range(50):
            time.sleep(0.2)
            seen = subprocess.run(["sinfo", "-h", "-o", "%t"], env=environment, capture_output=True, check=False)
            if seen.stdout.strip() == b"idle":
                break
        else:
            pytest.skip("a Slurm of one node does not come up here")
        yield environment
    finally:
        for daemon in started[::-1]:
            daemon.terminate()
            daemon.wait(10)


def test_slurm_takes_the_arrays_and_runs_every_job(slurm, tmp_path):
    jobs = JOBS[::12].copy()
    batch = BatchSettings(COMMAND, name="g20", time_limit="2 h", memory="100 MB", tasks_per_array=2)
    files = write_job_files(jobs, POINTS, tmp_path / "jobs", cards=CARDS, batch=batch)
    common = {"env": slurm, "capture_output": True, "text": True, "check": True}
    tested = subprocess.run(["sbatch", "--test-only", "jobs.sbatch"], cwd=files.folder, **common)
    assert "to start at" in tested.stderr
    for last, taken in ((1000, True), (1001, False)):  # MaxArraySize is 1001 unless the site raised it
        asked = ["sbatch", "--test-only", f"--array=0-{last}", "jobs.sbatch"]
        assert (subprocess.run(asked, cwd=files.folder, **common | {"check": False}).returncode == 0) == taken
    submitted = subprocess.run([files.folder / "submit_slurm.sh"], **common)
    assert submitted.stdout.count("Submitted batch job") == -(-len(jobs) // 2) > 1
    for _ in range(75):
        time.sleep(0.2)
        if not subprocess.run(["squeue", "-h"], **common).stdout.strip():
            break
    found = {path.name: path.read_text() for path in files.folder.glob("out*.txt")}
    assert found == {f"out{run}.txt": "NSHOW    5\n" for run in jobs["run_number"]}
    assert len(list((files.folder / "logs").iterdir())) == len(jobs)
