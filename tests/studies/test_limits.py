"""The study of limits against `LimitCalculator`, integration of what was thrown, and counting all events of a file."""

from itertools import product

import numpy as np
import pytest
import study_sample as shared
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from prodconf.core.errors import ProdconfError
from prodconf.derive_corsika_limits import LimitCalculator
from prodconf.events.sub_arrays import SubArray
from prodconf.events.triggered import triggered_blocks
from prodconf.formulas import power_law
from prodconf.formulas.loss_tails import TailLimit, Verdict
from prodconf.limits.pilots import LimitRequest, PilotLimits, PilotPoint
from prodconf.limits.production import derive_limits
from prodconf.studies.limits import limits_study, savings
from prodconf.studies.settings import StudySettings
from prodconf.toys.models import TELESCOPES

QUANTITIES = ("energy", "radius", "viewcone")
LARGE = TELESCOPES[:4]


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    return shared.sample_of(tmp_path_factory)


@pytest.fixture(scope="session")
def pilots(sample):
    return shared.read_once(sample)


def file_of(sample, name: str):
    """Return the file of triggers of a pilot."""
    zenith, azimuth = (word.split()[1].rstrip("°") for word in name.split(", ")[:2])
    return sample.parent / f"za{zenith}_az{azimuth}_nsb0.24.reduced.hdf5"


def all_events(path, telescopes=None, multiplicity=1) -> dict[str, np.ndarray]:
    """Return every triggered event of a file, its telescopes counted one by one."""
    found = {name: [] for name in QUANTITIES}
    for chunk in triggered_blocks(path):
        members = [i for i, name in enumerate(chunk.telescopes) if telescopes is None or name in telescopes]
        bits = np.unpackbits(chunk.masks.view(np.uint8).reshape(chunk.masks.shape[0], -1), axis=1, bitorder="little")
        keep = bits[:, members].sum(axis=1) >= multiplicity
        for name, column in (
            ("energy", chunk.energy),
            ("radius", chunk.positions[2]),
            ("viewcone", np.degrees(chunk.angular_distance)),
        ):
            found[name].append(column[keep])
    return {name: np.concatenate(parts) for name, parts in found.items()}


# ---------------------------------------------------------------- the same limits to the bit


@pytest.mark.parametrize(("telescopes", "sub_array"), [(None, "full array"), (LARGE, "large telescopes")])
@pytest.mark.parametrize("confidence", [0.68, 0.95])
def test_limits_are_those_of_the_calculator(sample, pilots, telescopes, sub_array, confidence):
    name = pilots.trigger_names[2]
    for multiplicity in (1, 4):
        calculator = LimitCalculator(
            file_of(sample, name),
            SubArray(sub_array, telescopes, multiplicity),
            request=LimitRequest(confidence=confidence, index=2.0),
        )
        for loss in (0.0, 1e-4, 1e-3, 0.0123, 0.05, 0.1):
            wanted = calculator.limits(loss)
            study = limits_study(
                pilots,
                StudySettings(
                    pilot=name,
                    sub_array=sub_array,
                    multiplicity=multiplicity,
                    loss_fraction=loss,
                    confidence=confidence,
                ),
            )
            for quantity in QUANTITIES:
                assert getattr(study.record, quantity) == getattr(wanted, quantity)  # value, interval, verdict, reason
            assert study.record.n_triggered == wanted.n_triggered
            assert study.record.notes == wanted.notes
            assert (study.settings.pilot, study.settings.multiplicity) == (name, multiplicity)
            assert (study.settings.loss_fraction, study.settings.confidence) == (loss, confidence)
            if loss <= 0.05:  # the calculator reads deeper tails for the joint loss of a large one
                assert study.share_lost == wanted.joint_guaranteed.fraction


def test_limits_are_those_of_a_production(sample, pilots):
    names = pilots.trigger_names
    sub_arrays = [SubArray("full array", None, 3), SubArray("large telescopes", LARGE, 2)]
    found = derive_limits(
        [file_of(sample, name) for name in names], sub_arrays, LimitRequest(loss_fraction=0.03, confidence=0.9)
    )
    records = {(one.point.zenith, one.point.azimuth, one.sub_array): one for one in found.pilots}
    assert len(records) == 8
    for name, one in product(names, sub_arrays):
        study = limits_study(
            pilots,
            StudySettings(
                pilot=name, sub_array=one.name, multiplicity=one.multiplicity, loss_fraction=0.03, confidence=0.9
            ),
        )
        wanted = records[study.record.point.zenith, study.record.point.azimuth, one.name]
        assert [getattr(study.record, q) for q in QUANTITIES] == [getattr(wanted, q) for q in QUANTITIES]


