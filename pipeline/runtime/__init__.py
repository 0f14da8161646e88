"""How commands behave: errors with exit codes, the lock, quiet logs, progress.

>>> from pipeline.runtime import ConfigError, ExitCode
>>> ConfigError.exit_code is ExitCode.USAGE
True
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
