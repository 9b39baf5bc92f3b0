"""Write event files for the benchmark of the limits: one use per shower, in the layouts of v0.16 and v0.36."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from prodconf.formulas.loss_tails import minimum_triggers
from prodconf.sky.shower_frame import angular_distance, core_distance, offset_direction, shower_to_ground

N_TELESCOPES = 13
NAMES = [f"LSTN-{k:02d}" for k in range(1, 5)] + [f"MSTN-{k:02d}" for k in range(1, 10)]
ENERGY, RADIUS, CONE = (0.003, 330.0), 1900.0, 10.0  # TeV, m, deg
ALTITUDE, AZIMUTH = np.deg2rad(70.0), np.pi
PIECE = 1_000_000

OLD_SHOWER = np.dtype(
    [(name, "<f4") for name in ("area_weight", "shower_altitude", "shower_azimuth")]
    + [("shower_id", "<i4")]
    + [(name, "<f4") for name in ("simulated_energy", "x_core", "y_core")]
)
OLD_TRIGGER = np.dtype(
    [("array_altitudes", "<f4"), ("array_azimuths", "<f4"), ("telescope_list_index", "<i4"), ("triggered_id", "<i4")]
)
KEYS = [(name, "<u4") for name in ("shower_id", "event_id", "file_id")]
SHOWER = np.dtype(
    KEYS
    + [
        (name, "<f8")
        for name in ("simulated_energy", "x_core", "y_core", "shower_azimuth", "shower_altitude", "area_weight")
    ]
)
LISTS = [("telescope_list", "S103"), ("telescope_list_common_id", "S31")]
TRIGGER = np.dtype([*KEYS, ("array_altitude", "<f8"), ("array_azimuth", "<f8"), *LISTS])
UNITS = {
    "simulated_energy": "TeV",
    "x_core": "m",
    "y_core": "m",
    "shower_azimuth": "deg",
    "shower_altitude": "deg",
    "array_altitude": "deg",
    "array_azimuth": "deg",
    "energy_min": "TeV",
    "energy_max": "TeV",
    "viewcone_min": "deg",
    "viewcone_max": "deg",
    "core_scatter_min": "m",
    "core_scatter_max": "m",
    "zenith": "deg",
    "azimuth": "deg",
}


@dataclass
class Piece:
    """Showers of one piece, the rows that triggered, and which telescopes did (bool, one row per trigger)."""

    first: int
    energy: np.ndarray
    x: np.ndarray
    y: np.ndarray
    azimuth: np.ndarray
    altitude: np.ndarray
    triggered: np.ndarray
    telescopes: np.ndarray


def draw(rows: int, seed: int = 4):
    """Yield pieces; about 3 % of the showers trigger, single precision as in the old layout."""
    rng = np.random.default_rng(seed)
    for first in range(0, rows, PIECE):
        n = min(PIECE, rows - first)
        energy = ENERGY[0] / (1 - rng.random(n) * (1 - ENERGY[0] / ENERGY[1]))
        radius, angle = RADIUS * np.sqrt(rng.random(n)), 2 * np.pi * rng.random(n)
        offset = np.arccos(1 - rng.random(n) * (1 - np.cos(np.deg2rad(CONE))))
        azimuth, altitude = offset_direction(AZIMUTH, ALTITUDE, offset, 2 * np.pi * rng.random(n))
        azimuth, altitude = (x.astype(np.float32).astype(np.float64) for x in (azimuth, altitude))
        x, y = shower_to_ground(radius * np.cos(angle), radius * np.sin(angle), azimuth, altitude)
        chance = 0.8 * np.minimum(1, (energy / 0.006) ** 1.2) * np.exp(-((radius / 700) ** 2) - np.rad2deg(offset) / 6)
        triggered = np.flatnonzero(rng.random(n) < chance * 0.95)
        number = 2 + np.minimum(rng.poisson(1.5, len(triggered)), N_TELESCOPES - 2)
        rank = rng.random((len(triggered), N_TELESCOPES)).argsort(axis=1).argsort(axis=1)
        columns = (v.astype(np.float32).astype(np.float64) for v in (energy, x, y))
        yield Piece(first, *columns, azimuth, altitude, triggered, rank < number[:, None])


def exact_limits(rows: int, losses: float, selections: list[list[int] | None]) -> list[tuple]:
    """Return lowest energy (TeV), largest radius (m) and cone (deg) by sorting all triggered events of the draw."""
    values, masks = [], []
    for piece in draw(rows):
        at = piece.triggered
        x, y, azimuth, altitude = (v[at] for v in (piece.x, piece.y, piece.azimuth, piece.altitude))
        pointing = np.float32(AZIMUTH), np.float32(ALTITUDE)
        angle = angular_distance(azimuth, altitude, *(np.full(len(at), float(v)) for v in pointing))
        values.append([piece.energy[at], core_distance(x, y, azimuth, altitude), np.rad2deg(angle)])
        masks.append(piece.telescopes)
    energy, radius, cone = (np.concatenate(v) for v in zip(*values, strict=True))
    telescopes, found = np.concatenate(masks), []
    for chosen in selections:
        keep = telescopes[:, [k - 1 for k in chosen]].any(axis=1) if chosen else np.ones(len(energy), dtype=bool)
        k = int(losses * keep.sum() * (1 + 1e-12)) if keep.sum() >= minimum_triggers(losses) else 0  # sample-limited
        found.append((np.sort(energy[keep])[k], np.sort(radius[keep])[::-1][k], np.sort(cone[keep])[::-1][k]))
    return found


def _append(dataset: h5py.Dataset, rows: np.ndarray) -> None:
    """Add rows to a dataset."""
    dataset.resize(len(dataset) + len(rows), axis=0)
    dataset[len(dataset) - len(rows) :] = rows


def write_old(path: Path, rows: int, seed: int = 4) -> None:
    """Write the layout of v0.16, chunks and filters as in the sample file of that version."""
    packed = {"shuffle": True, "compression": "gzip", "compression_opts": 5, "maxshape": (None,)}
    with h5py.File(path, "w") as file:
        showers = file.create_dataset("data/reduced_data", (0,), OLD_SHOWER, chunks=(2340,), **packed)
        triggers = file.create_dataset("data/triggered_data", (0,), OLD_TRIGGER, chunks=(4096,), **packed)
        lists = file.create_dataset(
            "data/trigger_telescope_list_list", (0,), h5py.vlen_dtype(np.int16), chunks=(32768,), maxshape=(None,)
        )
        kind = np.dtype([("file_names", "S256")])
        names = file.create_dataset("data/file_names", (1,), kind, chunks=(256,), **packed)
        names[0] = (f"gamma_20deg_180deg_run{seed:06d}___cta-prod6_dark.simtel.zst".encode(),)
        for piece in draw(rows, seed):
            n, at = len(piece.energy), piece.triggered
            values = np.zeros(n, OLD_SHOWER)
            values["area_weight"], values["shower_id"] = 1, piece.first + np.arange(n)
            values["simulated_energy"], values["x_core"], values["y_core"] = piece.energy, piece.x, piece.y
            values["shower_azimuth"], values["shower_altitude"] = piece.azimuth, piece.altitude
            _append(showers, values)
            values = np.zeros(len(at), OLD_TRIGGER)
            values["array_altitudes"], values["array_azimuths"] = ALTITUDE, AZIMUTH
            values["telescope_list_index"] = len(triggers) + np.arange(len(at))
            values["triggered_id"] = piece.first + at
            _append(triggers, values)
            values = np.empty(len(at), dtype=object)
            values[:] = [(np.flatnonzero(row) + 1).astype(np.int16) for row in piece.telescopes]
            _append(lists, values)


def write_new(path: Path, rows: int, seed: int = 4) -> None:
    """Write the layout of v0.36, chunks and filters as in the sample file of that version."""
    packed = {"shuffle": True, "compression": "gzip", "compression_opts": 6, "maxshape": (None,)}
    with h5py.File(path, "w") as file:
        showers = file.create_dataset("SHOWERS", (0,), SHOWER, chunks=(128,), **packed)
        triggers = file.create_dataset("TRIGGERS", (0,), TRIGGER, chunks=(64,), **packed)
        _write_info(file, seed, packed)
        for piece in draw(rows, seed):
            n, at = len(piece.energy), piece.triggered
            values = np.zeros(n, SHOWER)
            values["shower_id"], values["area_weight"] = piece.first + np.arange(n) + 1, 1
            values["event_id"] = values["shower_id"] * 100
            values["simulated_energy"], values["x_core"], values["y_core"] = piece.energy, piece.x, piece.y
            values["shower_azimuth"], values["shower_altitude"] = map(np.rad2deg, (piece.azimuth, piece.altitude))
            _append(showers, values)
            keys, values = values[at], np.zeros(len(at), TRIGGER)
            for name, _ in KEYS:
                values[name] = keys[name]
            values["array_altitude"], values["array_azimuth"] = (
                np.rad2deg(float(np.float32(v))) for v in (ALTITUDE, AZIMUTH)
            )
            chosen = [np.flatnonzero(row) for row in piece.telescopes]
            values["telescope_list"] = [",".join(NAMES[k] for k in row) for row in chosen]
            values["telescope_list_common_id"] = [",".join(str(k + 1) for k in row) for row in chosen]
            _append(triggers, values)
        for table in (showers, triggers, file["FILE_INFO"]):
            table.attrs.update({f"{c}_unit": UNITS[c] for c in table.dtype.names if c in UNITS})
        file.attrs["simtools_write_status"] = "complete"


def _write_info(file: h5py.File, seed: int, packed: dict) -> None:
    """Write what was thrown."""
    values = {
        "energy_min": ENERGY[0],
        "energy_max": ENERGY[1],
        "viewcone_min": 0.0,
        "viewcone_max": CONE,
        "core_scatter_min": 0.0,
        "core_scatter_max": RADIUS,
        "zenith": 20.0,
        "azimuth": 180.0,
        "nsb_level": 0.24,
    }
    kind = [("file_name", "S64"), ("file_id", "<u4"), ("run_number", "<u4"), ("particle_id", "<u4")]
    kind += [("spectral_index", "<f8")] + [(name, "<f8") for name in values]
    row = (f"gamma_run{seed:06d}.simtel.zst".encode(), 0, seed, 1, -2.0, *values.values())
    file.create_dataset("FILE_INFO", data=np.array([row], dtype=np.dtype(kind)), chunks=(1,), **packed)
