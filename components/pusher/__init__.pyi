from .component import Pusher as Pusher
from .trial import UnusableModelError as UnusableModelError, try_model as try_model
from .versioned_push import (
    push as push,
    same_files as same_files,
    source_checksums as source_checksums,
    version_files as version_files,
    version_path as version_path,
    versions as versions,
)
