"""Ready configurations; the header of each states its command, its time and its result.

>>> from importlib.resources import files
>>> ready = {f.name for f in files("pipeline.config.ready").iterdir()}
>>> {"mnist-sample.toml", "characters.toml", "faces.toml", "products.toml"} <= ready
True
"""
