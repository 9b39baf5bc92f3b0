"""Write README.md from nbs/index.ipynb, or check (--check) that it is in step."""

import base64
import re
import sys
from pathlib import Path

import nbformat

TOP = Path(__file__).parents[1]
NOTEBOOK, README, IMAGES = TOP / "nbs" / "index.ipynb", TOP / "README.md", "nbs/images"


def directives(source: str) -> set[str]:
    """Return what stands behind `#|` in the first lines of a cell."""
    return {line[2:].strip() for line in source.splitlines() if line.startswith("#|")}


def fenced(text: str, language: str = "") -> str:
    """Set text apart as code."""
    return f"```{language}\n{text.strip()}\n```"


def output(cell_output: dict, stem: str, files: dict[Path, bytes], words: str) -> str:
    """Turn one output into Markdown; a picture becomes a file, with the words as its description."""
    if cell_output["output_type"] == "stream":
        return fenced(cell_output["text"], "text")
    if picture := cell_output["data"].get("image/png"):
        files[TOP / IMAGES / f"{stem}.png"] = base64.b64decode(picture)
        return f"![{words}]({IMAGES}/{stem}.png)"
    return fenced(cell_output["data"]["text/plain"], "text")


def code(cell: dict, stem: str, files: dict[Path, bytes]) -> list[str]:
    """Turn one code cell into Markdown blocks."""
    marks = directives(cell["source"])
    if "hide" in marks:
        return []
    source = "\n".join(line for line in cell["source"].splitlines() if not line.startswith("#|"))
    shown = [] if "echo: false" in marks else [fenced(source, "python")]
    words = next((mark[8:].strip().strip('"') for mark in marks if mark.startswith("fig-alt:")), stem)
    return shown + [output(each, stem, files, words) for each in cell["outputs"]]


def render() -> tuple[str, dict[Path, bytes]]:
    """Return the README and the pictures it shows."""
    blocks: list[str] = []
    files: dict[Path, bytes] = {}
    for number, cell in enumerate(nbformat.read(NOTEBOOK, 4)["cells"]):
        if cell["cell_type"] == "code":
            blocks += code(cell, f"index_{number}", files)
        else:
            text = re.sub(r"^~~~", "```", cell["source"], flags=re.MULTILINE)
            blocks.append(re.sub(r"\]\((?=[\w/]+\.ipynb\))", "](nbs/", text))
    head = "<!-- Generated from nbs/index.ipynb by .ci/readme.py: edit the notebook. -->"
    return "\n\n".join([head, *blocks]) + "\n", files


def main() -> int:
    """Write the files, or compare them."""
    text, files = render()
    files[README] = text.encode()
    if "--check" not in sys.argv:
        (TOP / IMAGES).mkdir(exist_ok=True)
        for path, content in files.items():
            path.write_bytes(content)
        return 0
    stale = [path for path, content in files.items() if not path.exists() or path.read_bytes() != content]
    for path in stale:
        print(f"{path.relative_to(TOP)} is not in step with nbs/index.ipynb: run python .ci/readme.py", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
