"""An index that the disk has damaged is no source of vectors for the next one."""

from __future__ import annotations

import pytest

from components.index_gen.earlier import check_readable
from modules.index import GALLERY_FILE, index_folder
from tests.modules.index.index_folders import unit_vectors, write_flat_index


def test_a_gallery_that_was_cut_or_changed_anywhere_is_noticed(tmp_path) -> None:
    (tmp_path / "saved_model.pb").write_text("a model")
    write_flat_index(tmp_path, unit_vectors(200, 16))
    gallery = tmp_path / "index" / GALLERY_FILE
    assert str(gallery.parent) == index_folder(str(tmp_path))
    check_readable(str(gallery))
    content = gallery.read_bytes()
    places = range(4, len(content) - 8, max(1, len(content) // 40))
    noticed = 0
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 0x10
        gallery.write_bytes(changed)
        try:
            check_readable(str(gallery))
        except (OSError, ValueError):
            noticed += 1
    # Headers of pages and the description of the file have bytes without a meaning.
    assert noticed >= 0.8 * len(places)
    for length in (0, 4, len(content) // 2, len(content) - 1):
        gallery.write_bytes(content[:length])
        with pytest.raises((OSError, ValueError)):
            check_readable(str(gallery))
