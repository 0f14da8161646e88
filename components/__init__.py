"""The TFX nodes of this project, one package each: component, executor, Beam transforms.

Nodes that TFX has keep TFX's name and place in the chain, and do something more. `resolvers` choose
earlier artifacts, `spans` tell data apart that arrives piece by piece, `metadata` follows lineage.

>>> import pkgutil
>>> import components
>>> "triplet_gen" in {package.name for package in pkgutil.iter_modules(components.__path__)}
True
"""