def test_defaults_are_the_plans(sample, pilots):
    study, plan = limits_study(pilots), shared.plan_once(sample)
    row = plan.limits[0]
    assert row["lower_energy_limit_guaranteed"].to_value("TeV") == study.record.energy.guaranteed
    assert row["upper_radius_limit_guaranteed"].to_value("m") == study.record.radius.guaranteed
    assert row["viewcone_radius_guaranteed"].to_value("deg") == study.record.viewcone.guaranteed
    assert (study.settings.loss_fraction, study.settings.confidence, study.settings.multiplicity) == (0.01, 0.95, 2)


# ---------------------------------------------------------------- what is saved and lost


def limit(value: float) -> TailLimit:
    return TailLimit(value, value, value, value, Verdict.OK, 3, 1000, 900.0, 1e-3, 0.95, 1e-3, "")


def record(energy, radius, viewcone, point=None) -> PilotLimits:
    """Make limits of a pilot that threw a ring and a hollow cone."""
    place = point or PilotPoint(20.0, 0.0, 0.24, 1, 2.0, (0.01, 100.0), (50.0, 1500.0), (1.0, 9.0))
    return PilotLimits(place, "a", energy, radius, viewcone, {}, 1000, 10_000)


@pytest.mark.parametrize("index", [1.0, 1.7, 2.0, 2.6])
def test_savings_are_integrals_of_what_was_thrown(index):
    found = savings(record(limit(0.035), limit(700.0), limit(4.0)), index)

    def share(function, low, cut, high):
        return integrate.quad(function, low, cut)[0] / integrate.quad(function, low, high)[0]

    assert found.energy == pytest.approx(share(lambda x: np.exp((1 - index) * x), *np.log([0.01, 0.035, 100])))
    assert found.area == pytest.approx(1 - share(lambda r: r, 50, 700, 1500))
    assert found.viewcone == pytest.approx(1 - share(np.sin, *np.radians([1, 4, 9])))
    assert found.together == pytest.approx(1 - (1 - found.energy) * (1 - found.area) * (1 - found.viewcone))


def test_savings_are_those_of_thrown_events():
    """A million thrown events; the share beyond any limit within five standard errors."""
    rng, n = np.random.default_rng(8), 1_000_000
    energy = power_law.sample(rng, n, index=2.2, energy_min=0.01, energy_max=100.0)
    radius = np.sqrt(rng.uniform(50.0**2, 1500.0**2, n))
    angle = np.degrees(np.arccos(rng.uniform(np.cos(np.radians(9)), np.cos(np.radians(1)), n)))
    beyond = {"energy": energy < 0.012, "area": radius > 1300.0, "viewcone": angle > 8.0}
    found = savings(record(limit(0.012), limit(1300.0), limit(8.0)), 2.2)
    shares = {name: one.mean() for name, one in beyond.items()}
    shares["together"] = np.any(list(beyond.values()), axis=0).mean()
    for name, share in shares.items():
        assert getattr(found, name) == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / n))


def test_savings_where_something_is_not_known():
    nowhere = PilotPoint(20.0, 0.0, 0.24)
    unknown = savings(record(limit(0.1), limit(500.0), limit(3.0), nowhere), 2.0)
    assert np.isnan([unknown.energy, unknown.area, unknown.viewcone, unknown.together]).all()
    half = savings(record(None, limit(50.0), None), 2.0)
    assert np.isnan([half.energy, half.viewcone]).all()
    assert half.area == half.together == 1.0
    point_like = PilotPoint(20.0, 0.0, 0.24, 1, 2.0, (0.01, 100.0), (0.0, 1500.0), (0.0, 0.0))
    assert np.isnan(savings(record(limit(0.1), limit(500.0), None, point_like), 2.0).viewcone)
    ends = savings(record(limit(0.001), limit(2000.0), limit(12.0)), 2.0)
    assert (ends.energy, ends.area, ends.viewcone) == (0.0, 0.0, 0.0)
    everything = savings(record(limit(1000.0), limit(10.0), limit(0.1)), 2.0)
    assert (everything.energy, everything.area, everything.viewcone) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("telescopes", "sub_array", "multiplicity"),
    [(None, "full array", 2), (None, "full array", 5), (LARGE, "large telescopes", 3)],
)
def test_the_share_lost_is_that_of_all_events_of_the_file(sample, pilots, telescopes, sub_array, multiplicity):
    for name in pilots.trigger_names:
        events = all_events(file_of(sample, name), telescopes, multiplicity)
        for loss in (1e-3, 0.02, 0.1):
            study = limits_study(
                pilots, StudySettings(pilot=name, sub_array=sub_array, multiplicity=multiplicity, loss_fraction=loss)
            )
            cut = {quantity: getattr(study.record, quantity).guaranteed for quantity in QUANTITIES}
            lost = (events["energy"] < cut["energy"]) | (events["radius"] > cut["radius"])
            lost |= events["viewcone"] > cut["viewcone"]
            assert study.record.n_triggered == lost.size
            assert study.share_lost == pytest.approx(lost.mean(), rel=1e-12)
            for quantity in QUANTITIES:  # and each of the limits alone loses no more than asked
                alone = events[quantity] < cut[quantity] if quantity == "energy" else events[quantity] > cut[quantity]
                assert alone.mean() <= loss


