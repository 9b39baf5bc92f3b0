"""One question in several commands: the same number where the same is thrown, and the stated factors where not."""

import json
import re
from dataclasses import dataclass

import numpy as np
import pytest
from astropy.table import QTable

from prodconf.limits.table import write_limits

NUMBER = r"([\d.e+-]+)"
THROWN = (
    rf"{NUMBER}(?: \+- {NUMBER})?(?: in the whole spectrum)? "
    rf"\(E\^-{NUMBER} from {NUMBER} to {NUMBER} TeV, cores within {NUMBER} m, directions within {NUMBER} deg\)"
)
NOT_HELD = "Energies of the targets that are not held to them"


@dataclass(frozen=True)
class Answer:
    """A number of events, as a command prints it, and what it is thrown into."""

    events: float
    index: float
    energy: tuple[float, float]
    radius: float
    viewcone: float


def answer_in(text):
    """Read the only number of events that a text states with what it is for."""
    (found,) = re.findall(THROWN, " ".join(re.sub(r"^\* ?.*$", "", text, flags=re.MULTILINE).split()))
    events, _, index, low, high, radius, cone = found
    return Answer(float(events), float(index), (float(low), float(high)), float(radius), float(cone))


def factor(one, other, design, n_use):
    """Return N'/N = (R'/R)² (1 - cos)'/(1 - cos) × (integral of the spectrum)'/(..) × D'/D, D' = 1 + (D - 1)(R/R')²."""
    disc = (other.radius / one.radius) ** 2
    cone = (1 - np.cos(np.radians(other.viewcone))) / (1 - np.cos(np.radians(one.viewcone)))
    spectra = [1 / answer.energy[0] - 1 / answer.energy[1] for answer in (other, one)]
    grown = min(1 + (design - 1) / disc, n_use)
    return disc * cone * spectra[0] / spectra[1] * grown / design


@pytest.fixture
def place(small_sample):
    """The first pilot, its targets, and what both are called by the commands."""
    from prodconf.events.dl2 import DL2File

    file = DL2File(small_sample.dl2_events[0])
    return small_sample.dl2_events[0], small_sample.metrics, file


@pytest.fixture
def asked(run, place, small_plan, tmp_path):
    """Answers of all commands at the first pilot, and what they printed."""
    path, metrics, file = place
    plan, _ = small_plan
    rows = plan.production
    near = (np.abs(rows["zenith"].value - float(file.zenith)) < 0.1) & (
        np.abs((rows["azimuth"].value - float(file.azimuth) + 180) % 360 - 180) < 0.1
    )
    own = rows[near][0]
    columns = ("zenith", "azimuth", "nsb_level", "lower_energy_limit", "upper_radius_limit", "viewcone_radius")
    table = QTable({name: [own[name]] for name in columns} | {"array_name": ["production"]})
    write_limits(table, tmp_path / "limits.ecsv")
    template = path.name
    calls = {
        "evaluate": (path, "-m", metrics),
        "config": (path, "-m", metrics, "--particle", "gamma"),
        "config --limits": (path, "-m", metrics, "--particle", "gamma", "--limits", tmp_path / "limits.ecsv"),
        "statistics": (
            *("--base-path", path.parent, "--file-name-template", template, "--zenith", f"{file.zenith:g}"),
            *("-m", metrics, "--query-point", "1", f"{file.azimuth:g}", f"{file.zenith:g}", "-", "-"),
            *("-o", tmp_path / "statistics.json"),
        ),
    }
    texts = {}
    for name, call in calls.items():
        status, out, _ = run(name.split()[0], *call)
        assert status == 0
        texts[name] = out
    return {name: answer_in(text) for name, text in texts.items()}, texts, own


def test_what_is_thrown_is_what_is_said(asked, place):
    answers, _, own = asked
    file = place[2]
    pilots = (file.energy_range, file.core_scatter_max, file.viewcone_max)
    for name in ("evaluate", "config", "statistics"):
        said = answers[name]
        assert (said.energy, said.radius, said.viewcone) == (
            pytest.approx(pilots[0], rel=5e-3),
            pytest.approx(pilots[1], rel=5e-4),
            pytest.approx(pilots[2], rel=5e-3),
        )
    said = answers["config --limits"]
    assert said.radius == pytest.approx(own["upper_radius_limit"].to_value("m"), rel=5e-4)
    assert said.viewcone == pytest.approx(own["viewcone_radius"].to_value("deg"), rel=5e-3)
    assert said.energy[0] == pytest.approx(own["lower_energy_limit"].to_value("TeV"), rel=5e-3)
    assert {answer.index for answer in answers.values()} == {2.0}


def test_the_same_thrown_is_the_same_number(asked):
    answers = asked[0]
    assert answers["evaluate"] == answers["config"] == answers["statistics"]


def test_another_disc_and_cone_are_the_stated_factors(asked, place):
    answers, texts, own = asked
    (deciding,) = [line.split() for line in texts["evaluate"].splitlines() if line.endswith("decides")]
    design, n_use = float(deciding[3]), place[2].header.n_use
    expected = factor(answers["evaluate"], answers["config --limits"], design, n_use)
    found = answers["config --limits"].events / answers["evaluate"].events
    assert found == pytest.approx(expected, rel=0.03)  # three digits each, and two of the design effect
    assert answers["config --limits"].events == pytest.approx(float(own["n_events"]), rel=5e-3)


def test_energies_that_are_not_held_are_named_alike(asked, small_plan):
    _, texts, _ = asked
    lines = {
        name: [line.strip() for line in text.splitlines() if line.strip().startswith(NOT_HELD)]
        for name, text in texts.items()
    }
    assert all(len(line) == 1 for line in lines.values())
    assert lines["evaluate"] == lines["config"] == lines["statistics"]
    assert [sentence for sentence in small_plan[0].summary if sentence.startswith(NOT_HELD)]


def test_the_files_hold_what_is_said(asked, tmp_path):
    answers, _, _ = asked
    document = json.loads((tmp_path / "statistics.json").read_text())
    records = document["records"]
    assert records["total"]["value"][0] == pytest.approx(answers["statistics"].events, rel=5e-3)
    assert records["thrown_core_max"] == {"value": [answers["statistics"].radius], "unit": "m"}
