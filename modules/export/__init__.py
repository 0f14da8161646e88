"""What becomes of a trained network: the SavedModel with its signatures, TFLite models, pictures.

Look here for the signatures `serving_default` and `images`, for `tflite.json` and its report, and
for TensorBoard's projector.

>>> from modules.export import extra_assets
>>> extra_assets("serving/7")
'serving/7/assets.extra'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
