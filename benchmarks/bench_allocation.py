"""Measure how long it takes to divide a production into its cheapest slices, and against a brute force.

Usage: python benchmarks/bench_allocation.py [--size 1000 60 5] [--small 100 20 5] [--repeats 15]
       [--output benchmarks/results/allocation.ecsv]

Sizes are pointings, energy bins and slices. Every pointing has its own threshold, its own scatter of the bins and discs
and cones that grow with energy; the index of every slice is free. The brute force tries all edges and, in every slice,
all indices of the net of `cheapest_slices`, for all pointings together in numpy; it runs at the small size, where both
must find the same least time (before the indices are refined). One process, one core; CPU and wall time.
"""

import argparse
import itertools
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from prodconf.formulas.power_law import integral
from prodconf.jobs.cost import CostModel
from prodconf.plan.slices import BOUNDS, Allocation, Needs, cheapest_slices, floor_seconds, needs, spectrum

MODEL = CostModel(seconds_per_event=0.05, seconds_per_event_tev=1.0)
NET = np.linspace(*BOUNDS, 81)[:, None, None]


def draw(pointings: int, bins: int, seed: int) -> Needs:
    """Draw what the bins of some pointings need for 2 %."""
    rng = np.random.default_rng(seed)
    edges = np.geomspace(0.01, 300, bins + 1)
    centre = np.sqrt(edges[1:] * edges[:-1])
    threshold = 0.1 * rng.lognormal(0, 0.5, (pointings, 1))
    area = (centre / (centre + threshold)) ** 3 * rng.lognormal(0, 0.1, (pointings, bins))
    disc, cone = 1e6 * (1 + centre**0.3), 0.05 * (1 + centre**0.1)
    return needs(edges, disc * cone / (5e3 * area) / 0.02**2, disc=disc, cone=cone)


def slice_seconds(wanted: Needs, a: int, b: int) -> np.ndarray:
    """Return the least time of one slice over the net of indices, for each pointing."""
    edges, part = wanted.edges, slice(a, b)
    per_area = wanted.events[1][:, part] / wanted.etendue[:, part]
    most = (per_area / integral(edges[a:b], edges[a + 1 : b + 1], NET)).max(axis=2)
    net = NET[:, 0]
    held = wanted.disc[:, part].max(axis=1) * wanted.cone[:, part].max(axis=1)
    moment = integral(edges[a], edges[b], net - MODEL.energy_power)
    each = MODEL.seconds_per_event * integral(edges[a], edges[b], net) + MODEL.seconds_per_event_tev * moment
    return (most * held * each).min(axis=0)


def brute_force(wanted: Needs, slices: int) -> np.ndarray:
    """Try all edges; return the least time of each pointing."""
    bins, least = wanted.edges.size - 1, np.full(len(wanted), np.inf)
    for cut in itertools.combinations(range(1, bins), slices - 1):
        total = sum(slice_seconds(wanted, a, b) for a, b in itertools.pairwise((0, *cut, bins)))
        least = np.minimum(least, total)
    return least


def check(wanted: Needs, made: Allocation, least: np.ndarray) -> None:
    """Compare the slices that were chosen, with the indices of the net, with what the brute force has found."""
    for m, truth in enumerate(least):
        one = Needs(wanted.edges, {1: wanted.events[1][[m]]}, wanted.disc[[m]], wanted.cone[[m]])
        there = made.n_events[m] > 0
        ends = zip(made.first[m, there], made.last[m, there], strict=True)
        net = sum(slice_seconds(one, a, b)[0] for a, b in ends)
        if abs(net / truth - 1) > 1e-9 or made.total_seconds[m] > truth * (1 + 1e-9):
            raise SystemExit(f"pointing {m}: brute force {truth:.9g} s, slices {net:.9g} s")


def timed(action: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Return median and worst CPU and wall time, s."""
    cpu, wall = [], []
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        action()
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    return {
        "cpu": float(np.median(cpu)),
        "cpu, worst": max(cpu),
        "wall": float(np.median(wall)),
        "wall, worst": max(wall),
    }


def measure(case: str, size: list[int], repeats: int, *, against: bool) -> dict[str, Any]:
    """Time one size, with or without the brute force."""
    pointings, bins, slices = size
    wanted = draw(pointings, bins, 1)
    made = cheapest_slices(wanted, MODEL, slices=slices)  # warms up too
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row: dict[str, Any] = {"case": case, "pointings": pointings, "bins": bins, "slices": slices}
    row |= timed(lambda: cheapest_slices(wanted, MODEL, slices=slices), repeats)
    row |= {"brute force, cpu": np.nan, "ratio": np.nan, "peak": before}
    if against:
        start = time.process_time()
        least = brute_force(wanted, slices)
        row["brute force, cpu"] = time.process_time() - start
        row["ratio"] = row["brute force, cpu"] / row["cpu"]
        check(wanted, made, least)
    floor = floor_seconds(wanted, MODEL)
    row["time over floor"] = float(np.median(made.total_seconds / floor))
    row["time over floor, E^-2"] = float(np.median(spectrum(wanted, MODEL).total_seconds / floor))
    return row


def show(row: dict[str, Any]) -> None:
    """Print what was measured."""
    print(
        f"{row['pointings']} pointings x {row['bins']} bins x {row['slices']} slices: {row['cpu']:.3f} s of CPU "
        f"(worst {row['cpu, worst']:.3f}), wall {row['wall']:.3f} (worst {row['wall, worst']:.3f}); "
        f"{row['time over floor']:.3f} times the floor, E^-2 {row['time over floor, E^-2']:.3g}"
    )
    if np.isfinite(row["ratio"]):
        print(f"brute force, same edges and indices found: {row['brute force, cpu']:.2f} s, ratio {row['ratio']:.0f}")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("POINTINGS", "BINS", "SLICES")
    parser.add_argument("--size", type=int, nargs=3, default=[1000, 60, 5], metavar=names)
    parser.add_argument("--small", type=int, nargs=3, default=[100, 20, 5], metavar=names, help="with brute force")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, help="ECSV file for the table")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rows = [
        measure("production", options.size, options.repeats, against=False),
        measure("small", options.small, options.repeats, against=True),
    ]
    for row in rows:
        show(row)
    if options.output is not None:
        meta = {"repeats": options.repeats, "load": load, "python": sys.version.split()[0]}
        Table(rows, meta=meta).write(options.output, overwrite=True)


if __name__ == "__main__":
    main()
