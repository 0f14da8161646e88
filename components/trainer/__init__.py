"""Trainer: TFX's node of that name, whose module file is imported from where it lies, not packed.

>>> import modules
>>> from tfx.proto import trainer_pb2
>>> from tfx.types import Channel, standard_artifacts
>>> from components.trainer import Trainer
>>> trainer = Trainer(
...     module_file=f"{modules.__path__[0]}/trainer.py",
...     examples=Channel(type=standard_artifacts.Examples),
...     transform_graph=Channel(type=standard_artifacts.TransformGraph),
...     train_args=trainer_pb2.TrainArgs(num_steps=600),
...     custom_config={},
... )
>>> trainer.exec_properties["run_fn"]
'modules.trainer.run_fn'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
