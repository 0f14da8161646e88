"""TFX's Pusher with the executor of this project."""

from __future__ import annotations

from tfx.components.pusher import component as tfx_component
from tfx.dsl.components.base import executor_spec
from tfx.orchestration import data_types
from tfx.proto import pusher_pb2
from tfx.types import BaseChannel

from components.pusher import executor


class Pusher(tfx_component.Pusher):
    """Gives a blessed model to the folder that TensorFlow Serving polls.

    A version folder appears complete, by one rename, also when the push is killed at any moment;
    see `components.pusher.versioned_push`. Version numbers are Unix times in seconds, raised where
    needed so that every push has a greater one than the last. A push of what the newest version
    holds already, byte for byte, makes no new version; so a node can be tried again.

    Output `pushed_model`: a copy of the version, with TFX's custom properties `pushed` (1 or 0),
    `pushed_destination` (the version folder) and `pushed_version`, and with `pushed_extras`: what
    lies beside the model in the version, as JSON, by its path there where it was copied from. That
    is the operating point, where the Evaluator has written one beside its verdict.

    Source: `tfx.components.pusher.component.Pusher`.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: BaseChannel,
        push_destination: pusher_pb2.PushDestination | data_types.RuntimeParameter,
        model_blessing: BaseChannel | None = None,
        keep_versions: int = 0,
    ) -> None:
        """Describes the node.

        Args:
            model: Of type Model, from Trainer.
            push_destination: A file system; a local one for the guarantee above. One pipeline for
                one folder.
            model_blessing: Of type ModelBlessing, from Evaluator; without it every model is pushed.
            keep_versions: After a push, only so many of the newest versions stay; 0 for all.

        Raises:
            ValueError: `keep_versions` is negative.
        """
        if keep_versions < 0:
            raise ValueError(f"keep_versions must be at least 0 (0 keeps all), not {keep_versions}")
        super().__init__(
            model=model,
            model_blessing=model_blessing,
            push_destination=push_destination,
            custom_config={executor.KEEP_VERSIONS_KEY: keep_versions},
        )
