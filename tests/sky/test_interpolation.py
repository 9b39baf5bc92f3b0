"""Interpolation between pilots: published series, closed forms, a second implementation."""

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from prodconf.core.errors import OutsideError, ProdconfError
from prodconf.sky.interpolation import (
    PilotPoints,
    carry,
    find_nodes,
    grid_weights,
    interpolate,
    leave_one_out,
    left_out_weights,
    make_field,
)


def lattice(zenith, azimuth, nsb):
    return np.array([(z, a, b) for z in zenith for a in azimuth for b in nsb]).T


def test_published_radii_are_predicted_better_in_ln_sec_z(shared_data):
    table = Table.read(shared_data / "limits" / "corsika_limits_v0.33.ecsv", format="ascii.ecsv")
    nodes = np.array([20.0, 40.0, 52.0, 60.0])
    errors = {"smooth": [], "straight": []}
    for key in table.group_by(["array_name", "azimuth", "nsb_level"]).groups:
        radius = key["upper_radius_limit"][np.argsort(key["zenith"])]
        for i in (1, 2):
            rest = np.delete(np.arange(4), i)
            smooth, _ = interpolate(grid_weights(PilotPoints(nodes[rest], 0, 1), nodes[i], 0, 1), radius[rest])
            errors["smooth"].append(smooth[0] / radius[i] - 1)
            errors["straight"].append(np.interp(nodes[i], nodes[rest], radius[rest]) / radius[i] - 1)
    rms = {k: 100 * np.sqrt(np.mean(np.reshape(v, (-1, 2)) ** 2, axis=0)) for k, v in errors.items()}
    assert len(errors["smooth"]) == 48
    assert rms["smooth"] == pytest.approx([2.70, 1.89], abs=0.01)
    assert rms["straight"] == pytest.approx([9.37, 3.61], abs=0.01)


def test_agrees_with_scipy_on_a_lattice_in_the_same_coordinates():
    zenith, nsb = np.array([20.0, 40, 52, 60]), np.array([0.24, 0.84, 2.0])
    points = PilotPoints(*lattice(zenith, [0.0], nsb))
    rng = np.random.default_rng(3)
    values = rng.random(12)
    log_sec = -np.log(np.cos(np.deg2rad(zenith)))
    reference = RegularGridInterpolator((log_sec, np.log(nsb)), values.reshape(4, 3))
    ask_z, ask_b = rng.uniform(20, 60, 50), rng.uniform(0.24, 2.0, 50)
    ours, _ = interpolate(grid_weights(points, ask_z, 0.0, ask_b), values)
    expected = reference(np.column_stack([-np.log(np.cos(np.deg2rad(ask_z))), np.log(ask_b)]))
    np.testing.assert_allclose(ours, expected, rtol=1e-10)


def test_plane_in_the_coordinates_is_exact_for_scattered_pilots():
    rng = np.random.default_rng(4)
    z, b = rng.uniform(20, 60, 30), rng.uniform(0.2, 2, 30)
    z[:4], b[:4] = [20, 20, 60, 60], [0.2, 2, 0.2, 2]
    points = PilotPoints(z, 0.0, b)
    assert not points.is_lattice
    plane = lambda z, b: 3 - 2 * np.log(np.cos(np.deg2rad(z))) + 0.5 * np.log(b)  # noqa: E731
    ask_z, ask_b = rng.uniform(21, 59, 40), rng.uniform(0.21, 1.9, 40)
    np.testing.assert_allclose(
        interpolate(grid_weights(points, ask_z, 0.0, ask_b), plane(z, b))[0], plane(ask_z, ask_b), rtol=1e-9
    )


@settings(max_examples=60, deadline=None)
@given(st.floats(20, 60), st.floats(-720, 720), st.floats(0.24, 0.84))
def test_weights_are_shares_and_azimuth_has_no_seam(zenith, azimuth, nsb):
    points = PilotPoints(*lattice([20, 40, 60], [0, 90, 180, 270], [0.24, 0.84]))
    one = grid_weights(points, zenith, azimuth, nsb).matrix.toarray()
    turned = grid_weights(points, zenith, azimuth + 360, nsb).matrix.toarray()
    assert one.min() >= 0
    assert one.sum() == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(one, turned, atol=1e-6)


