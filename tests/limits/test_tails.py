"""event_tails against keeping and counting everything, exact sums, and toys of the union of three cuts."""

import math
import pickle
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError
from prodconf.formulas.loss_tails import CapacityError, TailSummary
from prodconf.limits.tails import ENERGY_EDGES, QUANTITIES, EventTails
from prodconf.toys.models import union_loss

NUMBER = st.one_of(st.sampled_from([0.5, 1.0, 2.0]), st.floats(1e-7, 1e7))
EVENT = st.tuples(
    NUMBER,
    st.one_of(NUMBER, st.just(-0.0), st.just(0.0)),
    st.one_of(st.sampled_from([0.0, -0.0, 1.0]), st.floats(0, 180)),
    st.sampled_from([1.0, 1.0, 1.0, 0.0, 0.3, 2.5, 5e-10]),
    st.integers(0, 4),
)
EVENTS = st.lists(EVENT, max_size=50)
EDGES = [1e-3, 0.7, 1.0, 2.0]


def collect(events, capacity, *, chunk=None, radius=True, **options):
    """Summarise events, some at a time."""
    tails = EventTails(capacity=capacity, **options)
    step = chunk or max(len(events), 1)
    for start in range(0, len(events), step):
        energy, far, wide, weight, shower = (
            np.array(column) for column in zip(*events[start : start + step], strict=True)
        )
        tails.add(energy, far if radius else None, wide, weight=weight, shower=shower)
    return tails


@given(EVENTS, st.integers(1, 12), st.integers(1, 9), st.data())
def test_any_partition_order_and_chunk_give_the_same_bits(events, capacity, chunk, data):
    whole = collect(events, capacity, slice_edges=EDGES)
    shuffled = data.draw(st.permutations(events))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=5)))
    pieces = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    parts = [collect(piece, capacity, chunk=chunk, slice_edges=EDGES) for piece in pieces]
    left, right = reduce(add, parts), reduce(lambda a, b: b + a, reversed(parts))
    assert left == right == whole == collect(shuffled, capacity, chunk=1, slice_edges=EDGES)
    for one, other in zip(left.events, whole.events, strict=True):
        assert one.tobytes() == other.tobytes()
    assert pickle.loads(pickle.dumps(left)) == whole
    if events:
        assert left != collect(events, capacity + 1, slice_edges=EDGES)


@given(EVENTS, st.integers(1, 12), st.data())
def test_one_event_without_distance_gives_the_radius_up_in_any_order(events, capacity, data):
    known = data.draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    parts = [collect([event], capacity, radius=good) for event, good in zip(events, known, strict=True)]
    whole = reduce(add, parts, EventTails(capacity=capacity))
    backwards = reduce(add, parts[::-1], EventTails(capacity=capacity))
    assert whole == backwards
    lost = any(event[3] > 0 and not good for event, good in zip(events, known, strict=True))
    assert ("radius" in whole.quantities) == (not lost)
    if lost:
        with pytest.raises(ProdconfError, match="must be one of energy, viewcone, got 'radius'"):
            whole.tail("radius")
        two = EventTails(capacity=capacity, quantities=("energy", "viewcone"))
        plain = collect(events, capacity, quantities=("energy", "viewcone"))
        assert (two + plain).events.energy.tolist() == whole.events.energy.tolist()


@given(EVENTS, st.integers(1, 12))
def test_tails_and_sums_are_those_of_all_events(events, capacity):
    tails = collect(events, capacity, chunk=7)
    kept = [event for event in events if event[3] > 0]
    columns = [np.array(column) for column in zip(*kept, strict=True)] or [np.zeros(0)] * 4 + [np.zeros(0, dtype=int)]
    for name, values in zip(QUANTITIES, columns, strict=False):
        expected = TailSummary.from_values(
            values, QUANTITIES[name], capacity=capacity, weights=columns[3], labels=columns[4]
        )
        assert tails.tail(name) == expected
    assert tails.sum_weights == pytest.approx(math.fsum(event[3] for event in kept), rel=1e-12)


@given(EVENTS)
def test_bins_hold_the_sums_of_weights(events):
    tails = collect(events, 5, chunk=3)
    bins = [[] for _ in range(ENERGY_EDGES.size - 1)]
    for energy, *_, weight, _ in events:
        bins[int(np.clip(np.searchsorted(ENERGY_EDGES, energy, side="right") - 1, 0, len(bins) - 1))].append(weight)
    np.testing.assert_allclose(tails.counts, [math.fsum(held) for held in bins], rtol=1e-12)
    np.testing.assert_allclose(tails.counts_squared, [math.fsum(w * w for w in held) for held in bins], rtol=1e-12)


