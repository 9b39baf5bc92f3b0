"""Measure statistics from event lists side by side with gammasimtools 0.16.0, and interpolation between pilots.

Usage: python benchmarks/bench_statistics.py [--predecessor PYTHON] [--sizes 10000 100000 1000000 10000000]
       [--pairs 3] [--output benchmarks/results/statistics.ecsv]

One job: load a DL2 file, evaluate all metrics, the energy threshold and the required events. Each run is a fresh
process; the two programs alternate. `--predecessor` is the interpreter of an environment that holds
gammasimtools==0.16.0; without it one is made in a temporary folder ("none" leaves it out). Ratios of medians are the
result; seconds depend on the machine. Relative errors of bins with events are checked to agree in the same run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
import warnings
from pathlib import Path

import numpy as np
from astropy.table import Table

from prodconf.calculate_statistical_errors_grid_point import StatisticalErrorEvaluator
from prodconf.core.errors import ProdconfWarning
from prodconf.events.dl2 import DL2Header, write_dl2
from prodconf.interpolation_handler import InterpolationHandler

METRICS = {
    "uncertainty_effective_area": {
        "target_error": {"value": 0.02},
        "energy_range": {"value": [0.1, 10.0], "unit": "TeV"},
    },
    "energy_estimate": {"target_error": {"value": 0.05}, "energy_range": {"value": [0.1, 10.0], "unit": "TeV"}},
}
N_PILOT = 2000
EDGES = 10 ** np.arange(-3.5, 2.55, 0.1)  # 60 bins of 0.1 dex, as in Eventdisplay's files

JOB = """
import json, sys, time, warnings
def peak():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
begin = time.perf_counter()
warnings.simplefilter("ignore")
from {package}.calculate_statistical_errors_grid_point import StatisticalErrorEvaluator
from {package}.derive_production_statistics import ProductionStatisticsDerivator
path, metrics = sys.argv[1], json.loads(sys.argv[2])
empty, start = peak(), time.perf_counter()
evaluator = StatisticalErrorEvaluator(path, metrics, None)
evaluator.calculate_metrics()
evaluator.calculate_energy_threshold()
total = ProductionStatisticsDerivator(evaluator, metrics).derive_statistics(return_sum=True)
end = time.perf_counter()
errors = evaluator.metric_results["uncertainty_effective_area"]["relative_errors"]
values = [float(x) for x in getattr(errors, "value", errors)]
print(json.dumps(dict(job=end - start, imports=start - begin, memory=peak() - empty, peak=peak(), errors=values)))
"""


def make_events(path: Path, n: int) -> None:
    """Write events like those of the real files: 1.3 uses pass per shower, 50 events to a run, median 0.1 TeV."""
    rng = np.random.default_rng(n)
    passes = np.minimum(rng.geometric(0.76, n), 20)
    passes = passes[: np.searchsorted(np.cumsum(passes), n) + 1]
    energy = 0.03 * (1 - rng.random(passes.size)) ** (-1 / 0.75)
    n_runs = max(1, n // 50)
    run = np.repeat(np.sort(rng.integers(1, n_runs + 1, passes.size)), passes)[:n]
    true = np.repeat(np.minimum(energy, 99.0 * rng.uniform(0.5, 1, passes.size)), passes)[:n]
    offset = 10 * np.sqrt(rng.random(n))
    n_simulated = 1e3 * n * (1 / EDGES[:-1] - 1 / EDGES[1:])
    n_showers = round(n_simulated.sum() / (20 * n_runs))
    header = DL2Header(n_showers, 20, 1900.0, 10.0, EDGES[0], EDGES[-1], -2.0, zenith=20.0, azimuth=180.0)
    write_dl2(
        path,
        header,
        energy_edges=EDGES,
        n_simulated=n_simulated,
        run=run,
        energy_true=true,
        energy_reco=true * rng.lognormal(0.0, 0.15, n),
        azimuth_true=np.full(n, 180.0),
        altitude_true=70 - offset,
        azimuth_reco=np.full(n, 180.0),
        altitude_reco=70 - offset + rng.normal(0, 0.1, n),
    )


def run(python: str, package: str, path: Path) -> dict:
    """Do the job in a fresh process."""
    start = time.perf_counter()
    command = [python, "-c", JOB.format(package=package), str(path), json.dumps(METRICS)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    done.check_returncode()  # what it said is on stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return found | {"whole": time.perf_counter() - start}


def require_agreement(ours: dict, theirs: dict) -> None:
    """Check the relative errors of bins with events (the predecessor has zero in bins without)."""
    one, other = np.array(ours["errors"]), np.array(theirs["errors"])
    some = other > 0
    np.testing.assert_allclose(one[some], other[some], rtol=1e-6)


def measure(size: int, path: Path, python: str | None, pairs: int) -> dict:
    """Compare the two programs on one file."""
    run(sys.executable, "prodconf", path)  # warm the page cache
    ours, theirs = [], []
    for _ in range(pairs):
        ours.append(run(sys.executable, "prodconf", path))
        if python is not None:
            theirs.append(run(python, "simtools.production_configuration", path))
            require_agreement(ours[-1], theirs[-1])
    row = {"events": size}
    for name, runs in (("prodconf", ours), ("gammasimtools 0.16.0", theirs)):
        for key in ("job", "whole", "memory", "peak"):
            row[f"{name}, {key}"] = statistics.median(one[key] for one in runs) if runs else np.nan
    for key in ("job", "whole"):
        row[f"ratio, {key}"] = row[f"gammasimtools 0.16.0, {key}"] / row[f"prodconf, {key}"]
    return row


def interpolation(folder: Path, *, evaluators: int = 1000, queries: int = 100_000) -> dict:
    """Time queries between many pilots: a lattice of zenith, azimuth and night-sky background."""
    shape = (evaluators // 50, 10, 5)
    zenith, azimuth, nsb = (
        x.ravel()
        for x in np.meshgrid(
            np.linspace(0, 60, shape[0]), np.arange(10) * 36.0, 0.2 * 1.5 ** np.arange(5), indexing="ij"
        )
    )
    rng, made = np.random.default_rng(7), []
    for i, place in enumerate(zip(zenith, azimuth, nsb, strict=True)):
        path = folder / f"pilot_{i}.fits"
        write_pilot(path, rng, *place)
        grid_point = (1.0, place[1], place[0], place[2], 0.0)
        made.append(StatisticalErrorEvaluator(str(path), METRICS, grid_point, simulated_fraction="runs"))
        assert made[-1].counts.n_events == N_PILOT
    start = time.perf_counter()
    handler = InterpolationHandler(made, METRICS)
    ready = time.perf_counter()
    query = np.column_stack(
        [
            10 ** rng.uniform(-0.8, 0.9, queries),
            rng.uniform(0, 360, queries),
            rng.uniform(0, 60, queries),
            rng.uniform(nsb.min(), nsb.max(), queries),
            np.zeros(queries),
        ]
    )
    values = handler.interpolate(query)
    end = time.perf_counter()
    assert np.isfinite(values).all()
    return {"evaluators": len(made), "queries": queries, "construction": ready - start, "interpolate": end - ready}


def write_pilot(path: Path, rng: np.random.Generator, zenith: float, azimuth: float, nsb: float) -> None:
    """Write a small pilot whose threshold depends on the place."""
    n = N_PILOT
    threshold = 0.02 / np.cos(np.deg2rad(zenith)) ** 2.5 * nsb**0.2
    energy = np.clip(threshold * (1 - rng.random(n)) ** -0.8, EDGES[0], 99.0)
    header = DL2Header(20_000, 1, 1900.0, 10.0, EDGES[0], EDGES[-1], -2.0, zenith=zenith, azimuth=azimuth)
    offset = np.minimum(10 * np.sqrt(rng.random(n)), 89.0 - zenith)
    write_dl2(
        path,
        header,
        energy_edges=EDGES,
        n_simulated=1e6 * (1 / EDGES[:-1] - 1 / EDGES[1:]),
        run=np.arange(n) // 50,
        energy_true=energy,
        energy_reco=energy * rng.lognormal(0.0, 0.15, n),
        azimuth_true=np.full(n, azimuth),
        altitude_true=90 - zenith - offset,
        azimuth_reco=np.full(n, azimuth),
        altitude_reco=90 - zenith - offset,
    )


def environment(folder: Path) -> str:
    """Make an environment that holds the predecessor."""
    venv.create(folder / "predecessor", with_pip=True)
    python = folder / "predecessor" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "gammasimtools==0.16.0"], check=True)
    return str(python)


def show(rows: list[dict], pilots: dict) -> None:
    """Print what was measured."""
    print("| events | prodconf, s | gammasimtools 0.16.0, s | ratio | whole process, ratio | memory added, MB |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['events']:.0e} | {row['prodconf, job']:.3f} | {row['gammasimtools 0.16.0, job']:.3f} "
            f"| {row['ratio, job']:.1f} | {row['ratio, whole']:.1f} "
            f"| {row['prodconf, memory']:.0f} against {row['gammasimtools 0.16.0, memory']:.0f} |"
        )
    print(
        f"\n{pilots['queries']} queries between {pilots['evaluators']} pilots: {pilots['interpolate']:.2f} s "
        f"(the handler is made in {pilots['construction']:.2f} s)"
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predecessor", help='interpreter with gammasimtools==0.16.0, or "none"')
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**4, 10**5, 10**6, 10**7])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--evaluators", type=int, default=1000)
    parser.add_argument("--output", type=Path, help="ECSV file for the table")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ProdconfWarning)  # small pilots do not determine every bin
    with tempfile.TemporaryDirectory() as folder:
        python = options.predecessor or environment(Path(folder))
        rows = []
        for size in options.sizes:
            path = Path(folder) / f"events_{size}.fits"
            make_events(path, size)
            pairs = options.pairs * (3 if size <= 10**5 and options.pairs > 1 else 1)  # short jobs scatter more
            rows.append(measure(size, path, None if python == "none" else python, pairs))
            path.unlink()
        pilots = interpolation(Path(folder), evaluators=options.evaluators)
    show(rows, pilots)
    if options.output is not None:
        table = Table(rows, meta={"interpolation": pilots, "pairs": options.pairs, "python": sys.version.split()[0]})
        table.write(options.output, overwrite=True)


if __name__ == "__main__":
    main()
