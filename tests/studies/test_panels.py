"""Panels without a browser: widgets are moved, and what is shown is what the plain function returns, or one message."""

import logging
import re
from html.parser import HTMLParser

import ipywidgets as widgets
import pytest
import study_sample as shared
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from prodconf.core.errors import ProdconfError
from prodconf.jobs.cost import COST_UNITS, CostModel, cost_entry, read_cost_model
from prodconf.limits.table import write_limits
from prodconf.studies import panels as study_panels
from prodconf.studies.allocation import allocation_study
from prodconf.studies.grid import grid_study
from prodconf.studies.limits import limits_study
from prodconf.studies.panels import (
    Answer,
    Control,
    FileRow,
    Studio,
    _Switched,
    message_html,
    sentences_html,
    table_html,
)
from prodconf.studies.settings import StudySettings, load_settings
from prodconf.studies.statistics import statistics_study

STUDIES = {
    "limits": limits_study,
    "statistics": statistics_study,
    "allocation": allocation_study,
    "grid": grid_study,
}
HOSTILE = "<script>alert('x')</script>"


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    return shared.sample_of(tmp_path_factory)


@pytest.fixture(scope="session")
def pilots(sample):
    return shared.read_once(sample)


@pytest.fixture(scope="module")
def shared_studio(pilots, tmp_path_factory):
    """A studio that tests may move, each from the settings of the plan."""
    return Studio(pilots, folder=tmp_path_factory.mktemp("studies"))


@pytest.fixture
def studio(shared_studio):
    shared_studio.tabs.selected_index = 0
    if shared_studio.settings != StudySettings() or shown(shared_studio).study is None:
        shared_studio.use(StudySettings())
    return shared_studio


