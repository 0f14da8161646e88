"""A gallery in a vector database: each a collection of its own, and an alias for the one in use.

`gallery.py` reads the index of a version, `handover.py` says in which order a database gets it, and
`qdrant.py` and `postgresql.py` know one database each.

>>> from pipeline.vector_databases import collection_name
>>> collection_name("birds", model="ab12" * 16, gallery="cd34" * 16)
'birds_ab12ab12ab12_cd34cd34cd34'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
