"""Measure production grids side by side with gammasimtools 0.16.0: limits, coordinates among the stars, writing.

Usage: python benchmarks/bench_grid.py [--old PYTHON] [--sizes 1000 100000 1000000] [--sky 10000 1000000]
       [--sky-old 10000] [--write 1000000] [--pairs 3] [--output benchmarks/results/grid.ecsv]

One job: make a grid of zenith angle, azimuth, night sky and offset with its limits from a lookup table (ours: the
table behind the grid; theirs: the list of dictionaries, there is no other). Among the stars all directions differ, and
the conversion belongs to the job. Each run is a fresh process, the programs alternate; CPU seconds inside the process
and ratios of their medians are the result. `--old` is an interpreter that has gammasimtools==0.16.0; without it an
environment is made in a temporary folder ("none" leaves it out).

The limits in the table have a closed form, and in the coordinates of ours the interpolation is exact: ours are checked
against it in each run, theirs at the nodes of the table. Both read the same layout; theirs reads the night sky as words
and takes dark and moon for 1 and 5, so these numbers stand in the table of ours.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.table import Table
from astropy.time import Time
from astropy.utils import iers

ZENITHS, AZIMUTHS, SKIES = (20, 40, 52, 60), (0, 180), {"dark": 1, "moon": 5}
SHAPES = {10**3: (10, 10, 5, 2), 10**5: (50, 50, 20, 2), 10**6: (100, 100, 50, 2)}
SITE, TIME = (28.76, -17.89, 2200.0), "2024-05-01T02:00:00"  # deg, deg, m; UTC, within the tables of the Earth's turn
SUFFIXES = (".ecsv", ".hdf5", ".fits", ".parquet")
N_CHECKED = 500

START = """
import json, sys, time, warnings
def peak():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
begin = time.process_time()
warnings.simplefilter("ignore")
from astropy import units as u
from astropy.coordinates import EarthLocation
from astropy.time import Time
from astropy.utils import iers
iers.conf.auto_download, iers.conf.auto_max_age = False, None
job = json.loads(sys.argv[1])
options = dict(lookup_table=job["table"])
if job["sky"]:
    latitude, longitude, height = job["site"]
    place = EarthLocation(lat=latitude * u.deg, lon=longitude * u.deg, height=height * u.m)
    options |= dict(coordinate_system="ra_dec", observing_location=place, observing_time=Time(job["time"]))
"""
END = """
result = dict(job=end - start, imports=start - begin, memory=high - empty, peak=high, n=n, sample=sample)
print(json.dumps(result))
"""
OURS = (
    START
    + """
import numpy as np
from prodconf.generate_production_grid import GridGeneration
empty, start = peak(), time.process_time()
grid = GridGeneration(job["axes"], telescope_ids=[1], **options).generate_table()
end, high, n = time.process_time(), peak(), len(grid)
names = {
    "zenith": "zenith_angle", "azimuth": "azimuth", "nsb": "nsb", "ra": "ra", "dec": "dec",
    "energy": "lower_energy_limit", "radius": "upper_radius_limit", "viewcone": "viewcone_radius",
}
rows = grid[job["rows"]]
sample = {
    key: np.asarray(getattr(rows[name], "value", rows[name]), dtype=float).tolist()
    for key, name in names.items() if name in grid.colnames
}
"""
    + END
)
OLD = (
    START
    + """
from simtools.production_configuration.generate_production_grid import GridGeneration
empty, start = peak(), time.process_time()
generation = GridGeneration(job["axes"], telescope_ids=[1], **options)
grid = generation.generate_grid()
if job["sky"]:
    grid = generation.convert_coordinates(grid)
end, high, n = time.process_time(), peak(), len(grid)
rows = [grid[k] for k in job["rows"]]
sample = {
    key: [float(row[name].value) for row in rows]
    for key, name in {"zenith": "zenith_angle", "azimuth": "azimuth", "nsb": "nsb", "ra": "ra", "dec": "dec",
                      "radius": "radius", "viewcone": "viewcone"}.items() if name in grid[0]
}
sample["energy"] = [float(row["energy_threshold"]["lower"].value) for row in rows]
"""
    + END
)
WRITE = (
    START
    + """
