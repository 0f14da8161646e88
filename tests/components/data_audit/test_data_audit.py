"""DataAudit through its real executor, on real digits with planted faults."""

from __future__ import annotations

import io
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tfx.types import standard_artifacts

from components.data_audit import Audit
from components.data_audit.executor import Executor
from modules.audit import read_audit, read_suspects
from modules.contract import DISTRACTORS
from modules.settings import AuditSettings
from tests.real_data import BEAM_ARGS, Row, digits, examples_artifact, png

THREADS = ["--direct_num_workers=4", "--direct_running_mode=multi_threading"]
OPEN = {"max_leaked": 1.0, "max_conflicting": 1.0}


def audit(root: Path, examples, *, models=(), evaluated=(), beam_args=(), **settings) -> Audit:
    """Runs the executor."""
    output = Audit()
    output.uri = str(root)
    context = Executor.Context(
        make_beam_pipeline_fn=lambda: beam.Pipeline(argv=[*BEAM_ARGS, *beam_args])
    )
    Executor(context).Do(
        {"examples": [examples], "model": list(models), "evaluated": list(evaluated)},
        {"audit": [output]},
        {"settings": AuditSettings(**settings).model_dump_json(), "background": "white"},
    )
    return output


class Pixels(tf.Module):
    """The embedding is the image itself, less its usual grey, of length 1."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def embed(self, images):
        pixels = tf.map_fn(tf.io.decode_png, images, fn_output_signature=tf.uint8)
        pixels = tf.cast(tf.ensure_shape(pixels, [None, 28, 28, 1]), tf.float32) / 255 - 0.2
        return {"embedding": tf.math.l2_normalize(tf.reshape(pixels, [-1, 28 * 28]), axis=1)}


def model_artifact(root: Path) -> standard_artifacts.Model:
    """Saves it as Trainer saves a model."""
    network, artifact = Pixels(), standard_artifacts.Model()
    artifact.uri = str(root)
    folder = f"{artifact.uri}/Format-Serving"
    tf.saved_model.save(network, folder, signatures={"images": network.embed})
    return artifact


def smaller(image: bytes) -> bytes:
    """The same digit in another size."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(image)).resize((56, 56), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def moved(image: bytes) -> bytes:
    """The same digit a pixel further to the left and up."""
    return png(np.roll(np.asarray(Image.open(io.BytesIO(image))), (-1, -1), (0, 1)))


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Row]]:
    """40 digits in train and 20 in eval, with faults."""
    good = digits(6)
    train, evaluated = good[:40], good[40:]
    blank = png(np.full((28, 28), 9, np.uint8))
    train += [
        (train[0][0], train[0][1], b"copy"),
        (train[5][0], b"9", b"conflict"),  # it is a 0
        (train[3][0], b"0", b"spare"),
        (blank, b"blank", b"blank"),
        (moved(train[11][0]), train[11][1], b"moved"),
        (good[20][0], b"Six", b"upper"),
        (good[21][0], b"six", b"lower"),
    ]
    evaluated += [(train[7][0], train[7][1], b"leak"), (smaller(train[9][0]), b"1", b"near")]
    return {"train": train, "eval": evaluated, DISTRACTORS: [(train[0][0], b"any", b"far")]}


@pytest.fixture(scope="module")
def examples(tmp_path_factory, rows):
    return examples_artifact(tmp_path_factory.mktemp("examples"), rows)


def test_every_planted_fault_is_found_and_nothing_else(tmp_path: Path, examples, rows) -> None:
    output = audit(tmp_path, examples, **OPEN)
    report = read_audit(output.uri)
    assert report.images == {"eval": 22, "train": 47}
    assert report.counts == {
        "classes": 13,  # 0 to 9, blank, Six, six
        "groups_of_copies": 6,
        "copies": 5,  # of five of them; the leak is the only one in its split
        "leaked": 1,
        "conflicting": 6,  # three pairs
        "near_duplicates": 2,
        "near_duplicates_conflicting": 0,
        "near_leaked": 1,
        "crowded": 0,
        "blank": 1,
        "alone": 3,
        "undecodable": 0,
        "suspects": 0,
        "near_by_model": 0,
    }
    assert report.shares == {
        "leaked": 1 / 22, "conflicting": 6 / 69, "copies": 5 / 47, "near_leaked": 1 / 22,
    }  # fmt: skip
    assert [[one.id for one in group.members] for group in report.copies[:1]] == [
        ["conflict", rows["train"][5][2].decode()]
    ]
    near, shifted = report.near_duplicates
    assert {one.id for one in near.members} == {"near", rows["train"][9][2].decode()}
    assert (near.leaked, near.conflicting, near.shifted) == (True, False, False)
    assert {one.id for one in shifted.members} == {"moved", rows["train"][11][2].decode()}
    assert (shifted.leaked, shifted.shifted, shifted.bits) == (False, True, 0)
    assert [one.id for one in report.blank] == ["blank"]
    assert [(one.id, one.label) for one in report.alone] == [
        ("upper", "Six"), ("blank", "blank"), ("lower", "six"),
    ]  # fmt: skip
    assert report.similar_names == [["Six", "six"]]
    assert read_suspects(output.uri) == {
        b"conflict", b"upper", b"lower", *(rows["train"][n][2] for n in (5, 20, 21)),
    }  # fmt: skip
    assert output.get_int_custom_property("leaked") == 1


