"""The sample that the tests of the studies share, read and planned once for all tests of a process."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import yaml

from prodconf.plan.main_job import plan_production
from prodconf.precision.targets import write_metrics
from prodconf.studies.pilots import StudyPilots, read_pilots
from prodconf.toys.sample import SampleSize, sample_metrics, sample_models, sample_plan, write_pilot

SIZE = SampleSize((0.0, 180.0), (0.24,), n_runs=2, n_showers=20_000, n_uses=10)
N_USE = SIZE.n_uses


@cache
def sample_in(folder: Path) -> Path:
    """Write four pilots of the embedded sample, 20 and 60 deg by North and South, and their plan; return the plan."""
    folder.mkdir()
    models = [model for model in sample_models() if model.throw.zenith in (20.0, 60.0)]
    for number, (model, seed) in enumerate(zip(models, np.random.SeedSequence(6).spawn(4), strict=True)):
        stem = folder / f"za{model.throw.zenith:.0f}_az{model.throw.azimuth:.0f}_nsb0.24"
        write_pilot(stem, model, seed=seed, size=SIZE, first_run=1 + 1000 * number)
    write_metrics(sample_metrics(), folder / "metrics.yml")
    plan = sample_plan(models)
    del plan["grid"]
    (folder / "plan.yml").write_text(yaml.safe_dump(plan, sort_keys=False), encoding="utf-8")
    return folder / "plan.yml"


@cache
def read_once(path: Path) -> StudyPilots:
    """Read a plan once for all tests of a process."""
    return read_pilots(path)


@cache
def plan_once(path: Path):
    """Plan once for all tests of a process."""
    return plan_production(path)


def sample_of(tmp_path_factory) -> Path:
    """Return the plan of the sample that the tests of the studies share; not to be changed."""
    return sample_in(tmp_path_factory.getbasetemp() / "studies")


def changed(sample: Path, folder: Path, **changes) -> Path:
    """Write the plan of the sample with other values (None takes a key out) to a folder that links to its files."""
    for path in sample.parent.iterdir():
        if path.suffix != ".yml" or path.name == "metrics.yml":
            os.symlink(path, folder / path.name)
    plan = yaml.safe_load(sample.read_text(encoding="utf-8")) | changes
    plan = {key: value for key, value in plan.items() if value is not None}
    (folder / "plan.yml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    return folder / "plan.yml"
