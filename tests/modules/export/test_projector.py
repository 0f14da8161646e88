"""The projector's files through TensorBoard itself, and the t-SNE picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from tensorboard.backend import application
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.projector.projector_plugin import ProjectorPlugin
from werkzeug.test import Client

from modules.export.projector import MAX_PROJECTED, write_pictures, write_projector, write_tsne
from tests.real_data import digits

ROWS = digits(12)
IMAGES, LABELS, IDS = (list(column) for column in zip(*ROWS, strict=True))
DIGITS = np.stack([np.asarray(Image.open(io.BytesIO(image))) for image in IMAGES])
EMBEDDINGS = DIGITS.reshape(len(ROWS), -1).astype(np.float32) / 255


def tensorboard(logdir: Path) -> Client:
    """TensorBoard's web application with its projector plugin, reading the files in `logdir`."""
    runs = EventMultiplexer()
    runs.AddRunsFromDirectory(str(logdir))
    runs.Reload()
    context = base_plugin.TBContext(
        data_provider=MultiplexerDataProvider(runs, str(logdir)), logdir=str(logdir)
    )
    return Client(application.TensorBoardWSGI([ProjectorPlugin(context)]))


def get(client: Client, route: str, run: str) -> bytes:
    response = client.get(f"/data/plugin/projector/{route}?run={run}&name=embedding&num_rows=9999")
    assert response.status_code == 200, response.data
    return response.data


@pytest.mark.parametrize("above", [0, 2])
def test_tensorboard_serves_points_labels_and_thumbnails(tmp_path: Path, above: int) -> None:
    """Also when it is started on a folder above, as for all runs of a pipeline."""
    log_dir = tmp_path / "model_run" / "projector"
    write_projector(str(log_dir), EMBEDDINGS, LABELS, IMAGES, IDS)
    client = tensorboard([log_dir, *log_dir.parents][above])
    runs = client.get("/data/plugin/projector/runs").json
    run = [".", "projector", "model_run/projector"][above]
    assert runs == [run]
    (info,) = client.get(f"/data/plugin/projector/info?run={run}").json["embeddings"]
    assert info["tensorShape"] == [120, 784]
    assert info["sprite"]["singleImageDim"] == [64, 64]
    points = np.frombuffer(get(client, "tensor", run), np.float32).reshape(120, 784)
    np.testing.assert_allclose(points, EMBEDDINGS, rtol=1e-5)
    header, *lines = get(client, "metadata", run).decode().splitlines()
    assert header == "label\tid"
    wanted = zip(LABELS, IDS, strict=True)
    assert lines == [f"{label.decode()}\t{i.decode()}" for label, i in wanted]
    sprite = Image.open(io.BytesIO(get(client, "sprite_image", run)))
    assert sprite.size == (11 * 64, 11 * 64)  # the least square that holds 120 thumbnails
    for index in (0, 57, 119):
        row, column = divmod(index, 11)
        left, top = column * 64, row * 64
        thumbnail = sprite.crop((left, top, left + 64, top + 64)).convert("L").resize((28, 28), 0)
        np.testing.assert_array_equal(np.asarray(thumbnail), DIGITS[index])


def test_odd_labels_and_broken_images_do_not_shift_the_rows(tmp_path: Path) -> None:
    labels = [b"two\twords", b"line\nbreak", "Gänseblümchen".encode()]
    images = [IMAGES[0], b"not an image", IMAGES[2]]
    write_projector(str(tmp_path), EMBEDDINGS[:3], labels, images, IDS[:3])
    client = tensorboard(tmp_path)
    lines = get(client, "metadata", ".").decode().splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == [
        "two words", "line break", "Gänseblümchen"
    ]  # fmt: skip
    sprite = Image.open(io.BytesIO(get(client, "sprite_image", ".")))
    assert sprite.getpixel((64 + 32, 32)) == (220, 220, 220)  # grey in the second place


