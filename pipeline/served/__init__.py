"""A pushed version as it is used: its model, its index and its operating point as one.

`versions.py` finds a version and `version.py` opens it; the other files do the work of the commands
`search`, `embed`, `verify` and `cluster`. The web application is in `pipeline/web`.

>>> from pipeline.served import VersionError
>>> VersionError.exit_code.name
'FAILED'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
