"""Measure CORSIKA limits side by side with gammasimtools, and what files, workers and the cache cost.

Usage: python benchmarks/bench_limits.py [--old PYTHON] [--new PYTHON] [--sizes 100000 1000000 10000000]
       [--parts predecessor production memory] [--folder FOLDER] [--output benchmarks/results/limits.ecsv]

`--old` and `--new` are interpreters of environments that hold gammasimtools==0.16.0 (layout of v0.16) and
gammasimtools==0.21.0 (layout of v0.36); without them they are made in a temporary folder ("none" leaves one out).
Each run is a fresh process, the programs alternate, ratios of medians are the result. Our limits are checked
against the sorted events of the draw in the same run. `--folder` keeps the files from run to run.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import h5py
import numpy as np
from astropy.table import Table, vstack
from limits_files import CONE, ENERGY, NAMES, RADIUS, exact_limits, write_new, write_old

LOSS = 1e-3
CASES = ((10**5, 10), (10**6, 10), (10**7, 1), (10**7, 10))

PEAK = """
import json, sys, time
def peak():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
begin = time.perf_counter()
path, arrays = sys.argv[1], json.loads(sys.argv[2])
"""
OURS = (
    PEAK
    + """
from prodconf.events.groups import group_files
from prodconf.limits.pilots import LimitRequest, pilot_limits
from prodconf.events.sub_arrays import SubArray
start = time.perf_counter()
chosen = [SubArray(str(k), None if names is None else tuple(names)) for k, names in enumerate(arrays)]
(group,) = group_files([path])
records = pilot_limits(group, chosen, LimitRequest(1e-3)).pilots
end, found = time.perf_counter(), [[one.energy, one.radius, one.viewcone] for one in records]
limits = [[x.value for x in one] for one in found]
verdicts = [[str(x.verdict) for x in one] for one in found]
print(json.dumps(dict(job=end - start, imports=start - begin, peak=peak(), limits=limits, verdicts=verdicts)))
"""
)
OLD = (
    PEAK
    + """
from simtools.production_configuration.derive_corsika_limits import LimitCalculator
start, found = time.perf_counter(), []
for names in arrays:
    one = LimitCalculator(path, telescope_list=None if names is None else [int(name) for name in names])
    values = [one.compute_lower_energy_limit(1e-3), one.compute_upper_radial_distance(1e-3), one.compute_viewcone(1e-3)]
    found.append([float(x.value) for x in values])
print(json.dumps(dict(job=time.perf_counter() - start, imports=start - begin, peak=peak(), limits=found)))
"""
)
NEW = (
    PEAK
    + """
from simtools.production_configuration.derive_corsika_limits import (
    SimtelIOEventHistograms, compute_lower_energy_limit, compute_upper_radius_limit, compute_viewcone)
start, found = time.perf_counter(), []
for k, names in enumerate(arrays):
    histograms = SimtelIOEventHistograms(path, array_name=str(k), telescope_list=names)
    histograms.fill()
    rules = (compute_lower_energy_limit, compute_upper_radius_limit, compute_viewcone)
    found.append([float(rule(histograms, 1e-3).value) for rule in rules])
print(json.dumps(dict(job=time.perf_counter() - start, imports=start - begin, peak=peak(), limits=found)))
"""
)
LAYOUTS = {"v0.16": (write_old, OLD, "0.16.0"), "v0.36": (write_new, NEW, "0.21.0")}


def sub_arrays(n: int, layout: str) -> list[list[str] | None]:
    """Return telescope lists: all, then smaller and smaller ones."""
    names = [str(k + 1) for k in range(len(NAMES))] if layout == "v0.16" else NAMES
    return [None if k == 0 and layout == "v0.16" else names[: len(names) - k] for k in range(n)]


def quiet() -> dict[str, str]:
    """Return an environment with one numerical thread, in which modules are compiled once and not in every run."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"OMP_NUM_THREADS": "1"}


def run(python: str, code: str, path: Path, arrays: list) -> dict:
    """Do a job in a fresh process."""
    start = time.perf_counter()
    command = [python, "-c", code, str(path), json.dumps(arrays)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet())
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1]) | {"whole": time.perf_counter() - start}


def file_of(folder: Path, layout: str, rows: int) -> Path:
    """Return an event file, written if it is not there."""
    path = folder / f"{layout}_{rows}.hdf5"
    if not path.exists():
        LAYOUTS[layout][0](path.with_suffix(".part"), rows)
        path.with_suffix(".part").replace(path)
    return path