import os
from prodconf.generate_production_grid import GridGeneration
from prodconf.grid.tables import write_grid
grid = GridGeneration(job["axes"], telescope_ids=[1], **options).generate_table()
empty, start, clock = peak(), time.process_time(), time.perf_counter()
write_grid(grid, job["output"])
end, high, n, wall = time.process_time(), peak(), len(grid), time.perf_counter() - clock
sample = dict(wall=wall, size=os.path.getsize(job["output"]) / 1e6)
"""
    + END
)


def exact_limits(zenith, azimuth, nsb) -> dict[str, np.ndarray]:
    """Return the limits of the closed form: products of what is linear in ln sec z, cos az and ln NSB."""
    path, turn, sky = -np.log(np.cos(np.deg2rad(zenith))), np.cos(np.deg2rad(azimuth)), np.log(nsb)
    return {
        "energy": 0.01 * np.exp(2 * path + 0.1 * turn + 0.3 * sky),  # TeV
        "radius": 1200 * (1 + 0.9 * path) * (1 + 0.05 * turn) * (1 - 0.02 * sky),  # m
        "viewcone": 9 * (1 - 0.1 * path) * (1 + 0.01 * turn) * (1 - 0.01 * sky),  # deg
    }


def write_lookup(path: Path, *, words: bool) -> None:
    """Write a lookup table in the layout of v0.16, the night sky in words or numbers."""
    kinds = {"zenith": "float64", "azimuth": "float64", "nsb": "string" if words else "float64"}
    limits = {"lower_energy_threshold": "TeV", "upper_radius_threshold": "m", "viewcone_radius": "deg"}
    head = ["%ECSV 1.0", "---", "datatype:", "- {name: telescope_ids, datatype: string, subtype: json}"]
    head += [f"- {{name: {name}, datatype: {kind}}}" for name, kind in kinds.items()]
    head += [f"- {{name: {name}, unit: {unit}, datatype: float64}}" for name, unit in limits.items()]
    rows = [" ".join(["telescope_ids", *kinds, *limits])]
    for zenith, azimuth, (word, level) in itertools.product(ZENITHS, AZIMUTHS, SKIES.items()):
        values = " ".join(repr(float(value)) for value in exact_limits(zenith, azimuth, level).values())
        rows.append(f"[1] {zenith} {azimuth} {word if words else level} {values}")
    path.write_text("\n".join([*(f"# {line}" for line in [*head, "schema: astropy-2.0"]), *rows]) + "\n")


def axes(shape: tuple[int, int, int, int]) -> dict:
    """Return the axes of a grid, as both programs read them."""
    ends = {"zenith_angle": (20, 60, "deg"), "azimuth": (0, 180, "deg"), "nsb": (1, 5, "MHz"), "offset": (0, 5, "deg")}
    return {
        name: {"range": [low, high if n > 1 else low], "binning": n, "scaling": "linear", "units": unit}
        for n, (name, (low, high, unit)) in zip(shape, ends.items(), strict=True)
    }


def run(python: str, code: str, job: dict) -> dict:
    """Do a job in a fresh process with one numerical thread, modules compiled once and not in every run."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    command = [python, "-c", code, json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=kept | {"OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1]) | {"whole": time.perf_counter() - start}


def places(job: dict) -> tuple[np.ndarray, ...]:
    """Return zenith, azimuth and NSB level of all points, the last axis fastest."""
    values = [np.linspace(*axis["range"], axis["binning"]) for axis in job["axes"].values()]
    return tuple(column.ravel() for column in np.meshgrid(*values, indexing="ij")[:3])


def at_node(zenith: np.ndarray, azimuth: np.ndarray, nsb: np.ndarray) -> np.ndarray:
    """Tell which points are rows of the table."""
    return np.isin(zenith, ZENITHS) & np.isin(azimuth, AZIMUTHS) & np.isin(nsb, list(SKIES.values()))