# ---------------------------------------------------------------- what must always hold


def width(record: PilotLimits, quantity: str, attribute: str) -> float:
    """Return how wide a limit is, so that a larger number loses less."""
    value = getattr(getattr(record, quantity), attribute)
    return -value if quantity == "energy" else value


LOSSES = st.floats(1e-4, 0.1)
SURE = st.floats(0.5, 0.999)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 3), st.integers(1, 4), st.booleans())
def test_a_larger_loss_or_a_lower_confidence_never_widens_a_limit(pilots, data, pilot, multiplicity, full):
    """But where the sample could first say nothing and then that the thrown range cuts the limit off."""
    losses, sure = sorted(data.draw(st.tuples(LOSSES, LOSSES))), sorted(data.draw(st.tuples(SURE, SURE)))
    chosen = {
        "pilot": pilots.trigger_names[pilot],
        "sub_array": "full array" if full else "large telescopes",
        "multiplicity": multiplicity,
    }
    pairs = [
        [
            limits_study(pilots, StudySettings(**chosen, loss_fraction=loss, confidence=sure[0])).record
            for loss in losses
        ],
        [
            limits_study(pilots, StudySettings(**chosen, loss_fraction=losses[0], confidence=one)).record
            for one in reversed(sure)
        ],
    ]
    for strict, loose in pairs:
        for quantity in QUANTITIES:
            verdicts = [str(getattr(one, quantity).verdict) for one in (strict, loose)]
            if verdicts == ["sample_limited", "truncated"]:
                continue
            for attribute in ("value", "guaranteed"):
                assert width(loose, quantity, attribute) <= width(strict, quantity, attribute)


def test_more_telescopes_asked_for_are_fewer_triggers(pilots):
    for sub_array, most in (("full array", 6), ("large telescopes", 4)):
        found = [
            limits_study(pilots, StudySettings(sub_array=sub_array, multiplicity=m)).record.n_triggered
            for m in range(1, most + 1)
        ]
        assert found == sorted(found, reverse=True)
        assert found[-1] > 0


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"loss_fraction": -0.1}, "loss_fraction must lie in"),
        ({"loss_fraction": 1.0}, "loss_fraction must lie in"),
        ({"loss_fraction": np.nan}, "loss_fraction"),
        ({"loss_fraction": "much"}, "loss_fraction"),
        ({"confidence": 0.0}, "confidence must lie in"),
        ({"confidence": 1.0}, "confidence must lie in"),
        ({"pilot": "zenith 30°"}, "pilot must be one of zenith 20°"),
        ({"sub_array": "none"}, "sub_array must be one of full array; large telescopes"),
        ({"sub_array": "large telescopes", "multiplicity": 5}, "multiplicity of 'large telescopes' must be one of"),
        ({"multiplicity": "two"}, "multiplicity"),
    ],
)
def test_bad_questions_are_refused_in_one_sentence(pilots, asked, words):
    with pytest.raises(ProdconfError, match=words) as caught:
        limits_study(pilots, StudySettings(**asked))
    assert "\n" not in str(caught.value)


def test_a_sub_array_that_never_triggered_says_so(sample, tmp_path):
    arrays = {"some": {"telescopes": [*LARGE], "multiplicity": 2}, "absent": {"telescopes": ["XST-01"]}}
    pilots = shared.read_pilots(shared.changed(sample, tmp_path, sub_arrays=arrays, dl2_events=None))
    with pytest.raises(ProdconfError, match="XST-01"):
        limits_study(pilots, StudySettings(sub_array="absent"))
    assert limits_study(pilots, StudySettings(sub_array="some")).record.n_triggered > 0
