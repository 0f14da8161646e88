"""The page of the audit in a real Chromium: what it shows, and the file that it writes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from components.image_example_gen import read_corrections
from modules.audit import AuditReport, Group
from modules.audit.report import Alike, Member, NearByModel, Suspect
from pipeline.operations import audit_tables, write_audit_page
from tests.pipeline.web.browser import MISSING, browser
from tests.real_data import digits, examples_artifact

EVIL = '</script><b onclick=x>, "é'


def audited(ids: list[str]) -> AuditReport:
    def one(number: int, label: str, split: str = "train") -> Member:
        return Member(id=ids[number], label=label, split=split)

    return AuditReport(
        images={"eval": 2, "train": 10},
        counts=dict.fromkeys(
            ("leaked", "conflicting", "copies", "near_leaked", "near_duplicates", "blank", "alone",
             "near_duplicates_conflicting", "near_by_model", "suspects", "undecodable"), 1
        ),
        shares={"leaked": 0.5, "conflicting": 0.25, "copies": 0.0, "near_leaked": 0.0},
        failures=["50.00% of the eval images have a copy in train"],
        copies=[Group(conflicting=True, leaked=True, images=2,
                      members=[one(0, "0"), one(1, EVIL, "eval")])],
        near_duplicates=[Group(conflicting=False, leaked=False, bits=3,
                               members=[one(2, "2"), one(3, "2")])],
        blank=[one(4, "4")],
        alike=[Alike(classes=["0", "6"], share=0.25)],
        similar_names=[["Six", "six"]],
        compared=12,
        suspects=[Suspect(id=ids[5], label="5", neighbours="3", doubt=7.0, nearest=ids[6:10])],
        near_by_model=[NearByModel(ids=ids[:2], labels=["0", "0"], distance=0.001)],
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    rows = digits(1)
    rows[1] = (rows[1][0], rows[1][1], EVIL.encode())
    examples = examples_artifact(folder / "examples", {"train": rows}, shards=1)
    (folder / "fixes.csv").write_text('id,action,value\n"a, b",drop,\n')
    file = folder / "audit.html"
    files = [("train", str(one)) for one in Path(examples.uri).glob("Split-train/*")]
    report = audited([row[2].decode() for row in rows])
    write_audit_page(file, report, files, corrections=str(folder / "fixes.csv"))
    return file


def test_the_page_is_small_and_asks_for_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(text) < 60_000
    assert "http:" not in text
    assert "https:" not in text
    assert text.count("</script>") == 2  # none of the data


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_one_ticks_and_gets_a_file_that_example_gen_reads(page: Path, tmp_path: Path) -> None:
    with browser() as window:
        window.be(1100, 900)
        window.open(page.as_uri())
        assert window.count("section") == 6
        assert window.text("#found tr").split("\t") == [
            "eval images with a copy in train", "1", "50.00%",
        ]  # fmt: skip
        assert window.text(".classes").splitlines() == [
            "Six, six\tnames differ by case or normal form",
            "0, 6\t25% of the images of each look like the other",
        ]
        notes = window.run("return [...document.querySelectorAll('.note')].map((n) => n.innerText)")
        assert notes[1:3] == [
            "2 images, two labels, in train and eval", "2 images, 3 of 143 bits differ",
        ]  # fmt: skip
        assert window.count("figure img[src]") == window.count("figure img") == 12
        assert "50.00%" in window.text("#failures")
        assert window.text("#count") == "1 correction"  # of the file that there is
        tick = """
            const box = [...document.querySelectorAll('figure')].flatMap(
                (figure) => [...figure.querySelectorAll('label')]
                    .filter((label) => figure.querySelector('img').title === arguments[0]
                        && label.textContent === arguments[1]))[0];
            box.querySelector('input').click();"""
        suspect = window.run("return document.querySelector('section figure img').title")
        window.run(tick, suspect, "label as 3")
        window.run(tick, suspect, "drop")  # one or the other
        window.run(tick, suspect, "label as 3")
        window.run(tick, EVIL, "drop")
        assert window.text("#count") == "3 corrections"
        assert window.count("figure.changed") == 3  # one of them is there twice
        (tmp_path / "fixes.csv").write_text(window.run("return file()"), encoding="utf-8")
        corrections = read_corrections(str(tmp_path / "fixes.csv"))
        told = {key.decode(): value.label for key, value in corrections.items()}
        assert told == {"a, b": None, suspect: b"3", EVIL: None}
        window.run(tick, EVIL, "drop")
        assert window.text("#count") == "2 corrections"
        window.run("document.getElementById('save').click()")  # breaks no rule of the page
        for dark in (False, True):
            for width in (1100, 320):
                window.be(width, 900, dark=dark, phone=width == 320)
                overflow = "return document.documentElement.scrollWidth > window.innerWidth"
                assert not window.run(overflow)
                window.screenshot(tmp_path / f"{'dark' if dark else 'light'}-{width}.png")
        assert window.errors() == []
        assert {url.split(":")[0] for url in window.requests()} <= {"file", "data", "blob"}


def test_tables_name_what_was_found() -> None:
    from rich.console import Console

    report = audited([f"id {n}" for n in range(10)])
    console = Console(width=200, file=io.StringIO())
    for table in audit_tables(report, 1):
        console.print(table)
    text = console.file.getvalue()
    for wanted in ("eval images with a copy in train", "50.00%", "id 5", "7.0", "labels, leak",
                   "Six, six", "25% of the images of each look like the other"):  # fmt: skip
        assert wanted in text
