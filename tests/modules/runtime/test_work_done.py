"""Counts of work, also from several threads."""

from __future__ import annotations

import threading

from modules.runtime import work_done


def test_in_words() -> None:
    work_done.reset()
    assert work_done.describe() == ""
    work_done.add("images", 1200)
    assert work_done.describe() == "1,200 images"
    work_done.expect("images", 2000)
    work_done.expect("images", 500)
    work_done.add("buckets")
    assert work_done.describe() == "1,200 of 2,500 images, 1 buckets"
    work_done.reset()
    assert work_done.describe() == ""


def test_threads_at_once() -> None:
    work_done.reset()
    threads = [
        threading.Thread(target=lambda: [work_done.add("images") for _ in range(1000)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert work_done.describe() == "8,000 images"
    work_done.reset()