def test_the_grid_is_a_twentieth_of_a_decade():
    np.testing.assert_allclose(np.log10(ENERGY_EDGES), np.arange(-120, 121) / 20, atol=4.3e-4)
    at = EventTails(capacity=5)
    at.add(ENERGY_EDGES[:-1], None, np.zeros(240), shower=np.arange(240))
    assert at.counts.tolist() == [1.0] * 240  # an edge belongs to the bin above it
    below = EventTails(capacity=5)
    below.add(np.nextafter(ENERGY_EDGES[1:], 0), None, np.zeros(240), shower=np.arange(240))
    assert below.counts.tolist() == [1.0] * 240


def many(rng, n, *, weighted=False):
    """Events of showers that are used several times, with ties in energy and angle, as in files."""
    shower = rng.integers(0, n // 3, n)
    energy, viewcone = rng.lognormal(-2, 1.5, n // 3)[shower], np.round(rng.rayleigh(2, n // 3), 2)[shower]
    weight = rng.exponential(size=n) if weighted else np.ones(n)
    return energy, rng.rayleigh(200, n), viewcone, weight, shower


def added(tails, columns, order, size):
    for start in range(0, order.size, size):
        energy, radius, viewcone, weight, shower = (column[order[start : start + size]] for column in columns)
        tails.add(energy, radius, viewcone, weight=weight, shower=shower)
    return tails


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("capacity", [50, 3000])
def test_many_events_in_blocks_of_any_size(weighted, capacity):
    """Buffers fill, thresholds work, and nothing that counts is lost."""
    rng = np.random.default_rng(7)
    columns = many(rng, 150_000, weighted=weighted)
    whole = added(EventTails(capacity=capacity), columns, np.arange(150_000), 150_000)
    for size in (1_000, 40_000):
        assert added(EventTails(capacity=capacity), columns, rng.permutation(150_000), size) == whole
    parts = [
        added(EventTails(capacity=capacity), columns, part, 9_999)
        for part in np.array_split(rng.permutation(150_000), 5)
    ]
    assert reduce(add, parts) == whole
    for name, values in zip(QUANTITIES, columns, strict=False):
        assert whole.tail(name) == TailSummary.from_values(
            values, QUANTITIES[name], capacity=capacity, weights=columns[3], labels=columns[4]
        )


def test_a_point_source_ties_in_every_angle():
    n = 60_000
    tails = EventTails(capacity=100)
    for start in range(0, n, 5_000):
        energy = np.random.default_rng(start).lognormal(size=5_000)
        tails.add(energy, energy, np.full(5_000, 0.5), shower=np.arange(start, start + 5_000))
    assert tails.tail("viewcone").labels.tolist() == list(range(100))
    assert len(pickle.dumps(tails)) < 60_000


@settings(max_examples=60)
@given(st.lists(EVENT, min_size=1, max_size=60), st.floats(0, 5), st.floats(0, 1e7), st.floats(0, 180))
def test_the_union_is_counted_like_by_hand(events, energy, radius, viewcone):
    kept = [event for event in events if event[3] > 0]
    if not kept:
        return
    tails, cuts = collect(events, 100), {"energy": energy, "radius": radius, "viewcone": viewcone}
    for names in (["energy"], ["radius", "viewcone"], list(QUANTITIES)):
        given_cuts = {name: cuts[name] for name in names}
        lost = [
            event
            for event in kept
            if ("energy" in names and event[0] < energy)
            or ("radius" in names and event[1] > radius)
            or ("viewcone" in names and event[2] > viewcone)
        ]
        joint = tails.joint_loss(**given_cuts)
        assert joint.n_lost == len(lost)
        share = math.fsum(event[3] for event in lost) / tails.sum_weights
        assert joint.fraction == pytest.approx(share, rel=1e-12)
        assert joint.fraction <= joint.bound * (1 + 1e-9) <= 1 + 1e-9


def test_the_union_does_not_depend_on_the_capacity():
    rng = np.random.default_rng(3)
    columns = many(rng, 30_000, weighted=True)
    everything = added(EventTails(capacity=30_000), columns, np.arange(30_000), 30_000)
    cuts = {name: float(everything.tail(name).values[200]) for name in QUANTITIES}
    expected = everything.joint_loss(**cuts)
    found = added(EventTails(capacity=450), columns, rng.permutation(30_000), 1_000).joint_loss(**cuts)
    assert vars(found) == pytest.approx(vars(expected), rel=1e-12)
    with pytest.raises(CapacityError, match="capacity must be larger than 201") as refused:
        added(EventTails(capacity=201), columns, np.arange(30_000), 1_000).joint_loss(**cuts)
    assert refused.value.needed == 402


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_the_bound_of_the_union_holds_in_toys(correlation):
    """800 toys of 3000 events; the true loss of three cuts at order statistics against 10^6 events."""
    rng, n, toys, beyond = np.random.default_rng(11), 3000, 800, 5

    def throw(size):
        common = rng.normal(size=size)
        parts = rng.normal(size=(3, size))
        return np.sqrt(correlation) * common + np.sqrt(1 - correlation) * parts

    truth = throw(1_000_000)
    far = [row[row > 2.2] for row in truth]
    rows = truth[:, (truth > 2.2).any(axis=0)]
    assert all(len(row) > 10_000 for row in far)
    broken, covered = 0, []
    for _ in range(toys):
        values = throw(n)
        tails = EventTails(capacity=200)
        tails.add(np.exp(-values[0]), values[1] + 10, values[2] + 10, shower=np.arange(n))
        cut = [np.sort(row)[-beyond - 1] for row in values]
        joint = tails.joint_loss(energy=float(np.exp(-cut[0])), radius=cut[1] + 10, viewcone=cut[2] + 10)
        assert min(cut) > 2.2
        true_loss = (rows > np.array(cut)[:, None]).any(axis=0).sum() / truth.shape[1]
        broken += true_loss > joint.bound
        covered.append(joint.fraction)
    assert broken / toys <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / toys)
    if correlation == 0:
        assert np.mean(covered) == pytest.approx(union_loss(beyond / n), rel=0.02)


def test_slices_are_summaries_of_their_own():
    rng = np.random.default_rng(5)
    columns = many(rng, 20_000)
    tails = added(EventTails(capacity=300, slice_edges=[0.01, 0.1, 1.0]), columns, np.arange(20_000), 999)
    for one, low, high in zip(tails.slices, (0.01, 0.1), (0.1, 1.0), strict=True):
        inside = (columns[0] >= low) & (columns[0] < high)
        assert one.n_events == inside.sum()
        assert one.quantities == ("radius", "viewcone")
        assert np.array_equal(one.tail("radius").values, np.sort(columns[1][inside])[::-1][:300])
    edge = EventTails(capacity=3, slice_edges=[0.1, 1.0])
    edge.add([0.1, 1.0], [1.0, 2.0], [1.0, 1.0], shower=[1, 2])
    assert edge.slices[0].n_events == 2


GOOD = EventTails(capacity=3)
GOOD.add([1.0, 2.0], [3.0, 4.0], [0.1, 0.2], shower=[1, 2])


def add_to_new(*columns, **options):
    EventTails(capacity=3).add(*columns, **options)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: EventTails(capacity=0), "capacity must be a whole number above 0, got 0"),
        (lambda: EventTails(capacity=3, quantities=("mass",)), "quantities must be some of energy, radius, viewcone"),
        (lambda: EventTails(capacity=3, slice_edges=[1.0]), "slice_edges must be at least two increasing numbers"),
        (lambda: EventTails(capacity=3, slice_edges=[2.0, 1.0]), "slice_edges must be at least two increasing"),
        (lambda: add_to_new([np.nan], [1.0], [1.0], shower=[1]), "energy must be finite, got nan"),
        (lambda: add_to_new([1.0], [np.inf], [1.0], shower=[1]), "radius must be finite, got inf"),
        (lambda: add_to_new([1.0, 1.0], [1.0, 1.0], [np.inf, -np.inf], shower=[1, 1]), "viewcone must be finite"),
        (lambda: add_to_new([0.0], [1.0], [1.0], shower=[1]), "energy must be positive, got 0"),
        (lambda: add_to_new([1.0], [1.0], [1.0], shower=[1.5]), "shower must be whole numbers"),
        (lambda: add_to_new([1.0], [1.0, 2.0], [1.0], shower=[1]), "must be lists of one length"),
        (lambda: add_to_new([1.0], [1.0], [1.0], weight=[-1.0], shower=[1]), "weight must not be negative"),
        (lambda: add_to_new([1.0], [1.0], [1.0], weight=[1e200], shower=[1]), "weight must be 0 or lie in"),
        (lambda: GOOD + EventTails(capacity=4), "one capacity and the same quantities"),
        (lambda: GOOD + EventTails(capacity=3, quantities=("energy",)), "one capacity and the same quantities"),
        (lambda: GOOD + EventTails(capacity=3, slice_edges=[1, 2]), "same slice_edges"),
        (lambda: GOOD.tail("mass"), "quantity must be one of energy, radius, viewcone, got 'mass'"),
        (lambda: EventTails(capacity=3).joint_loss(energy=1.0), "at least one event"),
        (lambda: GOOD.joint_loss(energy=1.0, confidence=95), "confidence must lie in"),
    ],
)
def test_bad_input_is_one_clear_sentence(call, words):
    with pytest.raises(ProdconfError, match=words):
        call()


def test_no_cut_loses_nothing_and_others_are_not_summaries():
    joint = GOOD.joint_loss()
    assert (joint.n_lost, joint.fraction, joint.n_events) == (0, 0.0, 2)
    assert GOOD != "a summary"
    with pytest.raises(TypeError):
        GOOD + 1