def checked_rows(job: dict) -> list[int]:
    """Return the points that are checked: some hundred across the grid, and those at nodes of the table."""
    node = at_node(*places(job))
    across = np.linspace(0, node.size - 1, N_CHECKED).astype(int)
    return np.union1d(across, np.flatnonzero(node)).tolist()


def among_stars(zenith: np.ndarray, azimuth: np.ndarray) -> SkyCoord:
    """Return where directions point among the stars, by astropy."""
    latitude, longitude, height = SITE
    place = EarthLocation(lat=latitude * u.deg, lon=longitude * u.deg, height=height * u.m)
    frame = AltAz(obstime=Time(TIME), location=place)
    return SkyCoord(alt=(90 - zenith) * u.deg, az=azimuth * u.deg, frame=frame).icrs


def require_exact(found: dict, job: dict, *, at_nodes: bool) -> float:
    """Check places and limits (theirs: at the nodes of the table); return the largest error of the energy limit."""
    sample, (zenith, azimuth, nsb) = found["sample"], (column[job["rows"]] for column in places(job))
    if "zenith" in sample:
        np.testing.assert_allclose(sample["zenith"], zenith, rtol=1e-12)
        np.testing.assert_allclose(np.mod(sample["azimuth"], 360), np.mod(azimuth, 360), atol=1e-9)
    if job["sky"]:
        apart = SkyCoord(sample["ra"] * u.deg, sample["dec"] * u.deg).separation(among_stars(zenith, azimuth))
        assert apart.max() < 0.01 * u.arcsec, f"{apart.max().to(u.arcsec)} from astropy"
    exact = exact_limits(zenith, azimuth, nsb)
    checked = at_node(zenith, azimuth, nsb) if at_nodes else np.ones(zenith.size, dtype=bool)
    assert checked.any()
    for name, values in exact.items():
        np.testing.assert_allclose(np.array(sample[name])[checked], values[checked], rtol=1e-9, err_msg=name)
    return float(np.nanmax(np.abs(np.array(sample["energy"]) / exact["energy"] - 1)))


def compare(folder: Path, shape: tuple[int, int, int, int], python: str | None, *, sky: bool, pairs: int) -> dict:
    """Compare the two programs on one grid."""
    job = {"axes": axes(shape), "sky": sky, "site": SITE, "time": TIME}
    job["rows"] = checked_rows(job)
    ours_job, old_job = (job | {"table": str(folder / f"{name}.ecsv")} for name in ("numbers", "words"))
    ours, theirs, error = [], [], {"prodconf": 0.0, "predecessor": np.nan}
    for _ in range(pairs):
        for _ in range(3 if python is not None else 1):
            ours.append(run(sys.executable, OURS, ours_job))
            error["prodconf"] = require_exact(ours[-1], ours_job, at_nodes=False)
        if python is not None:
            theirs.append(run(python, OLD, old_job))
            error["predecessor"] = require_exact(theirs[-1], old_job, at_nodes=True)
    row = {"case": "stars" if sky else "limits", "points": int(np.prod(shape))}
    for name, runs in (("prodconf", ours), ("predecessor", theirs)):
        for key in ("job", "imports", "whole", "memory", "peak"):
            row[f"{name}, {key}"] = statistics.median(one[key] for one in runs) if runs else np.nan
        for key, of in (("least", min), ("most", max)):
            row[f"{name}, {key}"] = of(one["job"] for one in runs) if runs else np.nan
        row[f"{name}, error"] = error[name]
        assert all(one["n"] == row["points"] for one in runs)
    row["ratio, job"] = row["predecessor, job"] / row["prodconf, job"]
    row["ratio, whole"] = row["predecessor, whole"] / row["prodconf, whole"]
    return row