def test_every_pilot_is_returned_at_its_own_place():
    z, a, b = lattice([20.000008, 40, 52, 60], [0.0, 180.0], [0.24, 0.84])
    values = np.arange(z.size, dtype=float)
    ours, _ = interpolate(grid_weights(PilotPoints(z, a, b), z, a, b), values)
    np.testing.assert_allclose(ours, values, atol=1e-9)


def test_azimuths_of_both_sides_of_north_are_one_node():
    assert PilotPoints([20, 40], [359.99, 0.01], 1.0).shape == (2, 1, 1)


def test_sigma_of_the_middle_of_two_equal_pilots_is_halved_in_quadrature():
    middle = np.rad2deg(np.arccos(np.sqrt(np.cos(np.deg2rad(20)) * np.cos(np.deg2rad(60)))))
    weights = grid_weights(PilotPoints([20, 60], 0, 1), middle, 0, 1)
    value, sigma = interpolate(weights, [10.0, 10.0], sigma=[1.0, 1.0])
    assert value[0] == pytest.approx(10)
    assert sigma[0] == pytest.approx(1 / np.sqrt(2))


def test_an_undetermined_pilot_spreads_only_to_its_neighbours():
    points = PilotPoints([20, 40, 60], 0, 1)
    value, _ = interpolate(grid_weights(points, [20, 30, 50], 0, 1), [1.0, 2.0, np.nan])
    assert np.isfinite(value).tolist() == [True, True, False]
    assert grid_weights(points, [20, 30, 50], 0, 1).worst([0, 0, 2]).tolist() == [0, 0, 2]


def test_gap_wider_than_half_a_turn_is_outside():
    points = PilotPoints(*lattice([20, 40], [0, 60], [1.0]))
    with pytest.raises(OutsideError, match="outside the pilots"):
        grid_weights(points, 30, 200, 1)
    near = grid_weights(points, 20, [200, 300], 1, outside="nearest")
    assert near.outside.tolist() == [True, True]
    assert interpolate(near, points.azimuth)[0].tolist() == [60.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([20, 20], 0, 1), "more than one at zenith 20 deg"),
        (([90.0], 0, 1), "zenith must lie in"),
        (([np.nan], 0, 1), "zenith must be finite"),
        (([20.0], 0, 0), "nsb_level must be positive"),
        (([20.0, 30], [1, 2, 3], 1), "fit together"),
    ],
)
def test_bad_pilots_are_named(arguments, message):
    with pytest.raises(ProdconfError, match=message):
        PilotPoints(*arguments)


def test_leave_one_out_of_a_power_of_sec_z_is_zero_in_logarithms():
    z, a, b = lattice([20, 40, 52, 60], [0, 180], [1.0])
    values = np.cos(np.deg2rad(z)) ** -1.7
    assert leave_one_out(PilotPoints(z, a, b), values, transform="log") == {"zenith": pytest.approx(0, abs=1e-12)}


def test_leave_one_out_does_not_count_the_noise_of_the_pilots():
    rng = np.random.default_rng(10)
    points = PilotPoints(*lattice([20, 40, 52, 60], [0, 180], [1.0]))
    true, found = np.cos(np.deg2rad(points.zenith)) ** -1.7, []
    for _ in range(100):
        noisy = true * np.exp(0.1 * rng.normal(size=8))
        plain, clean = (leave_one_out(points, noisy, sigma=s, transform="log") for s in (None, 0.1 * noisy))
        found.append((plain["zenith"], clean["zenith"]))
    plain, clean = np.mean(np.square(found), axis=0)
    assert plain == pytest.approx(0.1**2 * 1.5, rel=0.15)  # own variance and that of two neighbours
    assert clean < 0.4 * plain  # the positive part of what fluctuates around zero


OFFSETS = np.array([0.0, 0.5, 1.5, 4.0])


def camera():
    return np.array([(z, a, o) for z in (20.0, 40.0, 60.0) for a in (0.0, 180.0) for o in OFFSETS]).T


