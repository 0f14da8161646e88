"""Keeps start-up chatter of TensorFlow, TFX and Beam out of the user's output."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import re
import warnings
from collections.abc import Iterator

import absl.logging

from modules.runtime import held_back as held_back
from pipeline.runtime.verbosity import in_short, is_verbose

# Written by C++ to the file descriptor, before any log level applies. Everything else passes.
TENSORFLOW_CHATTER = re.compile(
    rb"All log messages before absl::InitializeLog|port\.cc.*oneDNN|cudart_stub\.cc|"
    rb"cpu_feature_guard\.cc|To enable the following instructions|TF-TRT Warning|"
    rb"util\.cc.*oneDNN supports|computation_placer\.cc|cuda_(dnn|fft|blas|platform)\.cc"
)
EVERYTHING = re.compile(rb"")
# What TFX says about every node although there is nothing to do about it.
_TFX_CHATTER = re.compile(
    r"non-ZetaSQL|ArtifactQuery\.property_predicate|in-place Transform because|tf_record_iterator"
)


def _matters(record: logging.LogRecord) -> bool:
    if _TFX_CHATTER.search(record.getMessage()):
        return False
    if not is_verbose():  # what ends a run is told at its end, and once
        record.exc_info = record.exc_text = None
        if record.levelno >= logging.WARNING:
            record.msg, record.args = in_short(record.getMessage()), ()
    return True


def set_log_levels() -> None:
    """Asks for warnings and errors only, in this process and in those it starts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    # Beam logs each error with the traceback of its worker, and raises it besides.
    beam = logging.ERROR if is_verbose() else logging.CRITICAL
    logging.getLogger("apache_beam").setLevel(beam)
    absl.logging.get_absl_logger().addFilter(_matters)
    logging.getLogger("tensorflow").addFilter(_matters)


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """For the import of TensorFlow and TFX; also looks for devices, which is noisy without one."""
    set_log_levels()
    with held_back(2, TENSORFLOW_CHATTER), without_garbage_collection():
        yield
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """For imports: what they make stays, and looking through it again and again takes seconds."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
