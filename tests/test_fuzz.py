"""Damaged files of every kind: only success or a ProdconfError that names the file, and no warning but our own."""

import gzip
import shutil
import signal
import warnings
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import yaml

from prodconf.core.errors import ProdconfError, ProdconfWarning
from prodconf.events.dl2 import DL2File, inspect_dl2, looks_like_dl2
from prodconf.events.report import inspect_file
from prodconf.limits.table import limits_summary, looks_like_limits, read_limits
from prodconf.plan.configuration import read_configuration
from prodconf.plan.main_job import plan_production
from prodconf.precision.pilots import pilot_statistics
from prodconf.precision.targets import read_metrics
from prodconf.toys.sample import sample_metrics

CHARACTERS = np.frombuffer(b"0123456789-.,:[]{}&*!?|>%@'\"# \n\tnaeE", dtype=np.uint8)
LIMITS = [f"corsika_limits_v0.{generation}.ecsv" for generation in (16, 19, 32, 33)]
QUARTER = pytest.mark.parametrize("share", [0.25, pytest.param(1.0, marks=pytest.mark.long)], ids=["quarter", "all"])
DL2 = [f"prod6_LaPalma-{zenith}deg_gamma_cone.N.Am-4LSTs09MSTs_ID0_reduced.fits" for zenith in (20, 40, 60)]


def damaged(content, rng, *, text=False):
    """Cut a file short, or change some bytes; half of the changes fall near its beginning, where its structure is."""
    kind = rng.integers(4)
    if kind == 0:
        return content[: rng.integers(1, len(content))]
    array = np.frombuffer(content, dtype=np.uint8).copy()
    span = len(array) if kind == 1 else min(len(array), 6000)
    where = rng.integers(0, span, rng.integers(1, 8))
    if text and kind != 3:  # stay with characters, or the file is refused for its encoding alone
        array[where] = rng.choice(CHARACTERS, len(where))
    else:
        array[where] ^= np.left_shift(1, rng.integers(0, 8, len(where))).astype(np.uint8)
    return array.tobytes()


class NotDone(BaseException):
    """What takes too long; no `except Exception` on the way stops it."""


@contextmanager
def limited(seconds):
    """Interrupt what takes longer (where the system has alarms)."""

    def ring(*_):
        raise NotDone(f"not done after {seconds} s")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def attack(path, content, act, *, rounds, seed, text=False, name=None):
    """Damage a file again and again; return how often it was refused."""
    rng, refused = np.random.default_rng(seed), 0
    for turn in range(rounds):
        path.write_bytes(damaged(content, rng, text=text))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ProdconfWarning)
            try:
                with limited(20):
                    act(path)
            except ProdconfError as error:
                refused += 1
                sentence = str(error)
                for line in sentence.splitlines():  # a configuration may have several problems
                    assert 0 < len(line) < 1000, f"round {turn}: {line[:200]}"
                assert len(sentence.splitlines()) <= 11, f"round {turn}"
                assert name is None or name in sentence, f"round {turn}: {sentence}"
            except (Exception, NotDone) as error:
                raise AssertionError(f"round {turn}: {type(error).__name__}: {error}") from error
    return refused


def _use_dl2(path):
    looks_like_dl2(path)
    inspect_dl2(path)
    file = DL2File(path, offset_max=1.0, simulated_fraction=0.5)
    pilot_statistics(file, sample_metrics().uncertainty_effective_area, index=2.0, nsb_level=0.24)


@pytest.mark.parametrize("packed", [False, True])
@QUARTER
def test_dl2_of_the_sample(small_sample, tmp_path, packed, share):
    content = small_sample.dl2_events[0].read_bytes()
    path = tmp_path / ("bad.fits.gz" if packed else "bad.fits")
    content = gzip.compress(content) if packed else content
    assert attack(path, content, _use_dl2, rounds=round(40 * share), seed=1 + packed, name="bad.fits") > 15 * share - 2


@pytest.mark.parametrize("use", [_use_dl2, inspect_file])
def test_damaged_before_it_was_compressed(small_sample, tmp_path, use):
    """The checksum of gzip holds, the FITS file in it does not: a card of the first header is spoilt."""
    content, path = small_sample.dl2_events[0].read_bytes(), tmp_path / "bad.fits.gz"
    for place in (13, 18, 80 + 9, 2880 + 7, 2880 + 80 * 4 + 12):
        changed = content[:place] + b"$" + content[place + 1 :]
        path.write_bytes(gzip.compress(changed, 1))
        with limited(10), suppress(ProdconfError):
            use(path)