def test_offset_is_a_fourth_axis_linear_in_solid_angle():
    zenith, azimuth, offset = camera()
    points = PilotPoints(zenith, azimuth, 0.24, offset=offset)
    assert points.shape == (3, 2, 1, 4)
    assert points.is_lattice
    rng = np.random.default_rng(5)
    values = rng.random(24)
    log_sec = -np.log(np.cos(np.deg2rad([20.0, 40.0, 60.0])))
    reference = RegularGridInterpolator((log_sec, [0.0, 1.0], 1 - np.cos(np.deg2rad(OFFSETS))), values.reshape(3, 2, 4))
    z, a, o = rng.uniform(20, 60, 60), rng.uniform(0, 180, 60), rng.uniform(0, 4, 60)
    share = (1 - np.cos(np.deg2rad(a))) / 2
    expected = reference(np.column_stack([-np.log(np.cos(np.deg2rad(z))), share, 1 - np.cos(np.deg2rad(o))]))
    ours, _ = interpolate(grid_weights(points, z, a, 0.24, offset=o), values)
    np.testing.assert_allclose(ours, expected, rtol=1e-9)
    back, _ = interpolate(grid_weights(points, zenith, azimuth, 0.24, offset=offset), values)
    assert back.tolist() == values.tolist()


def test_scattered_pilots_with_offsets_reproduce_a_plane():
    zenith, azimuth, offset = (column[:-1] for column in camera())
    points = PilotPoints(zenith[azimuth == 0], 0.0, 0.24, offset=offset[azimuth == 0])
    keep = np.arange(len(points)) != 5
    points = points.chosen(keep)
    assert not points.is_lattice
    plane = lambda z, o: 2 - np.log(np.cos(np.deg2rad(z))) - 30 * (1 - np.cos(np.deg2rad(o)))  # noqa: E731
    ask = np.array([25.0, 33.0, 45.0]), np.array([0.3, 1.0, 2.0])
    ours, _ = interpolate(grid_weights(points, ask[0], 0, 0.24, offset=ask[1]), plane(points.zenith, points.offset))
    np.testing.assert_allclose(ours, plane(*ask), rtol=1e-9)


def test_offset_is_never_dropped():
    flat = PilotPoints([20, 40], 0.0, 0.24, offset=1.0)
    with pytest.raises(OutsideError, match=r"offset 2 deg is outside the pilots \(.*offset 1 deg\)"):
        grid_weights(flat, 30, 0, 0.24, offset=2.0)
    with pytest.raises(ProdconfError, match="offset must be given: the pilots have one"):
        grid_weights(flat, 30, 0, 0.24)
    with pytest.raises(ProdconfError, match="offset must not be given: the pilots have none"):
        grid_weights(PilotPoints([20, 40], 0.0, 0.24), 30, 0, 0.24, offset=0.0)
    near = grid_weights(flat, [20, 20], 0, 0.24, offset=[1.0, 7.0], outside="nearest")
    assert near.outside.tolist() == [False, True]
    with pytest.raises(ProdconfError, match="offset must lie in"):
        PilotPoints([20, 40], 0.0, 0.24, offset=-1.0)
    with pytest.raises(ProdconfError, match=r"more than one at .*offset 1 deg"):
        PilotPoints([20, 20], 0.0, 0.24, offset=[1.0, 1.01])


def test_nodes_of_offsets_are_found_within_the_tolerance():
    nodes, labels = find_nodes([20, 20, 20], 0.0, 1.0, offset=[0.5, 0.50001, 3.0])
    assert [node.size for node in nodes] == [1, 1, 1, 2]
    assert labels[3].tolist() == [0, 0, 1]


def test_weights_of_what_is_left_out_never_hold_it():
    zenith, azimuth, offset = camera()
    points = PilotPoints(zenith, azimuth, 0.24, offset=offset)
    found = list(left_out_weights(points))
    assert [axis for axis, _, _ in found] == ["zenith", "offset", "offset"]
    for _, out, weights in found:
        dense = weights.matrix.toarray()
        assert dense.shape == (out.size, len(points))
        assert np.all(dense[:, out] == 0)
        np.testing.assert_allclose(dense.sum(axis=1), 1)
    loss = 1 - 40 * (1 - np.cos(np.deg2rad(offset)))
    assert leave_one_out(points, loss) == {axis: pytest.approx(0, abs=1e-12) for axis in ("zenith", "offset")}


