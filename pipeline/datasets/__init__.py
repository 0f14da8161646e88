"""Known data sets, and how labelled images become TFRecord files that the pipeline reads.

>>> from pipeline.datasets import load_dataset
>>> digits = load_dataset("mnist-sample")
>>> digits["train"].images.shape, digits["eval"].ids[0]
((4000, 28, 28), 'mnist-sample/00003')
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