def plain_read(path: Path) -> float:
    """Return the wall seconds in which the HDF5 library reads and inflates all tables (best of three)."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        with h5py.File(path) as file:
            tables = []
            file.visititems(lambda _, item, to=tables: to.append(item) if isinstance(item, h5py.Dataset) else None)
            for table in tables:
                for row in range(0, len(table), 131_072):
                    table[row : row + 131_072]
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def require_exact(found: dict, rows: int, n: int) -> None:
    """Check our limits against the sorted events of the draw; a truncated one is the edge of what was thrown."""
    arrays = [None if names is None else [int(name) for name in names] for names in sub_arrays(n, "v0.16")]
    cut = np.array(found["verdicts"]) == "truncated"
    expected = np.where(cut, (ENERGY[0], RADIUS, CONE), exact_limits(rows, LOSS, arrays))
    np.testing.assert_allclose(found["limits"], expected, rtol=2e-6)


def compare(folder: Path, layout: str, rows: int, n: int, python: str | None, pairs: int) -> dict:
    """Compare the two programs on one file and a number of sub-arrays."""
    path, arrays, (_, code, version) = file_of(folder, layout, rows), sub_arrays(n, layout), LAYOUTS[layout]
    require_exact(run(sys.executable, OURS, path, arrays), rows, n)
    ours, theirs = [], []
    for _ in range(pairs):
        ours += [run(sys.executable, OURS, path, arrays) for _ in range(3)]
        theirs += [run(python, code, path, arrays)] if python else []
    row = {"layout": layout, "rows": rows, "sub_arrays": n, "predecessor": version}
    for name, runs in (("ours", ours), ("theirs", theirs)):
        for key in ("job", "whole", "imports", "peak"):
            row[f"{name}, {key}"] = statistics.median(one[key] for one in runs) if runs else np.nan
        row[f"{name}, least"], row[f"{name}, most"] = (
            (f(one["whole"] for one in runs) if runs else np.nan) for f in (min, max)
        )
    row["ratio, whole"] = row["theirs, whole"] / row["ours, whole"]
    row["ratio, job"] = row["theirs, job"] / row["ours, job"]
    row["plain read"] = plain_read(path)
    row["share of reading"] = row["ours, job"] / row["plain read"]
    return row


def environment(folder: Path, version: str) -> str:
    """Make an environment that holds a predecessor."""
    venv.create(folder / version, with_pip=True)
    python = folder / version / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", f"gammasimtools=={version}"], check=True)
    return str(python)


PRODUCTION = (
    PEAK
    + """
from prodconf.limits.pilots import LimitRequest
from prodconf.limits.production import Reading, derive_limits
from prodconf.events.sub_arrays import SubArray
from pathlib import Path
if __name__ == "__main__":
    chosen = [SubArray(str(k), None if names is None else tuple(names)) for k, names in enumerate(arrays)]
    files, client = sorted(Path(path).glob("*.hdf5"))[: int(sys.argv[3])], None
    cache = sys.argv[5] or None
    if sys.argv[4] != "0":
        import distributed
        cluster = distributed.LocalCluster(
            n_workers=int(sys.argv[4]), threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0)
        client = distributed.Client(cluster)
        client.wait_for_workers(int(sys.argv[4]))
    before, start = peak(), time.perf_counter()
    found = derive_limits(files, chosen, LimitRequest(1e-3), Reading(cache, client), tails=False)
    job = time.perf_counter() - start
    values = [[x.energy.value, x.radius.value, x.viewcone.value] for x in found.pilots]
    print(json.dumps(dict(job=job, start=start - begin, before=before, peak=peak(), limits=values)), flush=True)
    if client is not None:
        client.close(); cluster.close()
