"""Measure the ground that everything stands on: sampling, writing, reading, planning.

Usage: python benchmarks/bench_foundation.py [--rows 1000000] [--repeats 3]

Prints a Markdown table of medians (range in brackets). Ratios are the result; seconds depend on the machine.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from prodconf.events.reduced import iterate
from prodconf.formulas.loss_tails import TailSummary, tail_limit
from prodconf.plan.main_job import plan_production
from prodconf.toys.models import ArrayModel, simulate
from prodconf.toys.sample import SampleSize, write_pilot, write_sample


def timed(action: Callable[[], object], repeats: int) -> list[float]:
    """Return wall seconds of some runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - start)
    return seconds


def row(name: str, seconds: list[float], remark: str = "") -> str:
    """Write one line of the table."""
    middle = statistics.median(seconds)
    return f"| {name} | {middle:.2f} [{min(seconds):.2f}–{max(seconds):.2f}] | {remark} |"


def read_plain(path: Path) -> None:
    """Read the two tables with h5py, whole."""
    with h5py.File(path) as file:
        for name in ("SHOWERS", "TRIGGERS"):
            file[name][:]


def draw(rows: int) -> None:
    """Simulate without writing."""
    rng = np.random.default_rng(1)
    for _ in simulate(ArrayModel(), rng=rng, n_showers=rows // 10, n_uses=10):
        pass


def peak_of_reading(path: Path) -> float:
    """Return peak memory in MB of a fresh process that streams the file."""
    code = f"from prodconf.events.reduced import iterate\nfor c in iterate({str(path)!r}): pass\n"
    # VmHWM, not ru_maxrss: the latter starts at what the parent had when it forked
    code += "print(next(int(line.split()[1]) / 1024 for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def tails(n: int) -> None:
    """Summarise and limit one tail."""
    values = np.random.default_rng(2).exponential(size=n)
    tail_limit(TailSummary.from_values(values, "upper", capacity=5000), 1e-3)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="core uses in the file that is read")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print("| what | seconds, median [range] | remark |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        size = SampleSize((0.0,), (0.24,), n_runs=1, n_showers=options.rows // 10, n_uses=10)
        seconds = timed(lambda: draw(options.rows), options.repeats)
        print(row(f"simulate {options.rows:.0e} uses, array model", seconds))
        start = time.perf_counter()
        path, _ = write_pilot(Path(folder) / "pilot", ArrayModel(), seed=np.random.SeedSequence(3), size=size)
        print(row(f"simulate and write {options.rows:.0e} uses", [time.perf_counter() - start]))
        plain = timed(lambda: read_plain(path), options.repeats)
        ours = timed(lambda: [None for _ in iterate(path)], options.repeats)
        ratio = statistics.median(ours) / statistics.median(plain)
        print(row("read with h5py", plain))
        print(row("iterate", ours, f"{ratio:.2f} × h5py, peak {peak_of_reading(path):.0f} MB"))
        print(row("limit of a tail of 1e6 values", timed(lambda: tails(1_000_000), options.repeats)))
        sample = Path(folder) / "sample"
        made = timed(lambda: write_sample(sample, overwrite=True), 1)
        print(row("write the embedded sample production", made))
        planned = timed(lambda: plan_production(sample / "plan.yml", Path(folder) / "plan", overwrite=True), 1)
        print(row("plan it", planned, f"together {made[0] + planned[0]:.0f} s"))
    print(f"\nPeak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
