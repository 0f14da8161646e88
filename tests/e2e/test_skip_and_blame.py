"""A span that is not worth a training, one that spoils it, and who is to blame for that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf
from click.testing import CliRunner

from components.metadata import read_pipeline_runs
from modules.contract import make_example
from modules.index import check_same_model
from pipeline.__main__ import main
from pipeline.config import Config, load_config
from pipeline.local_runner import run_pipeline
from pipeline.metadata import Run, latest_run, open_store, read_runs
from pipeline.operations import describe_run, find_blame, rejected_run
from tests.real_data import digits

pytestmark = pytest.mark.slow

CLASSES = (0, 1, 4, 6, 7)
TRAINED, EVALUATED = 16, 8  # images of each class in a span
# In the third span these are taken for each other where they are trained on; with as many images as
# the other spans have together, nothing can tell which labels are right.
SPOILT = 2 * TRAINED
WRONG = {b"0": b"6", b"6": b"0", b"1": b"7", b"7": b"1"}
BEHIND = {
    "DataAudit", "Transform", "PreviousModelResolver", "TripletGen", "Trainer", "BaselineResolver",
    "Evaluator", "ReportGen", "PreviousIndexResolver", "IndexGen", "Pusher",
}  # fmt: skip
UPDATE = {"ServedIndexResolver", "IndexUpdate", "UpdatePusher"}


class Chain:
    """Three runs: trained, skipped, rejected."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "config.toml"
        self.path.write_text(f"""
[pipeline]
name = "spans"
directory = "{root}"
warm_start = true
[data]
path = "{root}/data"
train = "{{SPAN}}/train.tfrecord"
eval = "{{SPAN}}/eval.tfrecord"
window = 3
[image]
height = 14
width = 14
channels = 1
[training]
steps = 80
batch_size = 16
validate_every = 80
projector = false
[export]
tflite = false
[retraining]
tolerated_drop = 0.5
max_skips = 1
[evaluation.thresholds."map@r"]
lower = 0.8
""")
        self._start = 0
        self.arrives(1)
        self.first = self.run()
        self.arrives(2)
        self.skipped = self.run()
        self.served = tree(Path(self.config.pipeline.serving_directory))
        self.again = self.run()
        self.renamed = self.arrives(3, trained=SPOILT, wrong=WRONG)
        self.rejected = self.run()
        self.every_run = read_runs(self.config)
        self.runs = [*self.every_run]
        self.cached = self.runs.pop(2)

    @property
    def config(self) -> Config:
        return load_config(str(self.path))

    def run(self) -> Run:
        run_pipeline(self.config)
        return latest_run(self.config)

    def arrives(
        self, span: int, trained: int = TRAINED, wrong: dict[bytes, bytes] | None = None
    ) -> dict[str, tuple[str, str]]:
        """Writes a span; returns label and true label of each image with a wrong one, by its id."""
        folder = self.root / "data" / str(span)
        folder.mkdir(parents=True)
        renamed = {}
        for split, number in (("eval", EVALUATED), ("train", trained)):
            with tf.io.TFRecordWriter(str(folder / f"{split}.tfrecord")) as writer:
                for image, true, id_ in digits(number, start=self._start, classes=CLASSES):
                    label = (wrong or {}).get(true, true) if split == "train" else true
                    if label != true:
                        renamed[id_.decode()] = (label.decode(), true.decode())
                    writer.write(make_example(image, label, id_).SerializeToString())
            self._start += number
        return renamed


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return Chain(tmp_path_factory.mktemp("chain"))


