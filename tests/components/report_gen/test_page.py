"""The report in a real Chromium: images, filters, map, lasso, keyboard, phone, print."""

from __future__ import annotations

import base64

import pytest

from tests.components.report_gen.report_node import rows
from tests.components.report_gen.test_report_gen import data_of
from tests.pipeline.web.browser import ENTER, MISSING, TAB, browser

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
RIGHT_KEY = "\ue014"


@pytest.fixture(scope="module")
def window():
    with browser() as window:
        yield window


@pytest.fixture(autouse=True)
def opened(window, page):
    window.be(1000, 900)
    window.open(page.as_uri())
    yield
    # Whatever a test does: nothing is asked of any network, and the console has nothing to say.
    assert window.errors() == []
    addresses = {one.partition(":")[0] for one in window.requests()}
    assert addresses <= {"file", "data"}


def choose(window, selector: str, value: str) -> None:
    window.run(
        "const one = document.querySelector(arguments[0]); one.value = arguments[1];"
        "one.dispatchEvent(new Event('change', { bubbles: true }))", selector, value,
    )  # fmt: skip


def test_the_worst_errors_are_shown_first_with_their_neighbours(window, page) -> None:
    data = data_of(page)
    worst = data["lists"]["worst"]
    assert window.count("#rows > li") == min(12, len(worst))
    first = window.run(
        "return [...document.querySelector('#rows .shots').children].map((one) =>"
        "[one.querySelector('button').title, one.querySelector('button').className])"
    )
    near, hits = data["queries"]["near"][worst[0]], data["queries"]["hits"][worst[0]]
    expected = [
        [data["images"]["id"][one], f"shot {'right' if hits >> place & 1 else 'wrong'}"]
        for place, one in enumerate(near)
    ]
    assert first == expected
    loaded = "return [...document.images].every((one) => one.complete && one.naturalWidth > 0)"
    window.wait(lambda: window.run(loaded))
    # All that are wrong are to be had.
    while window.run("return !document.getElementById('more').hidden"):
        window.run("document.getElementById('more').click()")
    assert window.count("#rows > li") == len(worst)


def test_filters(window, page) -> None:
    data = data_of(page)
    queries, labels = data["queries"], data["images"]["label"]
    window.run("document.querySelector('input[value=random]').click()")
    three = data["labels"].index("3")
    choose(window, "#of-class", str(three))
    choose(window, "#of-state", "1")
    expected = sum(
        labels[image] == three and state == 1
        for image, state in zip(queries["image"], queries["state"], strict=True)
    )
    assert window.text("#rows-status") == f"{expected} of {expected} shown"
    window.run("document.querySelector('input[value=classes]').click()")
    choose(window, "#of-class", "")
    choose(window, "#of-state", "")
    assert window.count("#rows > li") == 7  # one of each class
    assert "<script>" in window.text("#rows")  # a name, as text


def test_an_image_opens_with_the_keyboard_alone(window) -> None:
    window.run("document.querySelector('#rows button').focus()")
    window.press(ENTER)
    assert window.run("return document.getElementById('detail').open")
    assert window.count("#detail-near > li") == 5
    before = window.text("#detail-id")
    window.press(TAB, TAB)
    assert window.run("return document.activeElement.closest('#detail-near') !== null")
    window.press(ENTER)  # on to a neighbour
    assert window.text("#detail-id") != before
    window.press("\ue00c")  # Escape
    assert not window.run("return document.getElementById('detail').open")


POINT = """
const canvas = document.getElementById("canvas");
canvas.scrollIntoView({ block: "center", behavior: "instant" });
const box = canvas.getBoundingClientRect();
const send = (kind, x, y) => canvas.dispatchEvent(new PointerEvent(kind, {
  pointerType: "mouse", pointerId: 1, bubbles: true,
  clientX: box.left + x, clientY: box.top + y }));
canvas.setPointerCapture = () => {};
"""


def test_the_map_shows_images_under_the_pointer_and_lists_a_lasso(window) -> None:
    window.wait(lambda: window.run("return document.getElementById('canvas').width > 300"))
    # The keyboard finds the first point; the pointer then finds what is there.
    window.run("document.getElementById('canvas').focus()")
    window.press(RIGHT_KEY)
    window.wait(lambda: window.text("#map-status"))
    assert window.run("return !document.getElementById('tip').hidden")
    window.press(RIGHT_KEY)
    assert "nearest is" in window.text("#map-status")
    window.run("document.getElementById('canvas').blur()")
    assert window.run("return document.getElementById('tip').hidden")
    hit = window.run(POINT + """
        for (let x = 0; x < box.width; x += 6) for (let y = 0; y < box.height; y += 6) {
          send("pointermove", x, y);
          if (!document.getElementById("tip").hidden)
            return document.querySelector("#tip img") !== null;
        }
        return false;""")  # fmt: skip
    assert hit
    window.run(POINT + """
        send("pointerdown", 0, 0);
        for (const [x, y] of [[box.width, 0], [box.width, box.height], [0, box.height]])
          send("pointermove", x, y);
        send("pointerup", 0, box.height);""")  # fmt: skip
    assert window.text("#map-status").startswith(f"{len(rows())} images inside (")
    assert window.count("#lassoed > li") == 60
    choose(window, "#map-colour", "state")
    assert window.text("#map-legend").split() == ["wrong", "right"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_of_320_pixels_has_room_for_all_of_it(window, page, tmp_path, dark) -> None:
    window.be(320, 700, dark=dark, phone=True)
    window.open(page.as_uri())
    assert window.run("return document.documentElement.scrollWidth") == 320
    paper = window.run("return getComputedStyle(document.body).backgroundColor")
    assert (int(paper.strip("rgb()").split(", ")[0]) < 128) == dark
    window.screenshot(tmp_path / "phone.png")
    assert (tmp_path / "phone.png").stat().st_size > 10_000


def test_it_can_be_printed(window) -> None:
    pdf = base64.b64decode(window._cdp("Page.printToPDF", printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 20_000
    window._cdp("Emulation.setEmulatedMedia", media="print")
    try:
        assert window.run("return document.querySelector('.controls').offsetParent === null")
        assert window.run("return document.querySelector('#rows img').offsetParent !== null")
    finally:
        window._cdp("Emulation.setEmulatedMedia", media="")
