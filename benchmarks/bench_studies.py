"""Measure how long the what-if studies take to answer, with and without their figure, and what their pilots weigh.

Usage: python benchmarks/bench_studies.py [--sizes 100000 1000000 10000000] [--answers 60] [--memory 256]
       [--output benchmarks/results/studies.ecsv]

The pilots are those of the embedded sample (six pointings, two sub-arrays, ten sets of tails each), but their triggers
are drawn: every set gets as many events as `--sizes` says (fewer for higher multiplicities), pushed through
`EventTails` in blocks at the capacity that `read_pilots` would choose for such files within `--memory` MB. The six
pointings hold copies of one draw each. Nothing is read from files afterwards, as in the studies. Every answer has
other settings than the one before, so that no plan is remembered; "follow" is one that needs a new plan of all
pilots, "figure" adds the SVG that the panel shows. Times are those of one process, CPU and wall.
"""

import argparse
import os
import pickle
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml
from astropy.table import Table

from prodconf.core.drawing import to_svg
from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.limits.pilots import FileSummary, LimitRequest
from prodconf.limits.tails import EventTails
from prodconf.plan.main_job import plan_sub_arrays
from prodconf.studies.grid import grid_study
from prodconf.studies.limits import limits_study
from prodconf.studies.pilots import StudyPilots, largest_loss, multiplicities, place_name, read_pilots, trigger_tails
from prodconf.studies.settings import StudySettings
from prodconf.studies.statistics import statistics_study
from prodconf.toys.sample import write_sample

BLOCK = 1 << 18
LOSS = 1e-3


def events(rng: np.random.Generator, n: int) -> Iterator[dict[str, np.ndarray]]:
    """Draw triggers block by block: 1.3 of each shower, a threshold in energy, falling edges of disc and cone."""
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        yield {
            "energy": np.clip(0.03 * rng.lognormal(0, 0.6, size) * (1 - rng.random(size)) ** -0.8, 0.004, 330.0),
            "radius": np.minimum(1600.0, 130.0 * rng.gamma(2.0, 1.0, size)),
            "viewcone": np.minimum(8.5, 4.5 * np.sqrt(rng.random(size)) * rng.lognormal(0, 0.15, size)),
            "shower": start + (np.arange(size) / 1.3).astype(np.int64),
        }


def summaries(pilots: StudyPilots, n: int, capacity: int) -> dict[str, tuple[Any, FileSummary]]:
    """Sum up drawn events for every sub-array and multiplicity; label to sub-array and summary."""
    rng, found = np.random.default_rng(n), {}
    for one in plan_sub_arrays(pilots.configuration):
        for m in multiplicities(one):
            tails, size = EventTails(capacity=capacity), max(int(n * 0.85 ** (m - 1)), 1000)
            for block in events(rng, size):
                tails.add(block["energy"], block["radius"], block["viewcone"], shower=block["shower"])
            summary = FileSummary({"label": tails}, telescopes=("LSTN-01",), n_simulated=50 * n, n_triggered=n)
            found[f"{one.name}, {m}"] = replace(one, telescopes=None, multiplicity=m), summary
    return found


def drawn_pilots(pilots: StudyPilots, n: int, memory: float) -> StudyPilots:
    """Give pilots the triggers of a large production."""
    groups = [SimpleNamespace(n_triggers=n) for _ in pilots.inputs.groups]
    n_tails = sum(len(multiplicities(one)) for one in plan_sub_arrays(pilots.configuration))
    loss = largest_loss(groups, n_tails, loss_fraction=LOSS, memory=memory)
    made, triggers = summaries(pilots, n, LimitRequest(loss_fraction=loss).capacity(n)), {}
    for group in pilots.inputs.groups:
        name = place_name(group.point.zenith, group.point.azimuth, group.point.nsb_level)
        for one, summary in made.values():
            own = pickle.loads(pickle.dumps(summary))  # arrays of its own
            kept = trigger_tails(group, own, one, "label", pilots.configuration)
            triggers[name, one.name, one.multiplicity] = kept
    return replace(pilots, triggers=triggers, largest_loss=loss, plans={})


def megabytes(pilots: StudyPilots) -> float:
    """Return what all arrays of the triggers take, MB."""
    total = 0
    for one in pilots.triggers.values():
        total += sum(column.nbytes for column in one.rows)
        for tail in one.record.tails.values():
            total += sum(column.nbytes for column in (tail.values, tail.weights, tail.labels))
    return total / 1e6


