"""The guard against trainings that lead nowhere; and those that it must leave alone."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, strategies as st

from modules.batches.reading import labelled_images
from modules.retrieval import COLLAPSED_SPREAD
from modules.settings import ModelSettings, TrainingSettings
from modules.training.callbacks import RetrievalValidation
from modules.training.guard import FailureGuard, TrainingFailedError
from tests.modules.training.training_runs import Run, pixels

MARGIN = 1 / 5
VALIDATION = {
    "val_precision@1": 0.5,
    "val_map@r": 0.3,
    "val_d_ap": 0.01,
    "val_d_an": 0.02,
    "val_spread": 0.05,
}
GOOD = VALIDATION | {"loss": MARGIN / 2, "d_ap": 0.3, "d_an": 0.9, "spread": 0.8}
STUCK = VALIDATION | {"loss": MARGIN * 21 / 20, "d_ap": 0.09, "d_an": 0.08, "spread": 0.05}
COLLAPSED = STUCK | {"spread": 1e-4, "val_spread": 1e-4}
TERMS = ("margin", "soft_margin")
QUERIES = 1000
BRIGHT = 300


def survives(logs: list[dict[str, float]], loss: str = "margin", **settings) -> bool:
    chosen = TrainingSettings(**{"loss": loss if loss in TERMS else "margin"} | settings)
    guard = FailureGuard(chosen.model_copy(update={"loss": loss}), QUERIES)
    try:
        for epoch, values in enumerate(logs):
            guard.on_epoch_end(epoch, values)
    except TrainingFailedError:
        return False
    return True


def rising(name: str, *values: float, logs: dict[str, float] = STUCK) -> list[dict[str, float]]:
    return [logs | {name: value} for value in values]


def test_only_a_whole_window_with_the_loss_at_the_margin_ends_training() -> None:
    assert survives([GOOD] * 9)
    assert survives([STUCK, STUCK, GOOD] * 3)
    assert not survives([GOOD, STUCK, STUCK, STUCK])
    assert survives([STUCK] * 4, guard_window=5)
    # Far from the margin, or apart in spite of it.
    assert survives([STUCK | {"loss": MARGIN * 4 / 5}] * 4)
    assert survives([STUCK | {"d_an": 0.09 + MARGIN / 5}] * 4)


def test_what_was_seen_is_left_alone() -> None:
    """P@1 rose while the loss stood near the margin: 0.392 of 0.4; and then it rose no more."""
    seen = STUCK | {"loss": 0.392, "d_ap": 0.3, "d_an": 0.31}
    precisions = (0.9, 0.95, 0.963, 0.964, 0.964, 0.964, 0.964)
    settings = {"mining": "distance_weighted", "margin": 0.4}
    assert survives(rising("val_precision@1", *precisions, logs=seen), **settings)
    assert not survives([seen] * 3, **settings)


def test_retrieval_that_gets_better_slowly_is_not_stuck() -> None:
    """By half a standard error, 0.016 / 2, at a time: each second one is seen."""
    slow = [0.5 + 0.008 * i for i in range(4)]
    assert survives(rising("val_map@r", *slow))
    # Less than that, or back and forth, is noise.
    assert not survives(rising("val_map@r", 0.5, 0.503, 0.506))
    assert not survives(rising("val_map@r", 0.5, 0.49, 0.5, 0.49))


def test_distances_that_move_apart_are_not_stuck() -> None:
    assert survives(rising("d_an", 0.071, 0.078, 0.085, 0.092, 0.099))
    assert not survives(rising("d_an", 0.099, 0.092, 0.085))


def test_an_embedding_that_separates_is_not_stuck() -> None:
    """As of a warm start: good from the beginning, and not better any more."""
    assert survives([STUCK | {"val_d_ap": 0.5, "val_d_an": 0.8}] * 9)
    assert not survives([STUCK | {"val_d_ap": 0.5, "val_d_an": 0.6}] * 3)


def test_soft_margin_is_stuck_at_log_2() -> None:
    logs = STUCK | {"loss": math.log(2)}
    assert not survives([logs] * 3, loss="soft_margin")
    assert survives([logs] * 3)


def test_other_losses_are_judged_by_retrieval_and_distances_alone() -> None:
    far = STUCK | {"loss": 7.0, "d_ap": 0.09, "d_an": 0.5}
    assert not survives([far] * 3, loss="a loss of pairs")
    assert survives([far] * 3)
    for name in ("val_map@r", "val_precision@1", "d_an"):
        values = (0.3, 0.4, 0.5, 0.6)
        assert survives(rising(name, *values, logs=far), loss="a loss of pairs")
    assert survives([far | {"val_d_an": 0.5}] * 9, loss="a loss of pairs")


def test_a_collapse_that_widens_is_on_its_way() -> None:
    assert not survives([COLLAPSED] * 3)
    assert survives([COLLAPSED, COLLAPSED, GOOD] * 3)
    widening = [COLLAPSED | {"spread": 1e-6 * 1.2**i} for i in range(9)]
    assert survives(widening)
    # Better retrieval alone does not help: no such model is ever blessed.
    assert not survives(rising("val_map@r", 0.2, 0.4, 0.6, logs=COLLAPSED))


def test_a_collapse_in_inference_alone_names_the_statistics() -> None:
    guard = FailureGuard(TrainingSettings(), QUERIES)
    logs = GOOD | {"val_spread": 1e-4}
    for epoch in range(2):
        guard.on_epoch_end(epoch, logs)
    with pytest.raises(TrainingFailedError, match=r"validation images have .* batch normalisation"):
        guard.on_epoch_end(2, logs)
    assert survives(rising("val_spread", 1e-5, 2e-5, 3e-5, 5e-5, 1e-4, logs=GOOD))


def test_a_loss_that_is_not_finite_ends_training_at_once_if_the_network_is_spoilt() -> None:
    nan = GOOD | {"loss": math.nan}
    assert not survives([nan | {"val_spread": math.nan}])
    assert not survives([GOOD | {"val_spread": math.nan}])
    assert survives([nan, nan, GOOD] * 3)
    assert not survives([nan] * 3)


@given(st.lists(st.sampled_from([GOOD, STUCK, COLLAPSED]), max_size=12))
def test_the_window_goes_on_in_a_resumed_training(logs: list[dict[str, float]]) -> None:
    """With a new guard after each validation, all ends at the same one."""

    def ends(resumed: bool) -> int | None:
        guard = FailureGuard(TrainingSettings(), QUERIES)
        for epoch, values in enumerate(logs):
            try:
                guard.on_epoch_end(epoch, values)
            except TrainingFailedError:
                return epoch
            if resumed:
                state, guard = guard.state(), FailureGuard(TrainingSettings(), QUERIES)
                guard.restore(state)
        return None

    assert ends(True) == ends(False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        # From random weights, without the warm-up.
        ({"mining": "hard", "warmup_steps": 0, "steps": 60}, r"collapsed|stuck .*warmup_steps"),
        (
            {"learning_rate": 1.0, "schedule": "constant", "steps": 60},
            r"collapsed|stuck .*learning_rate",
        ),
        (
            {"learning_rate": 1.0, "schedule": "constant", "precision": "mixed_float16"},
            r"loss is nan .*learning_rate",
        ),
    ],
)
def test_trainings_known_to_fail_are_stopped_with_advice(tmp_path, settings, message) -> None:
    with pytest.raises(TrainingFailedError, match=message) as caught:
        Run(tmp_path, **settings).fit()
    assert "no model was written" in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"mining": "hard", "warmup_steps": 20, "steps": 40, "validate_every": 10},
        # The loss stands near the margin at the first validations.
        {"mining": "distance_weighted", "margin": 1.5, "validate_every": 1, "guard_window": 1},
        # The rate has hardly begun to rise.
        {"rate_warmup_steps": 15, "validate_every": 3},
    ],
)
def test_trainings_that_learn_are_left_alone(tmp_path, settings) -> None:
    _, best = Run(tmp_path, **settings).fit()
    assert best.scores["val_map@r"] > 0.8


def test_a_training_that_was_never_apart_as_served_made_no_model() -> None:
    """Its loss is low and it widens at every validation, so nothing stops it before its end."""
    guard = FailureGuard(TrainingSettings(), QUERIES)
    model = keras.Model()
    guard.set_model(model)
    widening = [GOOD | {"served_spread": 1e-7 * 2**i, "val_spread": 1e-7} for i in range(6)]
    for epoch, logs in enumerate(widening[:-1]):
        model.stop_training = False
        guard.on_epoch_end(epoch, logs)
    model.stop_training = True
    with pytest.raises(TrainingFailedError, match=r"As the network is served, .* training images"):
        guard.on_epoch_end(5, widening[-1])


def test_images_far_from_0_are_apart_at_the_first_validation(tmp_path, monkeypatch) -> None:
    """The first moving averages are of quite other pixels; they are estimated anew."""
    spreads: list[float] = []
    original = FailureGuard.on_epoch_end

    def on_epoch_end(self: FailureGuard, epoch: int, logs: dict) -> None:
        spreads.append(logs["val_spread"])
        original(self, epoch, logs)

    monkeypatch.setattr(FailureGuard, "on_epoch_end", on_epoch_end)
    run = Run(tmp_path, ModelSettings(embedding_size=16, batch_norm=True), steps=60)
    _, best = run.fit(transform=lambda encoded: pixels(encoded) + BRIGHT)
    assert min(spreads) > COLLAPSED_SPREAD
    assert best.scores["val_map@r"] > 0.8


def test_a_step_left_out_in_float16_is_left_alone(tmp_path) -> None:
    """One of six batches overflows; without loss scaling it would spoil the network."""
    run = Run(tmp_path, precision="mixed_float16", steps=6)
    data = labelled_images(run.files, 20)
    images, labels = (
        pixels(tf.constant(data.images)),
        np.unique(data.labels, return_inverse=True)[1],
    )
    factors = tf.constant([1.0, 1.0, 1e6, 1.0, 1.0, 1.0])
    batches = tf.data.Dataset.from_tensor_slices(factors).map(
        lambda factor: (factor * images, tf.constant(labels))
    )
    losses: list[float] = []
    run.trainer().fit(
        batches, steps_per_epoch=2, epochs=3, shuffle=False, verbose=0,
        callbacks=[
            RetrievalValidation(data, pixels, str(tmp_path / "log")),
            FailureGuard(run.settings, len(data.ids)),
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda _, logs: losses.append(logs["loss"])
            ),
        ],
    )  # fmt: skip
    assert [math.isfinite(loss) for loss in losses] == [True, False, True]
