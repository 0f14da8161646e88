"""Models to push: of the layout of a SavedModel, with contents that tell them apart."""

from __future__ import annotations

from pathlib import Path

from modules.storage import CHECKSUMS_FILE

MEGABYTE = 1 << 20


def make_model(folder: Path, fill: str, megabytes: int = 0) -> Path:
    """A Model artifact with a SavedModel (of the layout, not of sense) filled with one letter."""
    serving = folder / "Format-Serving"
    (serving / "variables").mkdir(parents=True)
    (serving / "assets").mkdir()  # often empty
    (serving / "saved_model.pb").write_text(fill * 100)
    for number in range(max(megabytes, 1)):
        content = fill * (MEGABYTE if megabytes else 100)
        (serving / "variables" / f"variables.data-{number:05}-of-00099").write_text(content)
    return folder


def contents(folder: Path | str) -> dict[str, bytes]:
    """Files by their path; those of a version without its checksums."""
    folder = Path(folder)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != CHECKSUMS_FILE
    }


def make_extras(folder: Path, point: str) -> dict[str, str]:
    """A file and a folder with a folder, as extras."""
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    (folder / "deep" / "rows").write_text("rows")
    (folder / "point.json").write_text(point)
    return {"index": str(folder / "deep"), "point.json": str(folder / "point.json")}
