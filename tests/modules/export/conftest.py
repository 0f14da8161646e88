"""Fixtures of the signatures for all tests of the package, since saving takes seconds."""

from tests.modules.export.signature_models import bare, exported, full, gallery, version

__all__ = ["bare", "exported", "full", "gallery", "version"]