def test_no_more_rows_than_a_browser_can_hold(tmp_path: Path) -> None:
    n = MAX_PROJECTED + 1
    embeddings = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    write_projector(str(tmp_path), embeddings, [b"a"] * n, [IMAGES[0]] * n, [b"i"] * n)
    client = tensorboard(tmp_path)
    assert len(get(client, "tensor", ".")) == MAX_PROJECTED * 3 * 4  # bytes
    assert len(get(client, "metadata", ".").splitlines()) == 1 + MAX_PROJECTED
    sprite = Image.open(io.BytesIO(get(client, "sprite_image", ".")))
    assert max(sprite.size) <= 8192


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (EMBEDDINGS[:2], LABELS[:1], r"As many of everything .*\[2, 1"),
        (EMBEDDINGS[:0], LABELS[:0], "at least one"),
        (np.full((2, 3), np.nan), LABELS[:2], "not all finite"),
    ],
)
def test_rows_that_cannot_be_drawn_are_refused(
    embeddings: np.ndarray, labels: list[bytes], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        write_projector(str(tmp_path), embeddings, labels, IMAGES[:2], IDS[:2])
    with pytest.raises(ValueError, match=message):
        write_tsne(str(tmp_path / "tsne.png"), embeddings, labels)


def test_tsne_keeps_neighbours_and_depends_on_the_seed_only(tmp_path: Path) -> None:
    paths = [tmp_path / "new" / name for name in ("a.png", "b.png", "c.png")]
    points, again, other = (
        write_tsne(str(path), EMBEDDINGS, LABELS, seed)
        for path, seed in zip(paths, (0, 0, 1), strict=True)
    )
    assert points.shape == (120, 2)
    np.testing.assert_array_equal(points, again)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert (points != other).any()
    assert paths[0].read_bytes() != paths[2].read_bytes()
    # Digits of one class stay together; chance is 1/10.
    names = [label.decode() for label in LABELS]
    assert KNeighborsClassifier(5).fit(points, names).score(points, names) > 1 / 2


def test_tsne_draws_every_class_and_a_legend_for_few(tmp_path: Path) -> None:
    def colours(labels: list[bytes]) -> int:
        path = tmp_path / "tsne.png"
        write_tsne(str(path), EMBEDDINGS[: len(labels)], labels)
        picture = Image.open(path).convert("RGB")
        assert picture.size == (800, 800)
        return len({colour for count, colour in picture.getcolors(800 * 800) if count > 5})

    assert colours(LABELS[:60]) >= 5 + 1  # five digits and the paper
    assert colours([b"%d" % i for i in range(60)]) > 20  # a class each, no legend


def test_tsne_of_few_images(tmp_path: Path) -> None:
    assert write_tsne(str(tmp_path / "few.png"), EMBEDDINGS[:3], LABELS[:3]).shape == (3, 2)
    with pytest.raises(ValueError, match="at least 3"):
        write_tsne(str(tmp_path / "two.png"), EMBEDDINGS[:2], LABELS[:2])


ODD = [b"$_$", b"$\\frac{", b"_hidden", b"<script>", b"[bold]", b"\x1b[31m", b"\xff", b"x" * 1500]


def test_odd_names_are_drawn_and_a_fault_is_a_warning(tmp_path: Path, caplog) -> None:
    count = len(ODD)
    write_pictures(str(tmp_path), EMBEDDINGS[:count], ODD, IMAGES[:count], IDS[:count], 0)
    assert not caplog.records
    assert Image.open(tmp_path / "tsne.png").size == (800, 800)
    names = (tmp_path / "projector/metadata.tsv").read_text().splitlines()[1:]
    assert names[5].startswith("\\x1b[31m\t")
    assert names[6].startswith("\\xff\t")
    write_pictures(str(tmp_path), EMBEDDINGS * np.nan, LABELS, IMAGES, IDS, 0)
    assert "Left out: the t-SNE plot" in caplog.text
