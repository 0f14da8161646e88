"""The Trainer's input of photographs: decoding, resizing, keeping pixels.

    python -m tests.benchmarks.bench_photographs [--images N] [--peer-python PYTHON]

N JPEG files of 500 × 375 pixels, cut from two real photographs by a seed, 512 different ones made
different by their last bytes, in classes of 40; TripletGen writes the files that the Trainer reads.
Every input delivers batches of 48 images of 224 × 224 pixels in colour, float32, about 0, and makes
one pass over as many images as there are:

- `decoded`: the Trainer's own batches, decoded each time, with each `[image] fit`;
- `on disk`: the same kept in a file (`[training] disk_cache_megabytes`); `making_s` is what it
  takes to make it;
- `tf.data`: records parsed and mapped one by one with `AUTOTUNE`, `decode_jpeg` and
  `tf.image.resize`, as tutorials have it, and the same with antialiasing as ours has;
- `torchvision`: an `ImageFolder` of the same files with `Resize` to the two sides and a
  `DataLoader` with a worker for each core, by PYTHON, an interpreter with torch and torchvision.

Each runs in a process of its own. Prints one JSON line for each: images per second; the seconds of
the processor that 1,000 images take, which other work beside it changes less; the ratios of both to
those of `decoded, squash`, above 1 where ours is better; the peak of its memory, and how much of
that at its end was not pages of a file. The files take 3·N·55 kB of the temporary folder
(`TMPDIR`), the pixels N·0.6 MB.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import multiprocessing
import os
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_images

from modules.contract import IMAGE
from modules.settings import ImageSettings, TrainingSettings, TripletSettings
from modules.training.fitting import training_batches
from tests.benchmarks.bench_triplet_storage import write_examples
from tests.benchmarks.quality_runs import ALL_IMAGES, Pixels, run_triplet_gen, show
from tests.real_data import Row

SIDE, BATCH, CLASS, DIFFERENT = 224, 48, 40, 512
SIZE = (500, 375)
MEAN, DEVIATION = 0.5, 0.25
PEER = """
import json, os, resource, sys, time
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
side, batch, mean, deviation = int(sys.argv[2]), int(sys.argv[3]), *map(float, sys.argv[4:])
steps = [transforms.Resize((side, side)), transforms.ToTensor(),
         transforms.Normalize([mean] * 3, [deviation] * 3)]
images = datasets.ImageFolder(sys.argv[1], transforms.Compose(steps))
loader = iter(DataLoader(images, batch, shuffle=True, num_workers=os.cpu_count()))
next(loader)
before, started = sum(os.times()[:4]), time.perf_counter()
count = sum(len(pixels) for pixels, _ in loader)
seconds = time.perf_counter() - started
del loader  # ends the workers, whose seconds count from then on
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
processor = sum(os.times()[:4]) - before
print(json.dumps({"images_per_s": count / seconds, "cpu_s_per_1000": 1000 * processor / count,
                  "peak_mb": (used[0].ru_maxrss + os.cpu_count() * used[1].ru_maxrss) / 1024}))
"""


def photographs(count: int) -> Iterator[Row]:
    """JPEG files of about 55 kB, all different, classes in turn."""
    rng = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    encoded = []
    for number in range(DIFFERENT):
        photo = photos[number % len(photos)]
        height = rng.uniform(0.4, 1) * photo.height
        width = height * SIZE[0] / SIZE[1]
        left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
        part = photo.resize(SIZE, Image.Resampling.BICUBIC, (left, top, left + width, top + height))
        grain = rng.normal(0, 6, [SIZE[1], SIZE[0], 1])  # as of a camera
        buffer = io.BytesIO()
        pixels = np.clip(np.asarray(part) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
        encoded.append(buffer.getvalue())
    for number in range(count):
        name = b"photographs/%07d.jpg" % number
        # Decoders stop at the end of the image, before the name.
        label = b"class-%d" % (number % max(2, count // CLASS))
        yield encoded[number % DIFFERENT] + name, label, name


def ours(pattern: str, images: int, fit: str, scratch: str | None) -> dict[str, float]:
    """The Trainer's batches."""
    image = ImageSettings(height=SIDE, width=SIDE, channels=3, fit=fit)
    settings = TrainingSettings(
        batches="classes", classes_per_batch=BATCH // 4, images_per_class=4, cache_megabytes=0,
        disk_cache_megabytes=2**20 if scratch else 0,
    )  # fmt: skip
    pixels = Pixels(image, [MEAN], [DEVIATION])
    started = time.perf_counter()
    batches = training_batches([pattern], pixels.images, settings, BATCH, scratch=scratch)
    making = time.perf_counter() - started
    found = rate(batches, images)
    return found | {"making_s": making} if scratch else found