@pytest.mark.parametrize("name", DL2)
@QUARTER
def test_dl2_of_a_real_production(shared_data, tmp_path, name, share):
    content = (shared_data / "dl2" / name).read_bytes()
    assert (
        attack(tmp_path / "bad.fits", content, _use_dl2, rounds=round(12 * share), seed=3, name="bad.fits")
        > 2 * share - 2
    )


def _use_limits(path):
    looks_like_limits(path)
    limits_summary(read_limits(path))


@pytest.mark.parametrize("name", LIMITS)
@QUARTER
def test_limits(shared_data, tmp_path, name, share):
    content = (shared_data / "limits" / name).read_bytes()
    assert (
        attack(
            tmp_path / "bad.ecsv", content, _use_limits, rounds=round(50 * share), seed=4, text=True, name="bad.ecsv"
        )
        > 10 * share - 2
    )


@pytest.mark.parametrize("real", [False, True])
@QUARTER
def test_metrics(small_sample, request, tmp_path, real, share):
    source = (
        request.getfixturevalue("shared_data") / "configuration/metrics_v0.16.yml" if real else small_sample.metrics
    )
    content = source.read_bytes()
    assert (
        attack(
            tmp_path / "bad.yml", content, read_metrics, rounds=round(150 * share), seed=5, text=True, name="bad.yml"
        )
        > 50 * share - 2
    )


@QUARTER
def test_configuration(small_sample, tmp_path, share):
    content = small_sample.configuration.read_bytes()
    path = tmp_path / "bad.yml"
    assert (
        attack(path, content, read_configuration, rounds=round(200 * share), seed=6, text=True, name="bad.yml")
        > 50 * share - 2
    )


# --- the whole job on what can still be read --------------------------------------------------------------------------
def _plan(path):
    plan = plan_production(path.with_name("plan.yml"))
    assert plan.summary
    assert not np.isinf(plan.grid["n_events"]).any()


@pytest.mark.long
def test_plan_from_a_damaged_configuration(small_sample, tmp_path):
    for name in (small_sample.reduced_events[0], small_sample.dl2_events[0], small_sample.metrics):
        shutil.copy(name, tmp_path)
    plan = yaml.safe_load(small_sample.configuration.read_text())
    plan["grid"] = {"zenith": "20 deg", "azimuth": "0 deg", "nsb_level": 0.24}
    content = yaml.safe_dump(plan).encode()
    path = tmp_path / "plan.yml"
    path.write_bytes(content)
    plan_production(path)  # the undamaged plan is sound
    assert attack(path, content, _plan, rounds=25, seed=7, text=True) > 5


@pytest.mark.long
def test_plan_from_damaged_dl2(small_sample, tmp_path, shared_data):
    shutil.copy(shared_data / "limits/corsika_limits_v0.33.ecsv", tmp_path / "limits.ecsv")
    shutil.copy(small_sample.metrics, tmp_path / "metrics.yml")
    plan = {
        "limits_table": "limits.ecsv",
        "dl2_events": [{"files": "bad.fits", "nsb_level": 0.24}],
        "metrics": "metrics.yml",
        "sub_arrays": {"CTAO-North-Alpha": {}},
        "grid": {"zenith": "20 deg", "azimuth": "0 deg", "nsb_level": 0.24, "outside": "nearest"},
    }
    (tmp_path / "plan.yml").write_text(yaml.safe_dump(plan))
    content = small_sample.dl2_events[0].read_bytes()
    assert attack(tmp_path / "bad.fits", content, _plan, rounds=40, seed=8, name="bad.fits") > 5


@pytest.mark.long
def test_plan_from_damaged_limits(shared_data, tmp_path):
    plan = {"limits_table": "bad.ecsv", "sub_arrays": {"CTAO-North-Alpha": {}}}
    (tmp_path / "plan.yml").write_text(yaml.safe_dump(plan))
    content = (shared_data / "limits/corsika_limits_v0.33.ecsv").read_bytes()
    assert attack(tmp_path / "bad.ecsv", content, _plan, rounds=60, seed=9, text=True, name="bad.ecsv") > 10
