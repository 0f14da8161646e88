"""The code inside the nodes: what is done to images, networks and embeddings; no TFX pipeline here.

On top lie the data contract (`contract.py`) and the files that TFX loads: `preprocessing.py` for
Transform, `trainer.py` for Trainer, `evaluator.py` for Evaluator. They are thin. The work is done
in the packages below: `images`, `models`, `losses`, `batches`, `training`, `retrieval`, `gate`,
`export`; `settings` are the typed tables that nodes receive, `storage` reads and writes files.

>>> from modules.contract import FEATURES, make_example
>>> FEATURES
('image', 'label', 'id')
"""
