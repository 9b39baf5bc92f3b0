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
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.table import Table
from astropy.time import Time
from astropy.utils import iers

NODES = {"zenith": (20, 40, 52, 60), "azimuth": (0, 180), "nsb": {"dark": 1, "moon": 5}}
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
rows = grid[:: max(1, n // job["checked"])]
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
rows = grid[:: max(1, n // job["checked"])]
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
generation = GridGeneration(job["axes"], telescope_ids=[1], **options)
grid = generation.generate_table()
empty, start, clock = peak(), time.process_time(), time.perf_counter()
generation.serialize_grid_points(grid, output_file=job["output"])
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
    for zenith, azimuth, (word, level) in itertools.product(*NODES.values() - {}.items()):
        values = " ".join(repr(float(value)) for value in exact_limits(zenith, azimuth, level).values())
        rows.append(f"[1] {zenith} {azimuth} {word if words else level} {values}")
    path.write_text("\n".join([*(f"# {line}" for line in [*head, "schema: astropy-2.0"]), *rows]) + "\n")
