"""Interpolation between pilots: published series, closed forms, a second implementation."""

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from prodconf.errors import ProdconfError
from prodconf.grid_coordinates import PilotPoints, grid_weights, interpolate, leave_one_out


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
    with pytest.raises(ProdconfError, match="outside the pilots"):
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
        (([20.0, 30], [1, 2, 3], 1), "must fit together"),
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
    z, a, b = lattice([20, 40, 52, 60], [0, 180], [1.0])
    true, found = np.cos(np.deg2rad(z)) ** -1.7, []
    for _ in range(200):
        noisy = true * np.exp(0.1 * rng.normal(size=z.size))
        plain, clean = (
            leave_one_out(PilotPoints(z, a, b), noisy, sigma=s, transform="log") for s in (None, 0.1 * noisy)
        )
        found.append((plain["zenith"], clean["zenith"]))
    plain, clean = np.mean(np.square(found), axis=0)
    assert plain == pytest.approx(0.1**2 * 1.5, rel=0.15)  # own variance and that of two neighbours
    assert clean < 0.4 * plain  # the positive part of what fluctuates around zero
