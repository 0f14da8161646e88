"""The node Trainer."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from tfx.components import Trainer as TfxTrainer
from tfx.proto import trainer_pb2
from tfx.types import BaseChannel

from modules.contract import VALIDATION


class Trainer(TfxTrainer):
    """Trains a model by the `run_fn` of a module file.

    TFX's own node packs the module file, and every `.py` file beside it, into a wheel for each run,
    installs that wheel for each node, and leaves the folders behind. The file still imports the
    rest of this project from where it lies, so the wheel brings nothing. Here the module is
    imported by its name. The packages below the file are not in TFX's wheel either: what code a
    training depends on says `custom_config["code_fingerprint"]`.

    Id, inputs and outputs are those of `tfx.components.Trainer`.
    """

    def __init__(
        self,
        module_file: str,
        examples: BaseChannel,
        transform_graph: BaseChannel,
        train_args: trainer_pb2.TrainArgs,
        custom_config: dict[str, Any],
        base_model: BaseChannel | None = None,
    ) -> None:
        """Configures the node.

        Args:
            module_file: A file of a package that can be imported, such as `modules/trainer.py`,
                with a function `run_fn`.
            examples: Triplets, as TripletGen writes them: `train` to learn from, `validation` to
                choose the weights by.
            transform_graph: Of Transform.
            train_args: How many steps to train.
            custom_config: What `run_fn` gets to know; anything that JSON can hold.
            base_model: A model to start from, or nothing.

        Raises:
            ValueError: The file cannot be imported by a name.
        """
        super().__init__(
            run_fn=f"{_module_name(Path(module_file))}.run_fn",
            examples=examples,
            transform_graph=transform_graph,
            train_args=train_args,
            # The eval split is the Evaluator's: what has seen it cannot be judged by it.
            eval_args=trainer_pb2.EvalArgs(splits=[VALIDATION]),
            custom_config=custom_config,
            base_model=base_model,
        )


def _module_name(file: Path) -> str:
    """`modules.trainer` for `…/modules/trainer.py`."""
    parts = [file.stem]
    for folder in file.resolve().parents:
        if not (folder / "__init__.py").exists():
            break
        parts.insert(0, folder.name)
    name = ".".join(parts)
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # a package around it is not on Python's path
        spec = None
    if len(parts) < 2 or spec is None or spec.origin != str(file.resolve()):
        raise ValueError(
            f"Trainer cannot import module_file {file}. Put it into a package (a folder with "
            "__init__.py) that is on Python's path, as modules/trainer.py is."
        )
    return name
