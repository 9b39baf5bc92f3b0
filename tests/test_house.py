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
PACKAGE = TOP / "prodconf"
# From the ground up: a file imports from its own room and from those before it.
ROOMS = (
    *("core", "formulas", "sky", "events", "jobs", "precision", "limits", "toys", "grid", "plan", "progress"),
    *("studies", "commands"),
)
FACES = {
    "calculate_statistical_errors_grid_point",
    "command_line",
    "derive_corsika_limits",
    "derive_production_statistics",
    "derive_production_statistics_handler",
    "generate_production_grid",
    "generate_simulation_config",
    "interpolation_handler",
    "what_if",
}


def sources(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


def exported(path: Path) -> str:
    """Name of the module that a notebook exports, "" if none."""
    found = re.search(r"^#\| default_exp (\S+)", "\n".join(sources(path)), re.MULTILINE)
    return found[1] if found else ""


PAGES = {
    name: path for path in (TOP / "nbs").rglob("*.ipynb") if ".ipynb_" not in str(path) if (name := exported(path))
}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
    if path.name != "_modidx.py"
}
NOTEBOOKS = {name: path for name, path in PAGES.items() if not name.endswith("__init__")}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def room(module: str) -> str:
    return module.split(".")[0] if "." in module else ""


def imports(name: str) -> list[tuple[str, str]]:
    """Modules of the package that a module imports from, each with the name that it takes; also inside functions."""
    found = []
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found += [(each.name, "") for each in node.names if each.name.split(".")[0] == "prodconf"]
        elif isinstance(node, ast.ImportFrom):
            base = ["prodconf", *name.split(".")][: -node.level] if node.level else []
            module = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            if module.split(".")[0] == "prodconf":
                found += [(module, each.name) for each in node.names]
    taken = [(module.removeprefix("prodconf").lstrip("."), each) for module, each in found]
    return [(f"{m}.{each}".lstrip("."), "") if f"{m}.{each}".lstrip(".") in MODULES else (m, each) for m, each in taken]


def test_every_module_has_its_notebook_and_every_notebook_its_module():
    assert set(MODULES) == set(PAGES)
    assert {name for name in NOTEBOOKS if not room(name)} == FACES
    assert {room(name) for name in MODULES} - {"", "__init__"} <= set(ROOMS)


@pytest.mark.parametrize("name", sorted(NOTEBOOKS))
def test_imports_run_downwards(name):
    for module, _ in imports(name):
        own, other = room(name), room(module)
        if not own:  # a face stands on every room but the commands, which the command line puts together
            assert other != "commands" or name == "command_line", module
        elif other:
            assert ROOMS.index(other) <= ROOMS.index(own), module
        else:
            assert own == "commands" or module in ("", "__init__"), f"{name} imports the face {module}"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_private_crosses_files(name):
    for module, taken in imports(name):
        assert not taken.startswith("_") or taken.startswith("__"), f"{module}.{taken}"
        private = module.split(".")[-1].startswith("_") and not module.endswith("__init__")
        assert not private or room(module) == room(name), module


def offered() -> dict[str, list[str]]:
    return {
        name: list(importlib.import_module(f"prodconf.{name}").__all__) for name in ROOMS if f"{name}.__init__" in PAGES
    }


def test_every_room_offers_its_names_and_no_two_are_alike():
    assert set(offered()) == {room(name) for name in MODULES} - {"", "__init__"}
    found = [name for names in offered().values() for name in names]
    assert len(found) == len(set(found)), sorted({name for name in found if found.count(name) > 1})
    for place, names in offered().items():
        files = {module.split(".")[1] for module in MODULES if room(module) == place}
        assert not files & set(names), place  # `from prodconf.ROOM import name` would be one or the other
        assert all(hasattr(importlib.import_module(f"prodconf.{place}"), name) for name in names), place


def test_package_offers_few_names_and_loads_them_on_demand():
    assert 20 <= len(prodconf.__all__) <= 40
    assert all(hasattr(prodconf, name) for name in prodconf.__all__)
    heavy = "{'numpy', 'scipy', 'astropy', 'h5py', 'matplotlib', 'pydantic', 'yaml', 'typer'}"
    code = f"import sys, prodconf; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(NOTEBOOKS))
def test_notebook_has_the_form_of_the_house(name):
    cells = sources(NOTEBOOKS[name])
    assert re.match(r"# [^\n`_]+\n\n> ", cells[0]), "the title says what the page is about, not how its file is called"
    text = "\n".join(cells)
    how = min(place for word in ("## Derivation", "## How it works") if (place := text.find(word)) >= 0)
    assert text.index("## Why") < how < text.rindex("## Limits")
    assert NOTEBOOKS[name].stat().st_size <= 250_000


def test_a_copy_of_a_notebook_runs_anywhere():
    """The last cell exports inside a clone only, and files beside the clone are looked for before they are read."""
    for name, path in PAGES.items():
        last = sources(path)[-1]
        assert re.fullmatch(r"#\| hide\n.*settings\.ini.*nbdev\.nbdev_export\(\)", last, re.DOTALL), name


@pytest.mark.parametrize("place", sorted({room(name) for name in MODULES} - {"", "__init__"}))
def test_page_of_a_room_lists_its_notebooks(place):
    text = "\n".join(sources(TOP / "nbs" / place / "index.ipynb"))
    there = {path.name for path in (TOP / "nbs" / place).glob("[0-9]*.ipynb")}
    assert there <= set(re.findall(r"\]\((\d\d_\w+\.ipynb)\)", text))


def test_readme_is_in_step_with_its_notebook():
    done = subprocess.run([sys.executable, TOP / ".ci" / "readme.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_readme_names_every_room():
    text = (TOP / "README.md").read_text(encoding="utf-8")
    places = {room(name) for name in MODULES} - {"", "__init__"}
    assert {f"nbs/{place}/index.ipynb" for place in places} <= set(re.findall(r"\]\(([\w/]+\.ipynb)\)", text))


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