def write(folder: Path, size: int, suffix: str, pairs: int) -> dict:
    """Measure how long a grid takes to be written."""
    job = {"axes": axes(SHAPES[size]), "sky": False, "table": str(folder / "numbers.ecsv")}
    found = []
    for k in range(pairs):
        path = folder / f"grid_{k}{suffix}"
        found.append(run(sys.executable, WRITE, job | {"output": str(path)}))
        path.unlink()
    row = {"case": f"write {suffix}", "points": size}
    row |= {f"prodconf, {key}": statistics.median(one[key] for one in found) for key in ("job", "memory", "peak")}
    row |= {f"prodconf, {key}": of(one["job"] for one in found) for key, of in (("least", min), ("most", max))}
    return row | {key: statistics.median(one["sample"][key] for one in found) for key in ("wall", "size")}


def environment(folder: Path) -> str:
    """Make an environment that holds the predecessor."""
    venv.create(folder / "predecessor", with_pip=True)
    python = folder / "predecessor" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "gammasimtools==0.16.0"], check=True)
    return str(python)


def show(rows: list[dict]) -> None:
    """Print the last row, the first one with a head."""
    if len(rows) == 1:
        print("| grid | points | prodconf, CPU s | predecessor, CPU s | ratio | memory added, MB | error of a limit |")
        print("|---|---|---|---|---|---|---|")
    row = rows[-1]
    print(
        f"| {row['case']} | {row['points']:.0e} "
        f"| {row['prodconf, job']:.3f} [{row['prodconf, least']:.3f}–{row['prodconf, most']:.3f}] "
        f"| {row['predecessor, job']:.2f} | {row['ratio, job']:.1f} "
        f"| {row['prodconf, memory']:.0f} against {row['predecessor, memory']:.0f} "
        f"| {row['prodconf, error']:.0e} against {row['predecessor, error']:.0e} |",
        flush=True,
    )


def show_written(row: dict) -> None:
    """Print what writing takes."""
    seconds = f"{row['wall']:.2f} s (CPU {row['prodconf, job']:.2f} s), {row['size']:.1f} MB"
    print(f"{row['points']:.0e} points, {row['case']}: {seconds}", flush=True)


def square(size: int) -> tuple[int, int, int, int]:
    """Return the shape of a grid of which no two points look the same way."""
    n = round(size**0.5)
    return (n, size // n, 1, 1)


def measure(options: argparse.Namespace, folder: Path, python: str | None) -> list[dict]:
    """Measure all cases, print each."""
    write_lookup(folder / "words.ecsv", words=True)
    write_lookup(folder / "numbers.ecsv", words=False)
    rows = []
    for size in options.sizes:
        pairs = options.pairs * (3 if size <= 10**4 and options.pairs > 1 else 1)  # short jobs scatter more
        rows.append(compare(folder, SHAPES[size], python, sky=False, pairs=pairs))
        show(rows)
    for size in options.sky:
        other = python if size in options.sky_old else None
        rows.append(compare(folder, square(size), other, sky=True, pairs=options.pairs))
        show(rows)
    for size, suffix in itertools.product(options.write, options.suffixes):
        if suffix == ".parquet" and find_spec("pyarrow") is None:
            print("writing .parquet is left out: pyarrow is not installed")
            continue
        rows.append(write(folder, size, suffix, options.pairs))
        show_written(rows[-1])
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", help='interpreter with gammasimtools==0.16.0, or "none"')
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--sky", type=int, nargs="*", default=[10**4, 10**6], help="points among the stars")
    parser.add_argument("--sky-old", type=int, nargs="*", default=[10**4], help="of these, those for both programs")
    parser.add_argument("--write", type=int, nargs="*", default=[10**6], choices=list(SHAPES))
    parser.add_argument("--suffixes", nargs="*", default=list(SUFFIXES))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--output", type=Path, help="ECSV file for the table")
    options = parser.parse_args()
    iers.conf.auto_download, iers.conf.auto_max_age = False, None
    with tempfile.TemporaryDirectory() as temporary:
        python = options.old or environment(Path(temporary))
        rows = measure(options, Path(temporary), None if python == "none" else python)
    if options.output is not None:
        names = dict.fromkeys(name for row in rows for name in row)
        table = Table([{name: row.get(name, np.nan) for name in names} for row in rows])
        table.meta = {"pairs": options.pairs, "python": sys.version.split()[0]}
        table.write(options.output, overwrite=True)


if __name__ == "__main__":
    main()