def questions(pilots: StudyPilots, rng: np.random.Generator) -> dict[str, Callable[[], Any]]:
    """Return what asks each study for something that was not asked before."""

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    def limits_asked():
        sub_array, most = [("full array", 6), ("large telescopes", 4)][rng.integers(2)]
        return {
            "pilot": str(rng.choice(pilots.trigger_names)),
            "sub_array": sub_array,
            "multiplicity": int(rng.integers(1, most + 1)),
            "loss_fraction": between(1e-4, pilots.largest_loss),
            "confidence": float(rng.uniform(0.5, 0.999)),
        }

    def statistics_asked():
        return {
            "pilot": str(rng.choice(pilots.event_names)),
            "target": between(0.01, 0.2),
            "energy_range": (between(0.01, 0.1), between(5, 300)),
            "spectral_index": float(rng.uniform(1.5, 3)),
            "radius": float(rng.uniform(300, 2000)),
            "viewcone": float(rng.uniform(1, 10)),
            "n_use": int(rng.integers(1, 30)),
        }

    def changed_plan():
        return {name: value for name, value in limits_asked().items() if name != "pilot"}

    window = {"zenith": (20.5, 59.5)}
    return {
        "limits": lambda: limits_study(pilots, StudySettings(**limits_asked())),
        "statistics": lambda: statistics_study(pilots, StudySettings(**statistics_asked())),
        "statistics, follow": lambda: statistics_study(pilots, StudySettings(**statistics_asked(), **changed_plan())),
        "grid": lambda: grid_study(pilots, StudySettings(**window, density=between(1e-3, 0.02))),
        "grid, follow": lambda: grid_study(
            pilots, StudySettings(**window, target=between(0.01, 0.2), **changed_plan())
        ),
        "grid, 5000 pointings": lambda: grid_study(pilots, StudySettings(**window, density=between(0.5, 0.65))),
    }


def timed(ask: Callable[[], Any], n_answers: int, *, figure: bool) -> dict[str, float]:
    """Return median and worst CPU and wall time of an answer, ms."""
    cpu, wall = [], []
    while len(cpu) < n_answers:
        start = time.process_time(), time.perf_counter()
        try:
            study = ask()
            if figure:
                to_svg(study.figure, study.description)
        except ProdconfError as error:
            raise SystemExit(f"no answer: {error}") from error
        cpu.append(1e3 * (time.process_time() - start[0]))
        wall.append(1e3 * (time.perf_counter() - start[1]))
    return {
        "cpu": float(np.median(cpu)),
        "cpu, worst": max(cpu),
        "wall": float(np.median(wall)),
        "wall, worst": max(wall),
    }


def measure(pilots: StudyPilots, n: int, n_answers: int) -> list[dict[str, Any]]:
    """Time all studies on pilots of one size."""
    rows: list[dict[str, Any]] = []
    for name, ask in questions(pilots, np.random.default_rng(3)).items():
        timed(ask, 3, figure=True)  # imports, and design effects that are worked out once
        for figure in (False, True):
            row = {"triggers": n, "study": name, "figure": figure, **timed(ask, n_answers, figure=figure)}
            rows.append(row | {"tails": megabytes(pilots), "largest_loss": pilots.largest_loss})
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print what was measured."""
    print("| triggers per pilot | study | answer, ms of CPU (worst) | with figure (worst) | wall (worst) | tails, MB |")
    print("|---|---|---|---|---|---|")
    for one, drawn in zip(rows[::2], rows[1::2], strict=True):
        print(
            f"| {one['triggers']:.0e} | {one['study']} | {one['cpu']:.1f} ({one['cpu, worst']:.0f}) "
            f"| {drawn['cpu']:.1f} ({drawn['cpu, worst']:.0f}) | {drawn['wall']:.1f} ({drawn['wall, worst']:.0f}) "
            f"| {one['tails']:.0f} |"
        )


def sample_pilots(folder: Path) -> StudyPilots:
    """Write and read the embedded sample, planned for a loss of 1e-3."""
    sample = write_sample(folder / "sample")
    plan = yaml.safe_load(sample.configuration.read_text(encoding="utf-8")) | {"loss_fraction": LOSS}
    sample.configuration.write_text(yaml.safe_dump(plan), encoding="utf-8")
    return read_pilots(sample.configuration)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--answers", type=int, default=60)
    parser.add_argument("--memory", type=float, default=256.0, help="MB, as for `prodconf studio`")
    parser.add_argument("--output", type=Path, help="ECSV file for the table")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ProdconfWarning)
    load, rows = os.getloadavg()[0], []
    with tempfile.TemporaryDirectory() as folder:
        pilots = sample_pilots(Path(folder))
        for n in options.sizes:
            rows += measure(drawn_pilots(pilots, n, 1e6 * options.memory), n, options.answers)
    show(rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    worst = max(row["wall, worst"] for row in rows)
    print(
        f"\n{len(pilots.trigger_names)} pilots; worst of all answers {worst:.0f} ms; peak of the process {peak:.0f} MB"
    )
    if options.output is not None:
        meta = {
            "answers": options.answers,
            "pilots": len(pilots.trigger_names),
            "load": load,
            "memory": options.memory,
            "python": sys.version.split()[0],
        }
        Table(rows, meta=meta).write(options.output, overwrite=True)


if __name__ == "__main__":
    main()
