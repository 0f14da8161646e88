from .assets import (
    GALLERY_IDS as GALLERY_IDS,
    GALLERY_LABELS as GALLERY_LABELS,
    GALLERY_VECTORS as GALLERY_VECTORS,
    SIGNATURE_ASSETS as SIGNATURE_ASSETS,
    THRESHOLD as THRESHOLD,
    takes_assets as takes_assets,
    write_empty_assets as write_empty_assets,
    write_gallery_assets as write_gallery_assets,
    write_threshold_asset as write_threshold_asset,
)
from .building import make_index as make_index
from .description import (
    IndexDescription as IndexDescription,
    IndexFileError as IndexFileError,
    IndexMismatchError as IndexMismatchError,
    NoIndexError as NoIndexError,
)
from .fingerprint import is_of_model as is_of_model, model_fingerprint as model_fingerprint
from .gallery import GalleryIndex as GalleryIndex, open_index as open_index
from .layout import (
    GALLERY_FILE as GALLERY_FILE,
    IMAGE_HASH as IMAGE_HASH,
    INDEX_FOLDER as INDEX_FOLDER,
    THUMBNAIL as THUMBNAIL,
    VECTOR as VECTOR,
    VECTORS_FILE as VECTORS_FILE,
    gallery_schema as gallery_schema,
    has_index as has_index,
    index_folder as index_folder,
    read_description as read_description,
    write_index as write_index,
)
from .matching import check_same_model as check_same_model
from .tuning import TunedIndex as TunedIndex, choose_index as choose_index
from .vectors import Vectors as Vectors
