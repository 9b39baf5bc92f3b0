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
    command = [sys.executable, FOLDER / "bench_statistics.py", "--predecessor", "none", "--sizes", "3000"]
    done = subprocess.run(
        [*command, "--pairs", "1", "--evaluators", "100", "--output", output], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    table = Table.read(output)
    assert table["events"].tolist() == [3000]
    assert table.colnames == Table.read(FOLDER / "results" / "statistics.ecsv").colnames
    assert "100000 queries between 100 pilots" in done.stdout
