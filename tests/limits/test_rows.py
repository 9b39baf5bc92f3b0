"""Tables of limits: what goes in comes out, rounding goes outward, and the meta says what was asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from prodconf.core.errors import ProdconfError
from prodconf.events.groups import PilotPoint
from prodconf.events.sub_arrays import SubArray
from prodconf.formulas.loss_tails import TailLimit, Verdict
from prodconf.limits.pilots import LimitCurve, LimitCurves, LimitRequest, PilotLimits
from prodconf.limits.rows import (
    LIMIT_COLUMNS,
    curves_table,
    inputs_meta,
    limits_lines,
    limits_meta,
    limits_table,
    skipped_meta,
    sub_arrays_meta,
)
from prodconf.limits.table import SEVERITY, read_limits, write_limits
from prodconf.limits.tails import JointLoss

POINT = PilotPoint(20.0, 180.0, 0.24, 1, 2.0, (0.003, 330.0), (0.0, 1900.0), (0.0, 10.0))


def limit(value, guaranteed, verdict=Verdict.OK, *, n_effective=9000.0, high=None):
    """One limit with an interval around it."""
    return TailLimit(
        value=value,
        guaranteed=guaranteed,
        interval_low=0.9 * value,
        interval_high=1.1 * value if high is None else high,
        verdict=verdict,
        n_tail=10,
        n_events=10_000,
        n_effective=n_effective,
        loss_fraction=1e-3,
        confidence=0.95,
        loss_bound=1e-3,
        reason="because: it is so, and 'quoted'",
    )


def pilot(point=POINT, name="alpha", *, energy=(0.0123, 0.0119), radius=(1310.2, 1333.0), cone=(9.6, 9.83)):
    """A record with three limits."""
    return PilotLimits(
        point=point,
        sub_array=name,
        energy=limit(*energy),
        radius=limit(*radius),
        viewcone=limit(*cone),
        tails={},
        n_triggered=10_000,
        n_simulated=10**6,
        joint=JointLoss(25, 10_000, 0.0025, 0.0036, 0.95, 9000.0),
        joint_guaranteed=JointLoss(3, 10_000, 0.0003, 0.0008, 0.95, 9000.0),
    )


def test_every_cell_is_that_of_the_record(tmp_path):
    dark = replace(POINT, nsb_level=None, nsb_label="dark", layout="alpha-2", particle_id=14, index=None)
    records = [
        pilot(),
        replace(pilot(name="LSTs"), radius=limit(1400.0, 1500.0, Verdict.SAMPLE_LIMITED, n_effective=7.0, high=np.inf)),
        replace(pilot(dark), viewcone=None, joint=None, joint_guaranteed=None, notes=("no cone",)),
    ]
    table = limits_table(records, primary="muon", loss_fraction=1e-3)
    assert table["production_index"].tolist() == [0, 0, 1]
    assert table["primary_particle"].tolist() == ["gamma", "gamma", "proton"]
    assert table["nsb_label"].tolist() == ["", "", "dark"]
    assert table["layout"].tolist() == ["", "", "alpha-2"]
    for name, (quantity, unit) in LIMIT_COLUMNS.items():
        for row, record in zip(table, records, strict=True):
            found = getattr(record, quantity)
            if found is None:
                assert row[f"{name}_verdict"] == "undetermined"
                assert np.isnan(row[name].value)
                continue
            assert (row[name], row[f"{name}_guaranteed"]) == (found.value * unit, found.guaranteed * unit)
            assert row[f"{name}_low"] == found.interval_low * unit
            assert row[f"{name}_verdict"] == found.verdict
            assert row[f"{name}_reason"] == found.reason
            assert (row[f"{name}_loss_fraction"], row[f"{name}_loss_bound"]) == (1e-3, 1e-3)
    assert np.isnan(table["upper_radius_limit_high"][1])  # an open interval is not known upwards
    assert table["n_effective"].tolist() == [9000.0, 7.0, 9000.0]
    assert table["joint_n_lost"].tolist() == [25, 25, -1]
    assert np.array_equal(table["spectral_index"], [2, 2, np.nan], equal_nan=True)
    assert table.meta["pilot_notes"] == ["no cone"]
    write_limits(table, tmp_path / "limits.ecsv")
    again = read_limits(tmp_path / "limits.ecsv")
    for name in table.colnames:
        old, new = (np.asarray(getattr(t[name], "value", t[name])) for t in (table, again))
        assert np.array_equal(old, new, equal_nan=old.dtype.kind == "f"), name
    assert {**table.meta, "generation": "v0.33"} == again.meta


def test_a_wanted_spectrum_is_the_one_that_losses_refer_to():
    table = limits_table([pilot()], primary="", loss_fraction=0.01, spectral_index=2.7)
    assert table["spectral_index"].tolist() == [2.7]
    assert table.meta["loss_fraction_core_distance"] == 0.01
    with pytest.raises(ProdconfError, match="pilots must hold the limits of at least one sub-array"):
        limits_table([], primary="", loss_fraction=0.01)


def test_meta_has_the_names_of_the_newest_generation(shared_data):
    losses = {"energy": 1e-3, "radius": 2e-3, "viewcone": 3e-3}
    meta = limits_meta(LimitRequest(losses, energy_rule="peak", peak_fraction=0.01, min_lost_events=10))
    newest = read_limits(shared_data / "limits" / "corsika_limits_v0.33.ecsv").meta
    assert {key for key in newest if "fraction" in key or "loss" in key} <= set(meta)
    assert (meta["loss_fraction_core_distance"], meta["loss_fraction_angular_distance"]) == (2e-3, 3e-3)
    assert (meta["loss_min_events_core_distance"], meta["energy_threshold_fraction"]) == (10, 0.01)
    assert "loss_fraction_energy" not in meta
    assert limits_meta(LimitRequest(losses))["loss_fraction_energy"] == 1e-3


def test_a_budget_replaces_the_loss_fractions():
    meta = limits_meta(LimitRequest(budget=0.004))
    assert meta["loss_budget"] == 0.004
    assert not any(key.startswith("loss_fraction") for key in meta)


def test_slices_with_triggers_have_a_row():
    radius = LimitCurve(*np.array([[700.0, np.nan, 900.0]] * 4), ("ok", "", "truncated"), np.array([900, 0, 70]))
    curves = LimitCurves((0.01, 0.1, 1.0, 10.0), radius, None)
    table = curves_table([pilot(), replace(pilot(name="LSTs"), curves=curves)], primary="")
    assert table["array_name"].tolist() == ["LSTs", "LSTs"]
    assert table["energy_min"].to_value("TeV").tolist() == [0.01, 1.0]
    assert table["energy_max"].to_value("TeV").tolist() == [0.1, 10.0]
    assert table["upper_radius_limit_verdict"].tolist() == ["ok", "truncated"]
    assert table["n_triggered"].tolist() == [900, 70]
    assert table["viewcone_radius_verdict"].tolist() == ["undetermined"] * 2
    with pytest.raises(ProdconfError, match="no slice of energy"):
        curves_table([pilot()], primary="")


def test_inputs_are_named_with_size_and_on_request_with_checksum(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert inputs_meta([tmp_path / "a"]) == [{"file": "a", "bytes": 3}]
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, example B.1
    assert inputs_meta([tmp_path / "a"], checksums=True)[0]["sha256"] == known


def test_definitions_and_skipped_files_are_plain():
    meta = sub_arrays_meta([SubArray("a", ("LSTN-01", "LSTN-02"), 2, {"LSTN": 2}), SubArray("b")])
    assert meta == {
        "a": {"telescopes": ["LSTN-01", "LSTN-02"], "multiplicity": 2, "stereo": {"LSTN": 2}},
        "b": {"telescopes": "all", "multiplicity": 1},
    }
    skipped = skipped_meta({Path("z/b.hdf5"): "is damaged", Path("a.hdf5"): "is empty"})
    assert skipped == [{"file": "a.hdf5", "reason": "is empty"}, {"file": "b.hdf5", "reason": "is damaged"}]


def test_lines_show_limits_verdicts_and_reasons():
    worse = replace(pilot(name="1mst"), energy=limit(0.01, 0.01, Verdict.TRUNCATED), viewcone=None)
    lines = limits_lines(limits_table([pilot(), worse], primary="", loss_fraction=1e-3))
    assert lines[1].split()[:8] == ["gamma", "alpha", "20", "180", "0.24", "0.0123", "(0.0119)", "ok"]
    assert "0.01 truncated" in lines[2]
    assert lines[3] == "    lower_energy_limit: because: it is so, and 'quoted'"
    assert len(lines) == 4
    short = limits_lines(limits_table([pilot(), worse], primary="", loss_fraction=1e-3), most=1)
    assert (len(short), short[-1]) == (3, "... and 1 more rows")


def test_new_columns_are_checked_when_read(tmp_path):
    table = limits_table([pilot()], primary="", loss_fraction=1e-3)
    for name, value in [("joint_loss", 1.5), ("upper_radius_limit_loss_bound", -0.1), ("spectral_index", 21.0)]:
        bad = QTable(table, copy=True)
        bad[name] = [value]
        with pytest.raises(ProdconfError, match=f"column {name}: must be in"):
            write_limits(bad, tmp_path / "bad.ecsv")
    assert set(SEVERITY) >= {str(verdict) for verdict in Verdict}
    assert table["lower_energy_limit"].unit == u.TeV
