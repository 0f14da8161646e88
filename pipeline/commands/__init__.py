"""The commands of `python -m pipeline`: thin, one file each; the work is done in `operations`.

A command is imported when it is called, so that `--help` need not load what the commands need.

>>> from click.testing import CliRunner
>>> from pipeline.commands import main
>>> "summary" in CliRunner().invoke(main, ["--help"]).output
True
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
