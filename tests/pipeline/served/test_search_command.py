"""`python -m pipeline search`: table, JSON, previews, and what it does with bad images."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.commands import main
from pipeline.runtime import ConfigError, NotRunError
from pipeline.served.preview import Row, Tile, preview_page
from tests.pipeline.served.served_versions import (
    GALLERY,
    QUERIES,
    neighbours_by_loop,
    write_version,
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "below").mkdir()
    (folder / ".hidden").mkdir()
    (folder / "a[bold].png").write_bytes(QUERIES[0][0])
    (folder / "below" / "b\x1b.PNG").write_bytes(QUERIES[1][0])
    for path in (".hidden/c.png", "notes.txt"):
        (folder / path).write_bytes(b"not looked at")
    return folder


def search(*arguments: str | Path):
    return CliRunner().invoke(main, ["search", *map(str, arguments)])


def test_json_is_what_the_definition_says(version_folder, photos) -> None:
    done = search(photos, "--model", version_folder.parent, "--k", "3", "--json")
    assert done.exit_code == 0, done.output
    values = json.loads(done.stdout)
    assert values["version"] == "7"
    assert values["gallery"] == {"images": 60, "kind": "flat", "recall": None}
    names = [f"{photos}/a[bold].png", f"{photos}/below/b\x1b.PNG"]
    assert [result["image"] for result in values["results"]] == names
    for result, (image, _, _) in zip(values["results"], QUERIES, strict=False):
        found = [(n["id"], n["label"], n["distance"]) for n in result["neighbours"]]
        assert found == neighbours_by_loop(image, GALLERY, 3)


def test_the_table_shows_names_as_they_are(version_folder, photos) -> None:
    done = search(photos, "--model", version_folder, "--k", "2")
    assert done.exit_code == 0, done.output
    assert "2 nearest of 60, version 7, exact" in done.stdout
    assert "a[bold].png" in done.stdout
    assert "b\\x1b.PNG" in done.stdout
    (example_id, label, distance), _ = neighbours_by_loop(QUERIES[0][0], GALLERY, 2)
    row = next(line for line in done.stdout.splitlines() if "a[bold].png" in line)
    assert [cell.strip() for cell in row.split("│")[2:6]] == [
        "1", label, f"{distance:.4f}", example_id,
    ]  # fmt: skip


def test_a_bad_image_among_others_is_named(version_folder, photos, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "gone.png").symlink_to("nowhere")
    done = search(tmp_path, photos / "a[bold].png", "--model", version_folder, "--json")
    assert done.exit_code == 3
    bad, gone, good = json.loads(done.stdout)["results"]
    assert "first bytes" in bad["fault"]
    assert "No such file" in gone["fault"]
    assert good["neighbours"]
    assert f"error: {tmp_path}/bad.png: neither JPEG" in done.stderr


@pytest.mark.parametrize("thumbnails", [True, False], ids=["thumbnails", "files"])
def test_a_preview_shows_query_and_neighbours(
    model, photos, tmp_path: Path, monkeypatch, thumbnails: bool
) -> None:
    """From the gallery, or from the files that ids name."""
    version = write_version(tmp_path / "serving" / "3", model, thumbnails=thumbnails)
    config = tmp_path / "mine.toml"
    config.write_text(
        f'[pipeline]\nname = "mine"\nserving = "{version.parent}"\n'
        f'[data]\npath = "{tmp_path}/data"\nformat = "images"\n'
    )
    for image, _, example_id in GALLERY:
        path = tmp_path / "data" / example_id.decode()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    for name in ("sheet.png", "sheet.html"):
        done = search(photos, "--config", config, "--preview", tmp_path / name, "--k", "4")
        assert done.exit_code == 0, done.output
        assert f"Wrote {tmp_path / name}" in done.stdout
    sheet = Image.open(io.BytesIO((tmp_path / "sheet.png").read_bytes())).convert("L")
    # Each row has a query and four neighbours, none of them the grey of what has no picture.
    for row in range(2):
        for column in range(5):
            left = 12 + column * 108 + (12 if column else 0)
            top = 12 + 18 + row * (96 + 32 + 12 + 12 + 16)
            square = sheet.crop((left, top, left + 96, top + 96))
            assert square.getextrema()[0] < 60, (row, column)
            assert square.getextrema()[1] > 200, (row, column)
    page = (tmp_path / "sheet.html").read_text()
    assert page.count("<figure") == 10
    assert "<bold>" not in page
    assert "http" not in page


def test_a_catalogue_has_no_labels_and_a_folder_of_its_own(model, photos, tmp_path: Path) -> None:
    rows = [(image, None, example_id) for image, _, example_id in GALLERY]
    version = write_version(tmp_path / "serving" / "3", model, rows, thumbnails=False)
    config = tmp_path / "mine.toml"
    config.write_text(
        f'[pipeline]\nname = "mine"\nserving = "{version.parent}"\n'
        f'[data]\npath = "{tmp_path}/data"\nformat = "images"\n'
        f'[index]\ngallery = "images"\npath = "{tmp_path}/catalogue"\n'
    )
    for image, _, example_id in GALLERY:
        for root, content in (("data", b"another image of this name"), ("catalogue", image)):
            path = tmp_path / root / example_id.decode()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    query = photos / "a[bold].png"
    page = tmp_path / "page.html"
    done = search(query, "--config", config, "--k", "2", "--preview", page)
    assert done.exit_code == 0, done.output
    header = next(line for line in done.stdout.splitlines() if "distance" in line)
    assert [cell.strip() for cell in header.split("┃")[1:-1]] == ["image", "", "distance", "id"]
    nearest = neighbours_by_loop(QUERIES[0][0], GALLERY, 2)
    titles = re.findall(r"<figcaption>(.*?)<br>", page.read_text())
    assert titles == ["query", *(example_id.split("/")[-1] for example_id, _, _ in nearest)]
    images = {example_id.decode(): image for image, _, example_id in GALLERY}
    shown = preview_page("", [Row("", None, [Tile(images[name], "") for name, _, _ in nearest])])
    assert pictures(page.read_text())[1:] == pictures(shown)
    result = json.loads(search(query, "--config", config, "--k", "2", "--json").stdout)["results"]
    found = [(one["id"], one["label"]) for one in result[0]["neighbours"]]
    assert found == [(example_id, None) for example_id, _, _ in nearest]


def pictures(page: str) -> list[str]:
    return re.findall(r"base64,([^\"]+)", page)


def test_a_sample_of_the_gallery_needs_no_files(version_folder, tmp_path: Path) -> None:
    arguments = ("--model", version_folder, "--sample", "4", "--k", "60", "--json")
    results = json.loads(search(*arguments).stdout)["results"]
    images = {example_id.decode(): image for image, _, example_id in GALLERY}
    assert len({result["image"] for result in results}) == 4
    for result in results:
        others = [row for row in GALLERY if row[2].decode() != result["image"]]
        found = [(n["id"], n["label"], n["distance"]) for n in result["neighbours"]]
        assert found == neighbours_by_loop(images[result["image"]], others, 60)
    assert json.loads(search(*arguments).stdout)["results"] == results  # the same each time
    picture = tmp_path / "sample.png"
    done = search("--model", version_folder, "--sample", "100", "--preview", picture)
    assert "(the first 50 of 60 images)" in done.stdout
    for wrong in ((), (tmp_path, "--sample", "1")):
        with pytest.raises(ConfigError, match="Name images to search with, or --sample"):
            raise search(*wrong, "--model", version_folder).exception


def test_an_id_does_not_lead_out_of_the_data(version, tmp_path: Path) -> None:
    from pipeline.served import GalleryPictures

    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "photo").write_bytes(b"photo")
    pictures = GalleryPictures(version, str(tmp_path / "data"))
    for example_id, expected in (
        ("photo", b"photo"),
        ("../secret", None),
        (f"{tmp_path}/secret", None),
        ("gone", None),
        ("a\0b", None),
    ):
        assert pictures.file(example_id) == expected


def test_what_is_not_there_is_said(version_folder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no .*gone\.png"):
        raise search(tmp_path / "gone.png", "--model", version_folder).exception
    with pytest.raises(ConfigError, match="There is no image in"):
        raise search(tmp_path, "--model", version_folder).exception
    (tmp_path / "a.png").touch()
    with pytest.raises(NotRunError, match="nothing was pushed"):
        raise search(tmp_path, "--model", tmp_path).exception
