"""The benchmarks run; what they measure is not tested."""

import subprocess
import sys
from pathlib import Path

import pytest
from astropy.table import Table

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.skipif(not FOLDER.is_dir(), reason="benchmarks/ is not part of an installed package")
def test_statistics_are_measured_and_written(tmp_path):
    output = tmp_path / "statistics.ecsv"
    command = [sys.executable, FOLDER / "bench_statistics.py", "--predecessor", "none", "--sizes", "10000"]
    done = subprocess.run(
        [*command, "--pairs", "1", "--evaluators", "100", "--output", output], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    table = Table.read(output)
    assert table["events"].tolist() == [10000]
    assert table.colnames == Table.read(FOLDER / "results" / "statistics.ecsv").colnames
    assert "100000 queries between 100 pilots" in done.stdout


@pytest.mark.skipif(not FOLDER.is_dir(), reason="benchmarks/ is not part of an installed package")
def test_limits_are_measured_checked_and_written(tmp_path):
    """The script compares our limits with the sorted events of both layouts before it measures."""
    output = tmp_path / "limits.ecsv"
    command = [sys.executable, FOLDER / "bench_limits.py", "--old", "none", "--new", "none", "--sizes", "100000"]
    done = subprocess.run(
        [*command, "--pairs", "1", "--parts", "predecessor", "--output", output], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    table = Table.read(output)
    assert table["layout"].tolist() == ["v0.16", "v0.36"]
    assert set(table.colnames) <= set(Table.read(FOLDER / "results" / "limits.ecsv").colnames)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="benchmarks/ is not part of an installed package")
def test_grids_are_measured_checked_and_written(tmp_path):
    """The script compares our limits with a closed form and our coordinates with astropy before it measures."""
    output = tmp_path / "grid.ecsv"
    command = [sys.executable, FOLDER / "bench_grid.py", "--old", "none", "--sizes", "1000", "--sky", "100"]
    done = subprocess.run(
        [*command, "--write", "1000", "--suffixes", ".fits", "--pairs", "1", "--output", output],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    table = Table.read(output)
    assert table["case"].tolist() == ["limits", "stars", "write .fits"]
    assert table["prodconf, error"][:2].max() < 1e-9
    assert set(table.colnames) <= set(Table.read(FOLDER / "results" / "grid.ecsv").colnames)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="benchmarks/ is not part of an installed package")
def test_allocations_are_measured_checked_and_written(tmp_path):
    """The script compares the slices with those of a brute force."""
    output = tmp_path / "allocation.ecsv"
    command = [sys.executable, FOLDER / "bench_allocation.py", "--size", "5", "10", "2", "--small", "3", "8", "3"]
    done = subprocess.run([*command, "--repeats", "1", "--output", output], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = Table.read(output)
    assert table["case"].tolist() == ["production", "small"]
    assert table.colnames == Table.read(FOLDER / "results" / "allocation.ecsv").colnames
    assert "same edges and indices found" in done.stdout
