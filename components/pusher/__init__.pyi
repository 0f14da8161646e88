from .component import Pusher as Pusher
from .versioned_push import (
    push as push,
    same_files as same_files,
    version_path as version_path,
    versions as versions,
)
