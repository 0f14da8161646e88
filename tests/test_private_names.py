"""Names that libraries keep private and this project uses all the same.

A test that fails here says that a new version of a library has changed such a name: adapt the file
that the message names.
"""

from __future__ import annotations

import inspect

import keras
import ml_metadata as mlmd
import pytest
import tensorflow as tf
from apache_beam.portability import python_urns
from apache_beam.runners.portability import fn_api_runner
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import data_plane
from ml_metadata.proto import metadata_store_pb2 as proto
from tfx.components.pusher.executor import Executor as TfxPusher
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.orchestration import metadata
from tfx.orchestration.portable import cache_utils, launcher

WORKERS = "components/triplet_gen/workers.py"
ADAMW = "modules/training/scaled_adamw.py"


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize(
    ("owner", "name", "expected", "used_in"),
    [
        (keras.optimizers.Optimizer, "_var_key", ["self", "variable"], ADAMW),
        (
            keras.optimizers.Optimizer,
            "_all_reduce_sum_gradients",
            ["self", "grads_and_vars"],
            ADAMW,
        ),
        (
            keras.optimizers.Optimizer,
            "update_step",
            ["self", "gradient", "variable", "learning_rate"],
            ADAMW,
        ),
        (worker_handlers.SubprocessSdkWorkerHandler, "start_worker", ["self"], WORKERS),
        (worker_handlers.SubprocessSdkWorkerHandler, "close", ["self"], WORKERS),
        (
            worker_handlers.WorkerHandler,
            "register_environment",
            ["urn", "payload_type"],
            WORKERS,
        ),
        (
            mlmd.MetadataStore,
            "_call",
            ["self", "method_name", "request", "response", "extra_options"],
            "pipeline/metadata/postgresql.py",
        ),
        (
            launcher.Launcher,
            "_prepare_execution",
            ["self"],
            "pipeline/launch.py and pipeline/checked_cache.py",
        ),
        (
            launcher.Launcher,
            "_clean_up_stateless_execution_info",
            ["self", "execution_info"],
            "pipeline/launch.py",
        ),
        (BaseBeamExecutor, "_make_beam_pipeline", ["self"], "components/*/executor.py"),
        (
            TfxPusher,
            "_MarkPushed",
            ["self", "model_push", "pushed_destination", "pushed_version"],
            "components/pusher/executor.py",
        ),
        (TfxPusher, "_MarkNotPushed", ["self", "model_push"], "components/pusher/executor.py"),
    ],
)
def test_a_private_method_is_as_it_was(owner, name, expected, used_in) -> None:
    assert hasattr(owner, name), f"{owner.__name__} has no {name} any more; {used_in} uses it"
    assert parameters(getattr(owner, name)) == expected, f"{used_in} calls {owner.__name__}.{name}"


def test_the_cache_of_tfx_asks_whether_artifacts_are_whole() -> None:
    source = inspect.getsource(cache_utils.get_cached_outputs)
    assert "artifact_utils.verify_artifacts(cached_output_artifacts)" in source, (
        "see pipeline/checked_cache.py"
    )
    assert "except RuntimeError" in source, "see pipeline/checked_cache.py"


def test_the_handle_of_tfx_counts_its_users() -> None:
    used_in = "kubeflow/metadata_handle.py"
    database = proto.ConnectionConfig(fake_database=proto.FakeDatabaseConfig())
    handle = metadata.Metadata(database)
    assert (handle._store, handle._users) == (None, 0), f"see {used_in}"
    with handle:
        assert handle._users == 1, f"see {used_in}"
        assert handle.store is handle._store, f"see {used_in}"
    assert (handle._store, handle._users) == (None, 0), f"see {used_in}"


def test_keras_sums_gradients_by_the_method_that_is_overridden() -> None:
    """Overridden in vain, gradients of several replicas would be summed twice."""
    source = "".join(
        inspect.getsource(kind)
        for kind in keras.optimizers.Adam.__mro__
        if kind.__module__.startswith("keras")
    )
    assert "self._all_reduce_sum_gradients(" in source, f"nothing calls it; see {ADAMW}"


def test_a_variable_of_keras_has_a_key() -> None:
    optimizer, variable = keras.optimizers.Adam(), keras.Variable(tf.zeros([1]))
    assert optimizer._var_key(variable) == optimizer._var_key(variable)


def test_the_worker_handler_of_beam_is_built_as_it_was() -> None:
    """What `WatchedWorkerHandler` reads of the handler and of its connections."""
    handler = worker_handlers.SubprocessSdkWorkerHandler
    source = inspect.getsource(handler)
    for name in ("self.worker_thread", "self.control_conn", "self.data_conn"):
        assert name in source + inspect.getsource(worker_handlers.GrpcWorkerHandler), (
            f"{handler.__name__} has no {name} any more; {WORKERS} uses it"
        )
    connection = inspect.getsource(worker_handlers.ControlConnection)
    assert "self._futures_by_id" in connection, f"see {WORKERS}"
    assert hasattr(worker_handlers.ControlFuture, "abort"), f"see {WORKERS}"
    assert hasattr(worker_handlers.BeamFnControlServicer, "_DONE_MARKER"), f"see {WORKERS}"
    registered = worker_handlers.WorkerHandler._registered_environments
    assert registered[python_urns.SUBPROCESS_SDK] == (handler, bytes), f"see {WORKERS}"


def test_beam_says_that_a_channel_closed_as_it_did() -> None:
    """`watch_workers` tells a worker that ended early by these words."""
    text = "Channel closed prematurely"
    modules = (worker_handlers, fn_api_runner.fn_runner, data_plane)
    assert any(text in inspect.getsource(module) for module in modules), (
        f"Beam never says {text!r} any more; see {WORKERS}"
    )
