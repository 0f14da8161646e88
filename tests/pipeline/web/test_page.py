"""The page in a real Chromium: an image goes in, neighbours come out; also without a mouse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.served.served_versions import (
    GALLERY,
    QUERIES,
    neighbours_by_loop,
    write_version,
)
from tests.pipeline.web.browser import MISSING, TAB, Browser, browser
from tests.pipeline.web.servers import serving

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
QUERY = QUERIES[3][0]


@pytest.fixture(scope="module")
def window():
    with browser() as window:
        yield window


@pytest.fixture(scope="module")
def url(version_folder):
    with serving(version_folder) as url:
        yield url


def shown(window: Browser) -> list[tuple[str, str, str]]:
    """Id, label and distance of each card."""
    script = """return [...document.querySelectorAll("#results li")].map((card) =>
        [card.title, card.querySelector("b").innerText, card.querySelector("span").innerText])"""
    return [tuple(card) for card in window.run(script)]


def expected(k: int) -> list[tuple[str, str, str]]:
    found = neighbours_by_loop(QUERY, GALLERY, k)
    return [(name, label, f"{distance:.4f}") for name, label, distance in found]


def test_an_image_is_chosen_and_its_neighbours_are_shown(window, url, tmp_path: Path) -> None:
    (tmp_path / "query.png").write_bytes(QUERY)
    window.be(1000, 800)
    window.open(url)
    window.wait(lambda: "60 images, version 7" in window.text("#about"))
    window.choose_file("#choose", tmp_path / "query.png")
    window.wait(lambda: len(shown(window)) == 10)
    assert shown(window) == expected(10)
    label, times = most_frequent([label for _, label, _ in expected(10)])
    assert window.text("#status") == f"{times} of the 10 nearest have the label {label}."
    script = "return [...document.images].every((one) => one.complete && one.naturalWidth > 0)"
    window.wait(lambda: window.run(script))
    # Nothing was asked of another host, and nothing broke the policy of the page.
    hosts = {address.split("/")[2] for address in window.requests() if "//" in address[:7]}
    assert hosts == {url.split("/")[2]}
    assert window.errors() == []


@pytest.mark.parametrize("which", ["none has one", "some have one"])
def test_images_of_a_catalogue_without_labels(window, model, tmp_path: Path, which: str) -> None:
    (tmp_path / "query.png").write_bytes(QUERY)
    nearest = [name for name, _, _ in neighbours_by_loop(QUERY, GALLERY, 10)]
    kept = nearest[2:5] if which == "some have one" else []
    rows = [(i, b"three" if n.decode() in kept else None, n) for i, _, n in GALLERY]
    write_version(tmp_path / "serving" / "7", model, rows)
    with serving(tmp_path / "serving") as url:
        window.open(url)
        window.choose_file("#choose", tmp_path / "query.png")
        window.wait(lambda: window.count("#results li") == 10)
        labels = window.run(
            """return [...document.querySelectorAll("#results li")].map((card) =>
            [card.title, card.querySelector("b")?.innerText ?? null])"""
        )
    if kept:
        expected = ["three" if name in kept else "no label" for name in nearest]
        assert window.text("#status") == "3 of the 10 nearest have the label three."
    else:
        expected = [None] * 10
        assert window.text("#status") == "The 10 nearest images, nearest first."
    assert labels == [list(card) for card in zip(nearest, expected, strict=True)]


def most_frequent(labels: list[str]) -> tuple[str, int]:
    """The first of those that are most frequent, as they come."""
    best = max(dict.fromkeys(labels), key=labels.count)
    return best, labels.count(best)


def test_the_keyboard_is_enough(window, url, tmp_path: Path) -> None:
    (tmp_path / "query.png").write_bytes(QUERY)
    window.open(url)
    focused = "return document.activeElement.id || document.activeElement.getAttribute('href')"
    order = []
    for _ in range(4):
        window.press(TAB)
        order.append(window.run(focused))
    assert order == ["choose", "photo", "k", "docs"]  # no mouse is there, so it may be a phone
    # Focus can be seen: what a person sees of the hidden input is the frame of its button.
    window.run("document.getElementById('choose').focus()")
    window.press(TAB)
    window.run("document.getElementById('choose').focus({ focusVisible: true })")
    frame = "return getComputedStyle(document.querySelector('#choose + span')).outlineStyle"
    assert window.run(frame) == "solid"
    window.choose_file("#choose", tmp_path / "query.png")  # the window of the system
    window.wait(lambda: len(shown(window)) == 10)
    window.run("document.getElementById('k').focus()")
    window.press("5")  # chooses the number by its first letter
    window.wait(lambda: len(shown(window)) in (5, 50))
    assert shown(window)[:5] == expected(5)


def test_a_file_that_is_no_image_says_so_and_the_page_goes_on(window, url, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"<script>alert(1)</script>")
    (tmp_path / "query.png").write_bytes(QUERY)
    window.open(url)
    window.choose_file("#choose", tmp_path / "no.png")
    window.wait(lambda: "neither JPEG" in window.text("#status"))
    assert shown(window) == []
    window.choose_file("#choose", tmp_path / "query.png")
    window.wait(lambda: len(shown(window)) == 10)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_shows_all_of_it(window, url, tmp_path: Path, dark: bool) -> None:
    (tmp_path / "query.png").write_bytes(QUERY)
    window.be(360, 740, dark=dark, phone=True)
    try:
        window.open(url)
        assert window.run("return document.getElementById('photo').offsetParent !== null")
        window.choose_file("#photo", tmp_path / "query.png")
        window.wait(lambda: len(shown(window)) == 10)
        assert window.run("return document.documentElement.scrollWidth") == 360
        ink, paper = (
            window.run(f"return getComputedStyle(document.body).{name}").strip("rgb()").split(", ")
            for name in ("color", "backgroundColor")
        )
        assert contrast(ink, paper) > 7  # WCAG 2, level AAA
        assert (int(paper[0]) < 128) == dark
        window.screenshot(tmp_path / "phone.png")
        assert (tmp_path / "phone.png").stat().st_size > 10_000
    finally:
        window.be(1000, 800)


def contrast(one: list[str], other: list[str]) -> float:
    """(lighter + 0.05) / (darker + 0.05) of the relative luminances, as WCAG 2 defines it."""

    def luminance(colour: list[str]) -> float:
        parts = [int(part) / 255 for part in colour]
        red, green, blue = (
            part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