def test_leave_one_out_is_that_of_the_single_weights():
    """Against the weights of the pilots that are left."""
    zenith, azimuth, offset = camera()
    points = PilotPoints(zenith, azimuth, 0.24, offset=offset)
    values = np.random.default_rng(13).uniform(1, 2, 24)
    squares = {}
    for axis, out, weights in left_out_weights(points):
        squares.setdefault(axis, []).extend((weights.matrix @ values / values[out] - 1) ** 2)
    expected = {axis: pytest.approx(np.sqrt(np.mean(parts)), rel=1e-12) for axis, parts in squares.items()}
    assert leave_one_out(points, values) == expected


def test_a_field_is_carried_with_its_error_and_its_worst_verdict():
    nodes, radius = np.array([20.0, 45.0, 60.0]), np.array([1000.0, 1100.0, 2000.0])
    x = -np.log(np.cos(np.deg2rad(nodes)))
    predicted = np.interp(x[1], x[[0, 2]], radius[[0, 2]])
    points = PilotPoints(nodes, 0, 1)
    field = make_field(points, radius, sigma=[10.0, 20.0, 30.0], severity=[0, 3, 1], transform="linear")
    expected = (predicted / 1100 - 1) ** 2  # less what the uncertainties explain
    t = (x[1] - x[0]) / (x[2] - x[0])
    expected -= (((1 - t) * 10) ** 2 + (t * 30) ** 2 + (predicted * 20 / 1100) ** 2) / 1100**2
    assert field.error == pytest.approx(np.sqrt(expected))
    value, sigma, severity = carry(grid_weights(points, [20, 30, 45], 0, 1), field)
    w = (-np.log(np.cos(np.deg2rad(30))) - x[0]) / (x[1] - x[0])
    assert value[1] == pytest.approx(1000 + 100 * w)
    assert sigma[[0, 2]].tolist() == [10, 20]
    assert sigma[1] == pytest.approx(np.sqrt(((1 - w) * 10) ** 2 + (w * 20) ** 2 + (value[1] * field.error) ** 2))
    assert severity.tolist() == [0, 3, 3]


# ---------------------------------------------------------------- scattered pilots


def holed():
    columns = lattice([20.0, 40, 52, 60], [0, 180], [0.24, 0.84])
    return [column[1:] for column in columns]


def test_scattered_weights_do_not_depend_on_the_order_of_the_pilots():
    rng = np.random.default_rng(14)
    columns, values = holed(), rng.random(15)
    query = rng.uniform(40, 60, 300), rng.uniform(0, 360, 300), rng.uniform(0.24, 0.84, 300)
    found = interpolate(grid_weights(PilotPoints(*columns), *query), values)[0]
    for _ in range(5):
        order = rng.permutation(15)
        shuffled = PilotPoints(*(column[order] for column in columns))
        np.testing.assert_allclose(interpolate(grid_weights(shuffled, *query), values[order])[0], found, rtol=1e-9)


def test_scattered_weights_always_add_up():
    rng = np.random.default_rng(15)
    query = rng.uniform(20, 60, 5000), rng.uniform(-360, 720, 5000), rng.uniform(0.24, 0.84, 5000)
    weights = grid_weights(PilotPoints(*holed()), *query, outside="nearest")
    np.testing.assert_allclose(np.asarray(weights.matrix.sum(axis=1)).ravel(), 1, atol=1e-8)
    assert 0 < weights.outside.mean() < 0.2


def test_scattered_ends_have_the_tolerance_of_a_lattice():
    columns = holed()
    columns[0] = columns[0] + 8e-6
    points = PilotPoints(*columns)
    assert not grid_weights(points, [20.0, 60.04], 180, [0.24, 0.84]).outside.any()
    assert grid_weights(points, 60.06, 180, 0.84, outside="nearest").outside.all()


def test_scattered_gap_wider_than_half_a_turn_is_outside():
    """Between the only azimuth at a zenith and itself, all the way round, nothing is known."""
    points = PilotPoints(*holed())
    near = grid_weights(points, 20, [0, 90, 180, 270], 0.24, outside="nearest")
    assert near.outside.tolist() == [True, True, False, True]
    two = PilotPoints([20, 20, 40], [0, 60, 0], 1)
    assert grid_weights(two, 20, [30, 200, 330], 1, outside="nearest").outside.tolist() == [False, True, True]
