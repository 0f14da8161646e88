"""Ready configurations; the header of each states its command, its time and its result.

>>> from importlib.resources import files
>>> sorted(f.name for f in files("pipeline.config.ready").iterdir() if f.name.endswith(".toml"))
['mnist-sample-unseen.toml', 'mnist-sample.toml', 'mnist.toml']
"""
