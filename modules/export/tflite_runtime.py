"""Runs TFLite models on this machine, to compare and to time them."""

from __future__ import annotations

import re
import statistics
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from modules.runtime import held_back

_RUNS, _SECONDS = 50, 1.0  # of the measurement of the latency, whichever ends first
# What the converter and the interpreter say about themselves, and nothing to act on.
CHATTER = re.compile(
    rb"Ignored (output_format|drop_control_dependency)|Created TensorFlow Lite XNNPACK delegate|"
    rb"providing the trackable_obj argument"
)


def run_tflite(content: bytes, images: np.ndarray) -> np.ndarray:
    """Embeds images by a TFLite model.

    Args:
        content: The file.
        images: Transformed pixels, float32 [N, H, W, C].

    Returns:
        float32 [N, D].
    """
    interpreter = _interpreter(content, len(images))
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def measure_latency(content: bytes, image: np.ndarray) -> float:
    """Median milliseconds of one image in one thread, the first call not counted."""
    interpreter = _interpreter(content, 1)
    index = interpreter.get_input_details()[0]["index"]
    seconds: list[float] = []
    while len(seconds) <= _RUNS and sum(seconds) < _SECONDS:
        started = time.perf_counter()
        interpreter.set_tensor(index, image)
        interpreter.invoke()
        seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds[1:] or seconds)


def _interpreter(content: bytes, batch: int) -> Interpreter:
    with held_back(2, CHATTER):
        interpreter = Interpreter(model_content=content, num_threads=1)
        found = interpreter.get_input_details()[0]
        interpreter.resize_tensor_input(found["index"], [batch, *found["shape"][1:]])
        interpreter.allocate_tensors()
    return interpreter