class Cells(HTMLParser):
    """Collect the cells of tables, and everything that a page must not hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        self._open = tag in ("td", "th")
        if self._open:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._open = False

    def handle_data(self, data):
        if self._open:
            self.rows[-1][-1] += data


def shown(studio: Studio) -> Answer:
    """Return the answer of the panel that is seen."""
    return list(studio.panels.values())[studio.tabs.selected_index].answer


def check(studio: Studio) -> None:
    """Check that the panel shows the answer of the plain function, or one message and no figure."""
    name = list(studio.panels)[studio.tabs.selected_index]
    function = STUDIES[name]
    answer = shown(studio)
    assert "Traceback" not in answer.words.value
    assert "should not have happened" not in answer.words.value
    study, message = None, ""
    try:
        study = function(studio.pilots, studio.settings)
    except ProdconfError as error:
        message = str(error)
    if study is None:
        assert answer.study is None
        assert answer.words.value == message_html(message)
        assert answer.words.value.count("<p") == 1
        assert "\n" not in message
        assert answer.figure.value == ""
        return
    assert [tuple(row) for row in Cells(answer.words.value).rows] == study.table
    assert answer.figure.value.startswith("<svg")
    assert 'role="img"' in answer.figure.value
    assert answer.study is not None


def choose_tab(studio: Studio, name: str) -> None:
    studio.tabs.selected_index = list(studio.panels).index(name)


# ---------------------------------------------------------------- what is shown


def test_all_tabs_show_the_plan(studio):
    for name, function in STUDIES.items():
        choose_tab(studio, name)
        check(studio)
        assert studio.panels[name].answer.study.table == function(studio.pilots).table


def ends_of(widget) -> list:
    """Return the ends of a widget and some odd values between."""
    if isinstance(widget, widgets.FloatLogSlider):
        return [widget.base**widget.min, widget.base**widget.max, widget.base ** ((widget.min + widget.max) / 2)]
    if isinstance(widget, (widgets.FloatRangeSlider,)):
        low, high = widget.min, widget.max
        middle = (low + high) / 2
        return [(low, high), (low, low), (high, high), (middle, high), (21, 22)]
    if isinstance(widget, widgets.SelectionRangeSlider):
        values = [value for _, value in widget._options_full]
        pairs = [(0, -1), (0, 0), (-1, -1), (3, 4)]
        return [(values[i], values[j]) for i, j in pairs]
    if isinstance(widget, (widgets.Dropdown, widgets.SelectionSlider)):
        return [value for _, value in widget._options_full]
    if isinstance(widget, (widgets.FloatSlider, widgets.IntSlider)):
        middle = (widget.min + widget.max) // 2
        return [widget.min, widget.max, middle, widget.min + 1, widget.max - 1]
    if isinstance(widget, _Switched):
        return [*ends_of(widget.number.widget)[:3], widget.off]
    return [None, {"seconds_per_shower": "1e12 s"}, {"bytes_per_event": "0.001 byte"}]


CONTROLS = {
    "limits": ("sub_array", "multiplicity", "loss_fraction", "confidence"),
    "statistics": ("target", "energy_range", "spectral_index", "radius", "viewcone", "n_use", "cost"),
    "allocation": ("target", "slices", "index", "budget", "n_use", "cost"),
    "grid": ("density", "zenith", "azimuth"),
}


def test_the_controls_are_these(studio):
    assert {name: tuple(panel.controls) for name, panel in studio.panels.items()} == CONTROLS


@pytest.mark.parametrize(("tab", "name"), [(tab, name) for tab, names in CONTROLS.items() for name in names])
def test_every_control_at_its_ends_gives_an_answer_or_one_message(studio, tab, name):
    choose_tab(studio, tab)
    control = studio.panels[tab].controls[name]
    for value in ends_of(control.widget):
        before = control.widget.value
        control.widget.value = value
        if control.widget.value != before:
            assert getattr(studio.settings, name) == control.setting
        check(studio)


def test_an_end_that_cannot_be_answered_leaves_no_old_figure(studio):
    choose_tab(studio, "statistics")
    radius = studio.panels["statistics"].controls["radius"].widget
    radius.value = 600
    assert shown(studio).figure.value
    radius.value = 0
    assert shown(studio).study is None
    assert (shown(studio).figure.value, "radius must be above 0" in shown(studio).words.value) == ("", True)
    radius.value = 500
    check(studio)
    assert shown(studio).study.settings.radius == 500


@settings(max_examples=5, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(CONTROLS)), st.integers(0, 6), st.integers(0, 6)), max_size=4))
def test_any_sequence_of_moves(shared_studio, moves):
    shared_studio.use(StudySettings())
    for tab, which, value in moves:
        choose_tab(shared_studio, tab)
        controls = list(shared_studio.panels[tab].controls.values())
        control = controls[which % len(controls)]
        values = ends_of(control.widget)
        control.widget.value = values[value % len(values)]
        check(shared_studio)


def test_every_pilot_can_be_chosen(studio, pilots):
    for name in pilots.trigger_names:
        studio.pilot.widget.value = name
        for tab in STUDIES:
            choose_tab(studio, tab)
            check(studio)
        assert studio.panels["limits"].answer.study.settings.pilot == name


def test_a_hidden_tab_is_answered_when_it_is_seen(studio):
    choose_tab(studio, "grid")
    before = studio.panels["grid"].answer.study.n_events
    choose_tab(studio, "limits")
    studio.panels["limits"].controls["loss_fraction"].widget.value = 0.1
    choose_tab(studio, "grid")
    check(studio)
    assert studio.panels["grid"].answer.study.n_events < before


def test_controls_show_what_the_plan_takes(studio):
    for tab in STUDIES:
        choose_tab(studio, tab)
    controls = {name: one for panel in studio.panels.values() for name, one in panel.controls.items()}
    assert controls["loss_fraction"].widget.value == pytest.approx(0.01)
    assert controls["confidence"].widget.value == 0.95
    assert controls["multiplicity"].widget.value == 2
    assert controls["target"].widget.value == pytest.approx(0.05)
    assert controls["n_use"].widget.value == shared.N_USE
    study = studio.panels["statistics"].answer.study
    assert controls["viewcone"].widget.value == pytest.approx(study.settings.viewcone, abs=0.06)
    assert controls["radius"].widget.value == pytest.approx(study.settings.radius, abs=6)
    assert controls["zenith"].widget.value == pytest.approx((20, 60), abs=1)
    assert studio.settings == StudySettings()  # showing is not setting


@pytest.mark.parametrize("tab", STUDIES)
def test_as_planned_follows_the_plan_again(studio, tab):
    choose_tab(studio, tab)
    panel = studio.panels[tab]
    planned = panel.answer.study.table
    for control in panel.controls.values():
        values = ends_of(control.widget)
        control.widget.value = values[2 % len(values)]
    assert studio.settings != StudySettings()
    panel.reset.click()
    assert all(getattr(studio.settings, name) is None for name in panel.controls)
    check(studio)
    assert panel.answer.study.table == planned


def test_as_planned_keeps_the_other_panels_settings(studio):
    studio.use(StudySettings(loss_fraction=0.05, density=0.01))
    studio.panels["grid"].reset.click()
    assert studio.settings == StudySettings(loss_fraction=0.05)


def test_another_sub_array_keeps_the_multiplicity_possible(studio):
    controls = studio.panels["limits"].controls
    controls["multiplicity"].widget.value = 6
    check(studio)
    assert shown(studio).study.settings.multiplicity == 6
    controls["sub_array"].widget.value = "large telescopes"
    check(studio)
    assert shown(studio).study is not None
    assert controls["multiplicity"].widget.max == 4
    assert controls["multiplicity"].widget.value == shown(studio).study.settings.multiplicity == 2
    controls["multiplicity"].widget.value = 4
    check(studio)
    controls["sub_array"].widget.value = "full array"
    assert controls["multiplicity"].widget.max == 6
    check(studio)


def test_costs_are_shown_when_they_are_known(studio):
    choose_tab(studio, "statistics")
    fields = studio.panels["statistics"].controls["cost"].widget.fields
    assert "CPU hours" not in shown(studio).words.value
    fields["seconds_per_shower"].value = 12.5
    fields["bytes_per_event"].value = 1e4
    check(studio)
    assert studio.settings.cost == {"seconds_per_shower": "12.5 s", "bytes_per_event": "10000.0 byte"}
    assert "CPU hours" in shown(studio).words.value
    choose_tab(studio, "grid")
    check(studio)
    assert "storage" in shown(studio).words.value
    for one in fields.values():
        one.value = 0.0
    assert studio.settings.cost is None
    check(studio)


def test_every_number_of_a_cost_model_has_a_field(studio):
    choose_tab(studio, "statistics")
    widget = studio.panels["statistics"].controls["cost"].widget
    assert set(widget.fields) == set(COST_UNITS)
    assert widget.value is None
    assert widget.fields["energy_power"].value == 1.0
    widget.fields["energy_power"].value = 0.9
    assert widget.value is None
    widget.fields["seconds_per_event_tev"].value = 0.3
    assert studio.settings.cost == {"seconds_per_event_tev": "0.3 s/TeV", "energy_power": 0.9}
    check(studio)
    model = CostModel(1.0, 2.0, 3.0, 4.0, 5.0, 0.8, 6.0)
    widget.value = cost_entry(model)
    assert {name: one.value for name, one in widget.fields.items()} == vars(model)
    assert read_cost_model(widget.value) == model
    widget.value = None
    assert {name: one.value for name, one in widget.fields.items()} == {
        name: getattr(CostModel, name) for name in COST_UNITS
    }


def test_a_switch_and_its_slider_are_one_setting(studio):
    """Moved by a user: the switch brings the number and takes it away; the slider stands still without it."""
    choose_tab(studio, "allocation")
    controls = studio.panels["allocation"].controls
    budget, index = (controls[name].widget for name in ("budget", "index"))
    assert (budget.value, index.value) == (None, "free")
    assert budget.number.widget.disabled
    for _ in range(2):
        budget.switch.widget.value = True
        assert studio.settings.budget == budget.number.widget.value
        assert not budget.number.widget.disabled
        check(studio)
        assert shown(studio).study.settings.budget == studio.settings.budget
        budget.switch.widget.value = False
        assert studio.settings.budget is None
        check(studio)
    index.switch.widget.value = True
    index.number.widget.value = 1.55
    assert studio.settings.index == shown(studio).study.settings.index == 1.55
    check(studio)
    index.switch.widget.value = False
    assert studio.settings.index == "free"
    check(studio)


def test_a_switch_shows_what_it_is_given(studio):
    choose_tab(studio, "allocation")
    controls = studio.panels["allocation"].controls
    studio.use(StudySettings(budget=12.34, index=2.5, slices=5))
    assert controls["budget"].widget.switch.widget.value
    assert controls["budget"].widget.number.widget.value == pytest.approx(12.34)
    assert controls["index"].widget.number.widget.value == 2.5
    assert studio.settings.budget == 12.34  # showing is not setting
    controls["budget"].widget.number.widget.value = 12.4  # a browser rounds to the steps of its slider
    assert studio.settings.budget == 12.34
    studio.use(StudySettings())
    assert not controls["budget"].widget.switch.widget.value
    assert not controls["index"].widget.switch.widget.value
    assert (controls["budget"].widget.value, controls["slices"].widget.value) == (None, 3)
    check(studio)


def test_a_switch_of_its_own():
    told = []
    widget = _Switched("on", widgets.IntSlider(min=1, max=9, value=4), off="none")
    control = Control("x", widget)
    control.on_change(lambda one: told.append(one.setting))
    control.show(7)
    assert (told, widget.value, widget.number.widget.value, widget.switch.widget.value) == ([], 7, 7, True)
    widget.number.widget.value = 8
    widget.switch.widget.value = False
    widget.number.widget.value = 2  # off: nothing is told
    widget.switch.widget.value = True
    assert told == [8, "none", 2]
    control.show("none")
    assert (told, widget.switch.widget.value, widget.number.widget.disabled) == ([8, "none", 2], False, True)


def test_the_cost_of_one_panel_is_that_of_the_other(studio):
    choose_tab(studio, "allocation")
    own, other = (studio.panels[name].controls["cost"].widget for name in ("allocation", "statistics"))
    assert read_cost_model(own.value) == studio.pilots.inputs.cost  # of the plan
    own.fields["bytes_per_trigger"].value = 0.0
    own.fields["seconds_per_event"].value = 2.5
    check(studio)
    assert studio.settings.cost == own.value
    choose_tab(studio, "statistics")
    assert other.value == own.value
    check(studio)
    other.fields["seconds_per_event"].value = 3.5
    choose_tab(studio, "allocation")
    assert own.fields["seconds_per_event"].value == 3.5
    check(studio)
    studio.panels["allocation"].reset.click()
    assert read_cost_model(own.value) == studio.pilots.inputs.cost
    choose_tab(studio, "statistics")
    assert other.value is None
    assert other.fields["seconds_per_event"].value == 0


def test_the_time_is_told(studio):
    assert re.fullmatch(r"answered in \d+ ms", shown(studio).time.value)
    assert shown(studio).seconds > 0


# ---------------------------------------------------------------- hostile names


def test_texts_are_shown_as_they_are():
    for made in (
        table_html([("quantity", HOSTILE), (HOSTILE, HOSTILE)]),
        sentences_html([HOSTILE, "a & b"]),
        message_html(HOSTILE),
    ):
        assert "script" not in Cells(made).tags
        assert "&lt;script&gt;" in made
    assert sentences_html([]) == ""


def test_hostile_names_stay_text(sample, tmp_path):
    arrays = {HOSTILE: {"telescopes": "all", "multiplicity": 2}, "b": {"telescopes": ["onerror=alert(1)"]}}
    one = {"reduced_events": ["za60_az0*.hdf5"], "dl2_events": None}
    pilots = shared.read_pilots(shared.changed(sample, tmp_path, name=HOSTILE, sub_arrays=arrays, **one))
    studio = Studio(pilots, folder=tmp_path)
    pages = [studio.children[0].value]
    for one in (HOSTILE, "b"):
        studio.panels["limits"].controls["sub_array"].widget.value = one
        for tab in STUDIES:
            choose_tab(studio, tab)
            pages += [shown(studio).words.value, shown(studio).figure.value]
    row = studio.children[-1]
    row.name.value = HOSTILE
    for button in (row.save, row.load):
        button.click()
        pages.append(row.message.value)
    for page in pages:
        tags = Cells(page).tags
        assert "script" not in tags
        assert "img" not in tags


# ---------------------------------------------------------------- files


def test_settings_are_saved_and_loaded(studio):
    row, folder = studio.children[-1], studio.children[-1].folder
    assert isinstance(row, FileRow)
    moved = StudySettings(loss_fraction=0.05, density=0.01, n_use=3, sub_array="large telescopes")
    studio.use(moved)
    row.name.value = "mine.yml"
    row.save.click()
    assert "mine.yml (the grid of the plan" in row.message.value
    assert load_settings(studio.pilots, folder / "mine.yml").density == 0.01
    row.save.click()
    assert "No answer" in row.message.value
    row.overwrite.value = True
    row.save.click()
    assert "saved" in row.message.value
    row.overwrite.value = False
    studio.use(StudySettings())
    row.load.click()
    assert "loaded mine.yml" in row.message.value
    for name in ("loss_fraction", "density", "n_use", "sub_array"):
        assert getattr(studio.settings, name) == getattr(moved, name)
    for tab in STUDIES:
        choose_tab(studio, tab)
        check(studio)
    assert studio.panels["limits"].controls["loss_fraction"].widget.value == pytest.approx(0.05)
    assert studio.panels["limits"].controls["sub_array"].widget.value == "large telescopes"
    (folder / "mine.yml").unlink()


@pytest.mark.parametrize(
    "name", ["", "  ", "../a.yml", "/etc/passwd", "a/b.yml", ".hidden", "..", ".", "a\x00b.yml", "x" * 300]
)
def test_only_plain_names_are_files(studio, name):
    row = studio.children[-1]
    there = set(row.folder.iterdir())
    for button in (row.save, row.load):
        row.name.value, row.message.value = name, ""
        button.click()
        assert "No answer" in row.message.value
        assert "Traceback" not in row.message.value
    assert set(row.folder.iterdir()) == there


def test_a_bad_file_is_one_message(studio):
    row = studio.children[-1]
    before = studio.settings
    for text in ("", "a: [", "x: 1", "reduced_events: [no.hdf5]", "\x00", HOSTILE):
        (row.folder / "bad.yml").write_text(text, encoding="utf-8")
        row.name.value, row.message.value = "bad.yml", ""
        row.load.click()
        assert row.message.value.count("No answer") == 1
        assert "script" not in Cells(row.message.value).tags
    (row.folder / "bad.yml").unlink()
    row.load.click()
    assert "No answer" in row.message.value
    assert studio.settings == before


@pytest.mark.parametrize(
    "name",
    ["confidence: 0.77", "what_if: {sub_array: none}", "what_if: {pilot: none}", "what_if: {cost: {seconds: 1 s}}",
     "what_if: {energy_range: [1 TeV, 9000 TeV]}", "what_if: {n_use: 100000}", "loss_fraction: 0.9",
     "what_if: {zenith: [1 deg, 2 deg]}"],
)  # fmt: skip
def test_any_plan_of_the_same_pilots_is_loaded_or_refused_in_one_message(sample, studio, name):
    """A file is written by hand as well: what it says is answered, or refused, by the panel."""
    row = studio.children[-1]
    plan = yaml.safe_load(sample.read_text(encoding="utf-8")) | yaml.safe_load(name)
    place = sample.parent
    plan["reduced_events"] = [str(place / one) for one in plan["reduced_events"]]
    for entry in plan["dl2_events"]:
        entry["files"] = [str(place / one) for one in entry["files"]]
    plan["metrics"] = str(place / plan["metrics"])
    (row.folder / "hand.yml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    row.name.value, row.message.value = "hand.yml", ""
    try:
        row.load.click()
    finally:
        (row.folder / "hand.yml").unlink()
    assert "loaded" in row.message.value or row.message.value.count("No answer") == 1
    for tab in STUDIES:
        choose_tab(studio, tab)
        check(studio)


def test_settings_beyond_the_controls_are_shown_at_their_ends(studio):
    """A file may hold values that no slider reaches: the answer is that of the file."""
    studio.use(StudySettings(loss_fraction=1e-6, confidence=0.77, radius=9000.0, n_use=900, target=0.9, density=1e-3))
    for tab in STUDIES:
        choose_tab(studio, tab)
        check(studio)
    assert studio.panels["statistics"].answer.study.settings.n_use == 900
    assert studio.panels["limits"].answer.study.settings.confidence == 0.77


# ---------------------------------------------------------------- what must not happen


def test_an_unexpected_error_is_logged_and_said_in_one_sentence(studio, monkeypatch, caplog):
    def broken(*_, **__):
        raise KeyError("<b>gone</b>")

    panel = studio.panels["limits"]
    monkeypatch.setattr(panel, "function", broken)
    with caplog.at_level(logging.ERROR, logger=study_panels.__name__):
        studio.refresh()
    assert "KeyError" in caplog.text
    assert panel.answer.words.value.count("<p") == 1
    assert "this should not have happened (KeyError" in panel.answer.words.value
    assert "b" not in Cells(panel.answer.words.value).tags
    assert panel.answer.figure.value == ""
    assert panel.answer.study is None
    monkeypatch.undo()
    studio.refresh()
    check(studio)


def test_a_figure_that_fails_takes_the_table_with_it(studio, monkeypatch, caplog):
    monkeypatch.setattr(study_panels, "to_svg", lambda *_: 1 / 0)
    with caplog.at_level(logging.CRITICAL):
        studio.refresh()
    assert "ZeroDivisionError" in shown(studio).words.value
    assert shown(studio).figure.value == ""
    assert shown(studio).study is None


# ---------------------------------------------------------------- plans that lack something


def every_tab(studio: Studio) -> dict[str, Answer]:
    for tab in STUDIES:
        choose_tab(studio, tab)
        check(studio)
    return {name: panel.answer for name, panel in studio.panels.items()}


def test_a_plan_without_a_cost_is_asked_for_one(sample, tmp_path):
    one = {"dl2_events": [{"files": ["za60_az0*.dl2.fits"], "nsb_level": 0.24}], "reduced_events": ["za60_az0*.hdf5"]}
    studio = Studio(shared.read_pilots(shared.changed(sample, tmp_path, cost=None, allocation=None, **one)))
    choose_tab(studio, "allocation")
    check(studio)
    assert "cost must be given" in shown(studio).words.value
    studio.panels["allocation"].controls["cost"].widget.fields["seconds_per_tev"].value = 10.0
    check(studio)
    assert shown(studio).study is not None


def test_a_plan_without_reconstructed_events(sample, tmp_path):
    pilots = shared.read_pilots(shared.changed(sample, tmp_path, dl2_events=None, metrics=None))
    answers = every_tab(Studio(pilots, folder=tmp_path))
    assert answers["limits"].study is not None
    assert "names no such files" in answers["statistics"].words.value
    assert answers["grid"].study is not None
    assert "not determined" in answers["grid"].words.value


def test_a_plan_with_a_table_of_limits_only(sample, tmp_path):
    table = shared.plan_once(sample).limits.copy()
    write_limits(table, tmp_path / "limits.ecsv")
    path = shared.changed(sample, tmp_path, reduced_events=None, limits_table="limits.ecsv")
    answers = every_tab(Studio(shared.read_pilots(path), folder=tmp_path))
    assert "names no such files" in answers["limits"].words.value
    assert answers["statistics"].study is not None
    assert answers["grid"].study is not None


def test_a_plan_without_both(sample, tmp_path):
    write_limits(shared.plan_once(sample).limits.copy(), tmp_path / "limits.ecsv")
    path = shared.changed(
        sample, tmp_path, reduced_events=None, dl2_events=None, metrics=None, limits_table="limits.ecsv"
    )
    answers = every_tab(Studio(shared.read_pilots(path), folder=tmp_path))
    assert answers["grid"].study is not None


def test_a_plan_of_one_pilot(sample, tmp_path):
    files = [{"files": ["za20_az0*.dl2.fits"], "nsb_level": 0.24}]
    path = shared.changed(sample, tmp_path, reduced_events=["za20_az0*.hdf5"], dl2_events=files)
    studio = Studio(shared.read_pilots(path), folder=tmp_path)
    answers = every_tab(studio)
    assert answers["limits"].study is not None
    assert answers["statistics"].study is not None
    for tab in STUDIES:  # every control still ends in an answer or a message
        choose_tab(studio, tab)
        for control in studio.panels[tab].controls.values():
            for value in ends_of(control.widget)[:2]:
                control.widget.value = value
                check(studio)


def test_a_plan_whose_triggers_hold_another_pilot_than_its_events(sample, tmp_path):
    """The list of pilots holds both; the study that lacks one says so."""
    files = [{"files": ["za60*.dl2.fits"], "nsb_level": 0.24}]
    places = {"zenith": ["60 deg"], "azimuth": ["0 deg"], "nsb_level": [0.24], "outside": "nearest"}
    path = shared.changed(sample, tmp_path, reduced_events=["za20*.hdf5"], dl2_events=files, grid=places)
    studio = Studio(shared.read_pilots(path), folder=tmp_path)
    studio.pilot.widget.value = "zenith 20°, azimuth 180°, NSB 0.24"
    answers = every_tab(studio)
    assert "pilot must be one of" in answers["statistics"].words.value


@pytest.mark.parametrize(
    "values",
    [
        {"loss_fraction": 0.0},
        {"loss_fraction": 0.6},
        {"spectral_index": 2.7},
        {"spectral_index": 0.5, "cost": None},
        {"confidence": 0.123, "name": "x" * 500},
    ],
    ids=str,
)
def test_plans_with_odd_values(sample, tmp_path, values):
    one = {"dl2_events": [{"files": ["za60_az0*.dl2.fits"], "nsb_level": 0.24}], "reduced_events": ["za60_az0*.hdf5"]}
    studio = Studio(shared.read_pilots(shared.changed(sample, tmp_path, **one, **values)), folder=tmp_path)
    every_tab(studio)
    assert studio.panels["limits"].answer.study is not None
    for tab in ("limits", "statistics"):
        choose_tab(studio, tab)
        for control in list(studio.panels[tab].controls.values())[2:4]:
            for value in ends_of(control.widget)[:2]:
                control.widget.value = value
                check(studio)


def test_two_studios_do_not_share_settings(pilots, tmp_path):
    one, other = Studio(pilots, folder=tmp_path), Studio(pilots, folder=tmp_path)
    one.panels["limits"].controls["loss_fraction"].widget.value = 0.1
    assert other.settings == StudySettings()
    assert other.panels["limits"].answer.study.settings.loss_fraction == 0.01


def test_settings_to_start_from(pilots, tmp_path):
    start = StudySettings(pilot=pilots.trigger_names[2], loss_fraction=0.02)
    studio = Studio(pilots, start, folder=tmp_path)
    assert studio.settings == start
    check(studio)
    assert studio.panels["limits"].answer.study.settings.pilot == pilots.trigger_names[2]
    assert studio.pilot.widget.value == pilots.trigger_names[2]
