"""Geometry against astropy's rotations and CORSIKA's own definition of the scatter disc."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from prodconf.sky.shower_frame import angular_distance, core_distance, offset_direction, shower_to_ground, solid_angle


def test_core_distance_is_the_cross_product_with_the_axis():
    rng = np.random.default_rng(5)
    x, y = rng.normal(0, 1000, (2, 1000))
    az, alt = rng.uniform(0, 2 * np.pi, 1000), rng.uniform(0.3, np.pi / 2, 1000)
    axis = np.stack([np.cos(alt) * np.cos(az), -np.cos(alt) * np.sin(az), np.sin(alt)], axis=1)
    core = np.stack([x, y, np.zeros_like(x)], axis=1)
    expected = np.linalg.norm(np.cross(core, axis), axis=1)
    np.testing.assert_allclose(core_distance(x, y, az, alt), expected, rtol=1e-9, atol=1e-6)


def test_scatter_disc_of_a_real_file_ends_at_its_radius(shared_data):
    import h5py

    with h5py.File(shared_data / "reduced_events" / "run202_proton_za20deg_v0.17.hdf5") as file:
        rows = file["SHOWERS"][:]
        radius = file["FILE_INFO"]["core_scatter_max"].max()
    distance = core_distance(rows["x_core"], rows["y_core"], rows["shower_azimuth"], rows["shower_altitude"])
    assert 0.999 * radius < distance.max() <= radius * (1 + 1e-5)
    assert np.hypot(rows["x_core"], rows["y_core"]).max() > 1.1 * radius


def test_angles_agree_with_astropy():
    rng = np.random.default_rng(6)
    az, alt = rng.uniform(-np.pi, 3 * np.pi, (2, 500)), rng.uniform(-1.5, 1.5, (2, 500))
    one, two = (SkyCoord(a * u.rad, h * u.rad) for a, h in zip(az, alt, strict=True))
    np.testing.assert_allclose(angular_distance(az[0], alt[0], az[1], alt[1]), one.separation(two).rad, rtol=1e-10)
    step, angle = rng.uniform(0, 3, 500), rng.uniform(0, 2 * np.pi, 500)
    reference = one.directional_offset_by(angle * u.rad, step * u.rad)
    ours = offset_direction(az[0], alt[0], step, angle)
    np.testing.assert_allclose(angular_distance(*ours, reference.ra.rad, reference.dec.rad), 0, atol=1e-9)


def test_ground_points_lie_on_the_axis_through_the_shower_plane():
    rng = np.random.default_rng(7)
    along, across = rng.normal(0, 500, (2, 200))
    az, alt = rng.uniform(0, 2 * np.pi, 200), rng.uniform(0.4, 1.5, 200)
    x, y = shower_to_ground(along, across, az, alt)
    np.testing.assert_allclose(core_distance(x, y, az, alt), np.hypot(along, across), rtol=1e-9)


def test_solid_angle_of_a_ring():
    assert solid_angle(np.pi / 2, np.pi / 3) == pytest.approx(2 * np.pi * 0.5)