def tree(folder: Path) -> dict[str, int]:
    """All files, with the times they were written, in nanoseconds."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def nodes(run: Run) -> set[str]:
    return {node.node for node in run.nodes}


def test_a_span_on_which_the_served_model_still_fits_ends_there(chain: Chain) -> None:
    first, skipped, _ = chain.runs
    assert (first.state, first.window, first.index["images"]) == (
        "pushed", (1,), (TRAINED + EVALUATED) * len(CLASSES),
    )  # fmt: skip
    assert first.decision == "no blessed model of these settings is there"
    assert nodes(chain.first) >= BEHIND

    assert (skipped.state, skipped.span) == ("skipped", 2)
    assert not BEHIND & nodes(chain.skipped)
    assert "TrainingDecision" in nodes(chain.skipped)
    queries = EVALUATED * len(CLASSES)
    assert f"on {queries} new queries of {len(CLASSES)} classes" in str(skipped.reason)
    sentence, _ = describe_run(skipped, chain.runs)
    assert sentence.startswith("Skipped, nothing was trained; span 2")
    assert "the served model still fits: precision@1 " in sentence


def test_the_images_of_a_skipped_span_enter_the_index_of_the_served_model(chain: Chain) -> None:
    first, skipped, _ = chain.runs
    assert not UPDATE & (nodes(chain.first) | nodes(chain.rejected))
    assert nodes(chain.skipped) >= UPDATE
    of_span = (TRAINED + EVALUATED) * len(CLASSES)
    counts = [skipped.index[name] for name in ("images", "added", "kept", "removed")]
    assert counts == [2 * of_span, of_span, of_span, 0]
    assert skipped.index["model_fingerprint"] == first.index["model_fingerprint"]
    assert list(describe_run(skipped, chain.runs))[1] == (
        f"Version {skipped.version} has the same model and an index of {2 * of_span} images: "
        f"{of_span} added, {of_span} kept, 0 removed."
    )
    serving = Path(chain.config.pipeline.serving_directory)
    old, new = (serving / str(run.version) for run in (first, skipped))
    assert chain.skipped.pushed_to == str(new)
    assert check_same_model(str(new)).images == 2 * of_span
    # All else is as it was pushed with the model, but for what the signature `nearest` searches.
    lists = [{str(path.relative_to(one)) for path in one.rglob("*")} for one in (old, new)]
    assert lists[0] == lists[1] >= {"model_card.md", "index/gallery.parquet"}
    for name in ("saved_model.pb", "model_card.md", "assets/threshold"):
        assert (old / name).read_bytes() == (new / name).read_bytes()
    assert max(path.name for path in serving.iterdir() if path.name.isdigit()) == skipped.version
    # A run without news makes nothing of it once more.
    assert (chain.cached.state, chain.cached.version) == ("nothing new", None)
    assert {n.state for n in chain.again.nodes if not n.node.endswith("Resolver")} == {"cached"}


def test_the_next_span_is_trained_on_with_the_skipped_one_and_rejected(chain: Chain) -> None:
    run = chain.runs[-1]
    assert run.decision == "1 span was skipped in a row, max_skips = 1"
    assert (run.state, run.window, run.index) == ("rejected", (1, 2, 3), {})
    # Evaluated on all spans of the window.
    assert run.metrics["candidate"]["queries"] == 3 * EVALUATED * len(CLASSES)
    # The versions with their indexes are as the runs before left them.
    assert tree(Path(chain.config.pipeline.serving_directory)) == chain.served


def test_blame_names_the_span_its_classes_and_its_images(chain: Chain) -> None:
    config, folder = chain.config, chain.root / "spans"
    before = sorted(folder.iterdir())
    kept = find_blame(config, rejected_run(config, None), keep=True).kept
    assert kept is not None
    trials = nodes_of_trials(config, Path(kept))
    assert len(trials) == 2
    for names in trials:
        assert {"Transform", "TripletGen", "Trainer", "Evaluator"} <= names
        assert not names & {
            "DataAudit", "BaselineResolver", "ReportGen", "PreviousIndexResolver", "IndexGen",
            "Pusher", *UPDATE,
        }  # fmt: skip
    # As a command it finds these in its cache.
    done = CliRunner().invoke(main, ["blame", "--config", str(chain.path), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["outcome"], found["spans"], found["window"]) == ("training", [3], [1, 2, 3])
    tried = [(trial["without"], trial["blessed"]) for trial in found["trials"]]
    assert tried == [([], False), ([3], True)]
    # With the whole window it comes to what it came to.
    whole = found["trials"][0]["metrics"]
    noted = chain.runs[-1].metrics["candidate"]  # of few digits
    assert whole == pytest.approx({name: noted[name] for name in whole}, abs=1e-6)

    looks_like = {new.decode(): old.decode() for old, new in WRONG.items()}
    spoilt, others = found["classes"][: len(WRONG)], found["classes"][len(WRONG) :]
    assert {one["label"]: one["looks_like"] for one in spoilt} == looks_like
    assert {one["images"] for one in spoilt} == {SPOILT}
    assert all(one["strangers"] > 0.9 * SPOILT for one in spoilt)
    assert all(one["strangers"] < 0.2 * one["images"] for one in others)
    # Of the images that are named nearly all are the spoilt ones, and these come first.
    images = {one["id"]: (one["label"], one["neighbours"]) for one in found["images"]}
    right = images.items() & chain.renamed.items()
    assert len(chain.renamed) == len(WRONG) * SPOILT
    assert len(right) > 0.9 * len(chain.renamed)
    assert len(right) > 0.9 * len(images)
    assert all(one["id"] in chain.renamed for one in found["images"][:SPOILT])
    # Half of these labels are wrong, so most images have neighbours of their own label.
    assert found["audit"][0].startswith("The audit of the run doubts ")
    # Nothing is left of it, and nothing has changed.
    assert sorted(folder.iterdir()) == before
    assert read_runs(config) == chain.every_run
    assert tree(Path(config.pipeline.serving_directory)) == chain.served


def nodes_of_trials(config: Config, folder: Path) -> list[set[str]]:
    place = {"directory": str(folder.parent), "name": folder.name}
    scratch = config.model_copy(update={"pipeline": config.pipeline.model_copy(update=place)})
    runs = read_pipeline_runs(open_store(scratch, readonly=True), folder.name)
    return [set(run.nodes) for run in runs]