"""
)


def run_production(folder: Path, n_files: int, workers: int, cache: Path | None = None, first: int = 0) -> dict:
    """Derive the limits of many files in a fresh process."""
    arrays = sub_arrays(13, "v0.16")[first : first + 10]
    code = Path(tempfile.gettempdir()) / f"prodconf_bench_{os.getpid()}.py"
    code.write_text(PRODUCTION, encoding="utf-8")
    start = time.perf_counter()
    command = [sys.executable, str(code), str(folder), json.dumps(arrays), str(n_files), str(workers), str(cache or "")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet())
    finally:
        code.unlink()
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1]) | {"whole": time.perf_counter() - start}


def production_files(folder: Path, n_files: int, rows: int) -> Path:
    """Return a folder of event files; a few draws are written, the rest are copies that name another source."""
    made = folder / f"production_{rows}"
    made.mkdir(exist_ok=True)
    for k in range(n_files):
        path = made / f"run{k:06d}.hdf5"
        if not path.exists() and k < 8:
            write_old(path.with_suffix(".part"), rows, seed=100 + k)
            path.with_suffix(".part").replace(path)
        elif not path.exists():
            shutil.copy(made / f"run{k % 8:06d}.hdf5", path)
            with h5py.File(path, "r+") as file:
                file["data/file_names"][0] = (f"gamma_20deg_180deg_run{100 + k:06d}___cta-prod6_dark.zst".encode(),)
    return made


def production(folder: Path, rows: int) -> list[dict]:
    """Measure workers, the memory of the merging process, and the cache."""
    made = production_files(folder, 192, rows)
    results = {}
    for name, n_files, workers in (("one", 64, 1), ("two", 64, 2), ("one again", 64, 1), ("two again", 64, 2)):
        results[name] = run_production(made, n_files, workers)
    assert len({json.dumps(one["limits"]) for one in results.values()}) == 1
    results["serial"] = run_production(made, 64, 0)
    assert results["serial"]["limits"] == results["two"]["limits"]
    for n_files in (8, 192):
        results[f"{n_files} files"] = run_production(made, n_files, 2)
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        results["filling the cache"] = run_production(made, 64, 0, Path(cache))
        for name in ("from the cache", "from the cache, again", "from the cache, once more"):
            results[name] = run_production(made, 64, 0, Path(cache), first=3)
        size = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())
    for one in results.values():
        one["cache, bytes per shower"] = size / (64 * rows)
        del one["limits"]
    return [{"case": name, "rows": rows} | one for name, one in results.items()]


def show_production(rows: list[dict]) -> None:
    """Print workers, memory, cache."""
    by_name = {row["case"]: row for row in rows}
    one, two = (min(by_name[name]["job"], by_name[f"{name} again"]["job"]) for name in ("one", "two"))
    print(f"64 files x {rows[0]['rows']:.0e} rows: one worker {one:.1f} s, two {two:.1f} s: {one / two:.2f} x")
    few, many = by_name["8 files"], by_name["192 files"]
    print(f"merging process, 8 to 192 files: {few['peak']:.0f} to {many['peak']:.0f} MB")
    cached = statistics.median(row["whole"] for name, row in by_name.items() if name.startswith("from the cache"))
    print(f"ten other sub-arrays from the cache: {cached:.2f} s, {rows[0]['cache, bytes per shower']:.2f} B per shower")


def show(rows: list[dict]) -> None:
    """Print what was measured."""
    print("| layout | rows x sub-arrays | prodconf, s | predecessor, s | ratio | peak, MB | of plain reading |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['layout']} | {row['rows']:.0e} x {row['sub_arrays']} "
            f"| {row['ours, whole']:.2f} [{row['ours, least']:.2f}–{row['ours, most']:.2f}] "
            f"| {row['theirs, whole']:.1f} ({row['predecessor']}) | {row['ratio, whole']:.0f} "
            f"| {row['ours, peak']:.0f} against {row['theirs, peak']:.0f} | {row['share of reading']:.2f} |"
        )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", help='interpreter with gammasimtools==0.16.0, or "none"')
    parser.add_argument("--new", help='interpreter with gammasimtools==0.21.0, or "none"')
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--layouts", nargs="+", default=list(LAYOUTS))
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--parts", nargs="+", default=["predecessor", "production", "memory"])
    parser.add_argument("--production-rows", type=int, default=10**6)
    parser.add_argument("--folder", type=Path, help="where event files are kept")
    parser.add_argument("--output", type=Path, help="ECSV file for the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder, found, memory = options.folder or Path(temporary), [], []
        if "predecessor" in options.parts:
            for layout, python in (("v0.16", options.old), ("v0.36", options.new)):
                if layout not in options.layouts:
                    continue
                python = python or environment(Path(temporary), LAYOUTS[layout][2])
                for rows, n in CASES:
                    if rows in options.sizes:
                        pairs = options.pairs * (3 if rows == 10**5 and options.pairs > 1 else 1)
                        pairs = 1 if (n, rows) == (10, 10**7) else pairs  # five minutes and more each
                        found.append(compare(folder, layout, rows, n, None if python == "none" else python, pairs))
                        show(found[-1:])
        if "memory" in options.parts:
            for rows in (10**6, 10**7, 10**8):
                one = run(sys.executable, OURS, file_of(folder, "v0.16", rows), sub_arrays(10, "v0.16"))
                memory.append({"memory of rows": rows, "peak": one["peak"], "whole": one["whole"]})
                print(f"{rows:.0e} rows x 10 sub-arrays: peak {one['peak']:.0f} MB, {one['whole']:.1f} s", flush=True)
        measured = production(folder, options.production_rows) if "production" in options.parts else []
    if found:
        show(found)
    if measured:
        show_production(measured)
    if options.output is not None:
        table = vstack([Table(rows) for rows in (found, measured, memory) if rows])
        if table.has_masked_columns:  # a cell that does not belong to its row is empty
            for name in table.colnames:
                table[name] = np.ma.filled(table[name], "-" if table[name].dtype.kind == "U" else 0)
        table.write(options.output, overwrite=True)


if __name__ == "__main__":
    main()