def plain(pattern: str, images: int, antialias: bool) -> dict[str, float]:
    """What tutorials of tf.data show."""

    def pixels(serialized: tf.Tensor) -> tf.Tensor:
        row = tf.io.parse_single_example(serialized, {IMAGE: tf.io.FixedLenFeature([], tf.string)})
        decoded = tf.io.decode_jpeg(row[IMAGE], channels=3)
        resized = tf.image.resize(decoded, [SIDE, SIDE], antialias=antialias)
        return (resized / 255.0 - MEAN) / DEVIATION, 0

    files = tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(pattern))).repeat()
    mapped = files.map(pixels, num_parallel_calls=tf.data.AUTOTUNE)
    return rate(mapped.batch(BATCH).prefetch(tf.data.AUTOTUNE), images)


def rate(batches: Iterable[Any], images: int) -> dict[str, float]:
    """Images per second after the first batch, which traces, and the memory of this process."""
    iterator = iter(batches)
    next(iterator)
    count, started, before = 0, time.perf_counter(), time.process_time()
    while count < images:
        count += len(next(iterator)[0])
    seconds, processor = time.perf_counter() - started, time.process_time() - before
    status = Path("/proc/self/status").read_text()
    [own] = re.findall(r"RssAnon:\s+(\d+) kB", status)
    return {
        "images_per_s": count / seconds,
        "cpu_s_per_1000": 1000 * processor / count,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "not_of_files_mb": int(own) / 1024,
    }


def torchvision(python: str, folder: str) -> dict[str, float] | None:
    """The peer's, None without torchvision."""
    if subprocess.run(
        [python, "-c", "import torchvision"], check=False, capture_output=True
    ).returncode:
        return None
    numbers = map(str, (SIDE, BATCH, MEAN, DEVIATION))
    command = [python, "-c", PEER, folder, *numbers]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idx", type=Path, help="not used; every benchmark takes it")
    parser.add_argument("--images", type=int, default=20_000, help="how many")
    parser.add_argument("--peer-python", help="interpreter with torch and torchvision")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        examples = write_examples(photographs(options.images), folder / "examples")
        pattern = run_triplet_gen(examples, folder / "triplets", TripletSettings(**ALL_IMAGES))
        inputs: dict[str, Any] = {
            f"decoded, {fit}": functools.partial(ours, pattern, options.images, fit, None)
            for fit in ("squash", "letterbox", "crop")
        }
        inputs["on disk"] = functools.partial(ours, pattern, options.images, "squash", scratch)
        for antialias in (False, True):
            name = "tf.data, antialiased" if antialias else "tf.data"
            inputs[name] = functools.partial(plain, pattern, options.images, antialias)
        if options.peer_python:
            for encoded, label, name in photographs(options.images):
                path = folder / "files" / label.decode() / Path(name.decode()).name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded)
            inputs["torchvision"] = functools.partial(
                torchvision, options.peer_python, str(folder / "files")
            )
        measure(inputs, options.images)


def measure(inputs: dict[str, Any], images: int) -> None:
    reference: dict[str, float] = {}
    for name, measured in inputs.items():
        # Each alone in a new process, so that its memory is its own.
        with multiprocessing.get_context("spawn").Pool(1) as process:
            found = process.apply(measured)
        if found is None:
            print(f"{name}: the interpreter has none, so it is left out.")
            continue
        reference = reference or found
        line = {key: round(value, 1) for key, value in found.items()} | {
            "ratio": round(reference["images_per_s"] / found["images_per_s"], 2),
            "cpu_ratio": round(found["cpu_s_per_1000"] / reference["cpu_s_per_1000"], 2),
        }
        cores = os.cpu_count()
        show({"benchmark": "photographs", "input": name, "images": images, "cores": cores} | line)


if __name__ == "__main__":
    main()
