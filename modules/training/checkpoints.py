"""Checkpoints, with which a killed training goes on."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from absl import logging


class Resumable(Protocol):
    """A callback with a memory."""

    def state(self) -> dict[str, np.ndarray]:
        """What a later process needs to go on."""

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes over what `state` returned."""


class Checkpoints(keras.callbacks.Callback):
    """Writes the whole state of a training at every validation, the last one is kept.

    The state is: weights, optimizer (with averaged weights and the scale of the loss), the number
    of steps, random generators of layers, the memory of earlier batches, proxies, and what the
    other callbacks remember. The position in the data follows from the number of steps.

    Args:
        folder: Where to write, one per training; see `checkpoint_folder`.
        trainer: Compiled and with a built optimizer.
        callbacks: Those with a memory, by name. This one must come after them.
        writes: Whether it is this process that writes; of several workers the chief does.
    """

    def __init__(
        self,
        folder: str,
        trainer: keras.Model,
        callbacks: Mapping[str, Resumable],
        *,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self._folder, self._writes = folder, writes
        self._checkpoint = tf.train.Checkpoint(
            variables=[variable.value for variable in trainer.state_variables],
            callbacks=_Memory(callbacks),
        )
        self._manager = self._manage()

    def _manage(self) -> tf.train.CheckpointManager:
        return tf.train.CheckpointManager(self._checkpoint, self._folder, max_to_keep=1)

    def restore(self) -> bool:
        """Takes over the state of the latest checkpoint, if there is one; returns whether.

        One that cannot be read to its end is set aside with a warning, and the training begins
        anew: nothing is taken over before all of it was read.
        """
        latest = self._manager.latest_checkpoint
        if latest:
            try:
                _read_all(latest)
            except Exception as error:  # the reader raises errors of many kinds
                if not self._writes:  # then the chief sets it aside
                    return False
                aside = _set_aside(self._folder)
                logging.warning(
                    "The checkpoint %s cannot be read (%s), so the training begins anew. It was "
                    "moved to %s; `gc` removes it.", latest, str(error).splitlines()[0], aside,
                )  # fmt: skip
                self._manager = self._manage()
                return False
            self._manager.checkpoint.restore(latest).assert_consumed()
        return bool(latest)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes a checkpoint; the former one goes when it is complete."""
        if self._writes:
            self._manager.save()

    def delete(self) -> None:
        """Removes the folder, for a training that has reached its end."""
        if tf.io.gfile.exists(self._folder):
            tf.io.gfile.rmtree(self._folder)


def _read_all(checkpoint: str) -> None:
    """Reads every value of a checkpoint, whose checksums TensorFlow compares.

    Raises:
        Exception: As TensorFlow reports a file that is missing, cut or changed.
    """
    reader = tf.train.load_checkpoint(checkpoint)
    for name in reader.get_variable_to_shape_map():
        reader.get_tensor(name)


def _set_aside(folder: str) -> str:
    """Gives the folder another name, which no training looks for; returns it."""
    aside = f"{folder.rstrip('/')}.unreadable"
    if tf.io.gfile.exists(aside):
        tf.io.gfile.rmtree(aside)
    tf.io.gfile.rename(folder, aside)
    return aside


class _Memory(tf.train.experimental.PythonState):
    """What callbacks remember, as one string in the checkpoint."""

    def __init__(self, callbacks: Mapping[str, Resumable]) -> None:
        super().__init__()
        self._callbacks = callbacks

    def serialize(self) -> bytes:
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {
            f"{name}/{key}": value
            for name, callback in self._callbacks.items()
            for key, value in callback.state().items()
        }
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    def deserialize(self, string_value: bytes) -> None:
        with np.load(io.BytesIO(string_value)) as stored:
            for name, callback in self._callbacks.items():
                prefix = f"{name}/"
                callback.restore(
                    {
                        key.removeprefix(prefix): stored[key]
                        for key in stored.files
                        if key.startswith(prefix)
                    }
                )


def read_code_fingerprint(custom_config: Mapping[str, Any] | None) -> str:
    """Reads what the pipeline says of the code that Trainer runs.

    Args:
        custom_config: Of Trainer, with a string `code_fingerprint` that changes with the code.

    Raises:
        ValueError: There is none.
    """
    fingerprint = (custom_config or {}).get("code_fingerprint")
    if not isinstance(fingerprint, str) or not fingerprint:
        raise ValueError(
            "custom_config has no 'code_fingerprint', so a training could go on from a checkpoint "
            "that other code wrote. Pass Trainer custom_config={'code_fingerprint': a hash of the "
            "code it runs, ...}."
        )
    return fingerprint


def files_state(patterns: Sequence[str]) -> list[tuple[str, int, int]]:
    """Path, bytes and time (ns) of the files that globs find: a name alone may be given anew.

    Who removes the metadata database and begins again gets artifacts of the same names.
    """
    paths = sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))
    stats = [(path, tf.io.gfile.stat(path)) for path in paths]
    return [(path, stat.length, stat.mtime_nsec) for path, stat in stats]


def checkpoint_folder(model_run_dir: str, code_fingerprint: str, *determining: Any) -> str:
    """Names the folder for the checkpoints of one training.

    Every attempt of a node gets an output folder of its own, numbered, so checkpoints lie beside
    them: in `checkpoints/KEY`. The key is a hash of all that determines the training, the code and
    the versions of the libraries included. If any of it changes, the training does not go on from
    the state of another one. Where runs of a pipeline may go on at once, as pods, the environment
    variable TRIPLET_RUN_ID keeps them apart; a later try of the same run has the same one. Local
    runs have none: a run after one that was killed finds the same inputs in the cache.

    Args:
        model_run_dir: The output folder of this attempt.
        code_fingerprint: A string that changes with the code of the training.
        *determining: Anything that JSON can hold: settings, `files_state` of the input files.

    Returns:
        The path; nothing is made.
    """
    run = os.environ.get("TRIPLET_RUN_ID", "")
    parts = [*determining, run, code_fingerprint, tf.__version__, keras.__version__]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    parent = os.path.dirname(model_run_dir.rstrip("/"))  # noqa: PTH120
    return os.path.join(parent, "checkpoints", key)  # noqa: PTH118