def test_the_result_depends_neither_on_the_files_nor_on_the_runner(tmp_path, examples, rows):
    written = []
    backwards = {name: of_split[::-1] for name, of_split in rows.items()}
    other = examples_artifact(tmp_path / "examples", backwards, shards=5)
    for number, (which, args) in enumerate([(examples, []), (other, THREADS)]):
        output = audit(tmp_path / str(number), which, beam_args=args, **OPEN)
        written.append({p.name: p.read_bytes() for p in Path(output.uri).iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {"audit.json", "suspects.json"}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_leaked": 1 / 23}, r"4\.55% of the eval images have a copy in train.*leak.*\n  What"),
        ({"max_conflicting": 5 / 69}, r"8\.70% of the images have a copy with another label.*drop"),
        ({"max_copies": 4 / 47}, r"10\.64% of the images of a split repeat another"),
        ({"max_near_leaked": 0.0}, r"4\.55% of the eval images have a near-duplicate.*near "),
    ],
)
def test_what_is_above_a_threshold_stops_the_run(tmp_path, examples, limits, message) -> None:
    with pytest.raises(ValueError, match=f"(?is){message}") as error:
        audit(tmp_path, examples, **(OPEN | limits))
    assert "[data] corrections" in str(error.value)
    assert read_audit(str(tmp_path)).failures  # for the command that shows them


def test_real_digits_pass_and_a_share_equal_to_the_threshold_too(tmp_path, examples) -> None:
    audit(tmp_path / "equal", examples, max_leaked=1 / 22, max_conflicting=6 / 69)
    good = examples_artifact(tmp_path / "good", {"train": digits(4), "eval": digits(2, start=4)})
    assert read_audit(audit(tmp_path / "a", good).uri).failures == []


def test_other_eval_images_take_the_place_of_those_of_the_window(tmp_path, examples, rows) -> None:
    other = examples_artifact(
        tmp_path / "other", {"train": rows["train"], "eval": digits(1, start=9)}
    )
    report = read_audit(audit(tmp_path / "a", examples, evaluated=[other], **OPEN).uri)
    assert report.images == {"eval": 10, "train": 47}
    assert report.counts["leaked"] == 0


def test_a_model_names_the_wrong_label(tmp_path: Path, rows) -> None:
    good = digits(20, classes=(0, 1))
    wrong = (good[22][0], b"0", good[22][2])  # a 1
    train, evaluated = [*good[:22], wrong, *good[23:]], digits(8, start=20, classes=(0, 1))
    examples = examples_artifact(tmp_path / "examples", {"train": train, "eval": evaluated})
    model = model_artifact(tmp_path / "model")
    found = []
    for number, args in enumerate(([], THREADS)):
        output = audit(tmp_path / str(number), examples, models=[model], beam_args=args)
        found.append(Path(output.uri, "audit.json").read_bytes())
        assert wrong[2] in read_suspects(output.uri)
    report = read_audit(output.uri)
    assert report.compared == 56
    (named,) = (one for one in report.suspects if one.id == wrong[2].decode())
    assert (named.label, named.neighbours) == ("0", "1")
    assert found[0] == found[1]
    # Of 56 images about 20, chosen by their ids alone.
    examples.set_int_custom_property("images", 56)
    some = read_audit(audit(tmp_path / "s", examples, models=[model], model_images=20).uri)
    assert 10 <= some.compared <= 30


def test_without_images_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    empty = examples_artifact(tmp_path / "e", {"train": [], "eval": []}, shards=0)
    with pytest.raises(ValueError, match="no examples in"):
        audit(tmp_path / "a", empty)
