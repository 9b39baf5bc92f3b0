"""The house: every module has its notebook, floors import downwards, README and settings agree with the package."""

import ast
import configparser
import importlib
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import prodconf

TOP = Path(__file__).parents[1]
NOTEBOOKS = {path.stem.split("_", 1)[1]: path for path in (TOP / "nbs").glob("[0-9]*.ipynb")}
MODULES = {path.stem: path for path in (TOP / "prodconf").glob("*.py") if path.stem not in ("__init__", "_modidx")}


def sources(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


def test_every_module_has_its_notebook_and_every_notebook_its_module():
    assert set(MODULES) == set(NOTEBOOKS)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_floors_import_only_from_below(name):
    floor = int(NOTEBOOKS[name].name[:2])
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("prodconf")):
            modules = [node.module] if node.module and node.module != "prodconf" else [a.name for a in node.names]
            below = {m.removeprefix("prodconf.") for m in modules} - {"__version__"}
            assert all(int(NOTEBOOKS[module].name[:2]) < floor for module in below), below


@pytest.mark.parametrize("name", sorted(NOTEBOOKS))
def test_notebook_has_the_form_of_the_house(name):
    cells = sources(NOTEBOOKS[name])
    assert cells[0].startswith(f"# {name}\n\n> ")
    text = "\n".join(cells)
    assert text.index("## Why") < text.index("## Derivation") < text.rindex("## Limits")
    assert len(cells) <= 60
    assert NOTEBOOKS[name].stat().st_size <= 200_000


def test_readme_is_in_step_with_its_notebook():
    done = subprocess.run([sys.executable, TOP / ".ci" / "readme.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_readme_names_every_notebook():
    text = (TOP / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(\d\d_\w+)`", text)) == {path.stem for path in NOTEBOOKS.values()}


def test_site_lists_every_notebook():
    listed = re.findall(r"- (\S+\.ipynb)", (TOP / "_quarto.yml").read_text(encoding="utf-8"))
    there = [
        str(path.relative_to(TOP / "nbs")) for path in (TOP / "nbs").rglob("*.ipynb") if ".ipynb_" not in str(path)
    ]
    assert sorted(listed) == sorted(there)  # each exactly once


def test_every_figure_says_what_is_seen():
    for path in (TOP / "nbs").rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if ".ipynb_" not in str(path) else []
        for cell in cells:
            if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
                assert re.search(r'^#\| fig-alt: ".{20,150}"$', "".join(cell["source"]), re.MULTILINE), path.name


def test_version_and_requirements_come_from_settings():
    parser = configparser.ConfigParser(delimiters=["="], interpolation=None)
    parser.read(TOP / "settings.ini", encoding="utf-8")
    settings = parser["DEFAULT"]
    assert prodconf.__version__ == settings["version"] == metadata.version("prodconf")
    declared = [r for r in metadata.requires("prodconf") or [] if "extra" not in r]
    assert {re.split(r"[<>=~]", r)[0].lower() for r in declared} == {
        re.split(r"[<>=~]", r)[0].lower() for r in settings["requirements"].split()
    }


def test_package_does_not_import_what_only_developers_have():
    for path in MODULES.values():
        assert not re.search(
            r"^\s*(import|from) (nbdev|fastcore|pytest|hypothesis)\b", path.read_text(), re.MULTILINE
        ), path


def test_no_notebook_holds_widgets():
    """Their ids change at every run; the site draws them from a run of its own."""
    for path in (TOP / "nbs").rglob("*.ipynb"):
        if ".ipynb_" not in str(path):
            assert "application/vnd.jupyter.widget" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_public_name_is_there(name):
    module = importlib.import_module(f"prodconf.{name}")
    assert all(hasattr(module, public) for public in module.__all__)
