"""Build description: every value comes from settings.ini."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
LICENSES = {"bsd3": ("BSD-3-Clause", "OSI Approved :: BSD License")}
STATUSES = {"3": "3 - Alpha", "4": "4 - Beta", "5": "5 - Production/Stable"}

parser = ConfigParser(delimiters=["="], interpolation=None)
parser.read(HERE / "settings.ini", encoding="utf-8")
settings = parser["DEFAULT"]

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    keywords=settings["keywords"],
    author=settings["author"],
    author_email=settings["author_email"],
    license=LICENSES[settings["license"]][0],
    classifiers=[
        f"Development Status :: {STATUSES[settings['status']]}",
        f"Intended Audience :: {settings['audience']}",
        f"License :: {LICENSES[settings['license']][1]}",
        f"Natural Language :: {settings['language']}",
        "Topic :: Scientific/Engineering :: Astronomy",
    ],
    packages=find_packages(include=[settings["lib_path"], f"{settings['lib_path']}.*"]),
    package_data={settings["lib_path"]: ["py.typed", "templates/*"]},
    python_requires=f">={settings['min_python']}",
    install_requires=settings["requirements"].split(),
    extras_require={name: settings[f"{name}_requirements"].split() for name in ("app", "cluster", "dev")},
    entry_points={"console_scripts": settings["console_scripts"].split()},
    zip_safe=False,
)
