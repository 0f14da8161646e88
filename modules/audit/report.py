"""What an audit found, for people and programs: `audit.json`, and what stops a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import Field

from modules.audit.copies import COPIES, EVAL
from modules.audit.findings import Finding, Findings
from modules.audit.labels import LabelVerdict
from modules.audit.near import NEAR
from modules.runtime import shown
from modules.settings import AuditSettings, Settings
from modules.storage import read_text

AUDIT_FILE = "audit.json"
BLANK = "blank"  # a kind of finding
_ALIKE = 0.2  # of the images of either class, so many look like the other
_NAMED = 5  # findings in a message


class Member(Settings):
    """An image."""

    id: str
    label: str
    split: str


class Group(Settings):
    """Images with the same pixels, or two that look the same.

    `images`: how many there are, of which `members` names ten at most. `bits`: of near-duplicates,
    in how many of 143 bits their hashes differ; `shifted`: once one is moved by a pixel.
    """

    conflicting: bool
    leaked: bool
    members: list[Member]
    images: int = 2
    bits: int = 0
    shifted: bool = False


class Suspect(Settings):
    """An image whose neighbours have another label.

    `neighbours`: that label. `doubt`: how many times farther its own class is than that one.
    """

    id: str
    label: str
    neighbours: str
    doubt: float
    nearest: list[str]


class NearByModel(Settings):
    """Two images that the model puts far nearer than is usual; `distance`: squared L2."""

    ids: list[str]
    labels: list[str]
    distance: float


class Alike(Settings):
    """Two classes whose images look alike; `share`: of the images of either at least so many."""

    classes: list[str]
    share: float


class AuditReport(Settings):
    """The contents of `audit.json`.

    `images`: by split. `counts` and `shares`: by name, see docs/audit.md. `failures`: what stops
    the run. `compared`: images that the model looked at; 0 without a model. `suspects`: the first
    of them; all ids, with those of conflicting copies, are in `suspects.json`.
    """

    images: dict[str, int]
    counts: dict[str, int]
    shares: dict[str, float]
    failures: list[str] = Field([])
    copies: list[Group] = Field([])
    near_duplicates: list[Group] = Field([])
    blank: list[Member] = Field([])
    alone: list[Member] = Field([])
    similar_names: list[list[str]] = Field([])
    alike: list[Alike] = Field([])
    compared: int = 0
    suspects: list[Suspect] = Field([])
    near_by_model: list[NearByModel] = Field([])


def make_report(
    found: Findings,
    verdict: LabelVerdict | None,
    similar_names: Sequence[Sequence[str]],
    settings: AuditSettings,
) -> AuditReport:
    """Puts the findings of all images into one report.

    Args:
        found: Of all images.
        verdict: What the model says; None without one.
        similar_names: Groups of class names that look the same.
        settings: How much is listed, and what stops the run.
    """
    images: Counter[str] = Counter()
    classes: Counter[bytes] = Counter()
    for (split, label), number in found.classes.items():
        images[split] += number
        classes[label] += number
    total, evaluated = sum(images.values()), images.get(EVAL, 0)
    in_split = {name: found.counts[f"copies in {name}"] for name in images}
    counts = {
        "classes": len(classes),
        "groups_of_copies": found.counts["groups of copies"],
        "copies": sum(in_split.values()),
        "leaked": found.counts["leaked"],
        "conflicting": found.counts["conflicting"],
        "near_duplicates": found.counts["near pairs"],
        "near_duplicates_conflicting": found.counts["near pairs, labels differ"],
        "near_leaked": len(found.near_leaked),
        "crowded": found.counts["crowded"],
        "blank": found.counts["blank"],
        "alone": sum(number == 1 for number in classes.values()),
        "undecodable": found.counts["undecodable"],
        "suspects": len(verdict.suspects) if verdict else 0,
        "near_by_model": len(verdict.near) if verdict else 0,
    }
    shares = {
        "leaked": _share(counts["leaked"], evaluated),
        "conflicting": _share(counts["conflicting"], total),
        "copies": max((_share(in_split[name], n) for name, n in images.items()), default=0.0),
        "near_leaked": _share(counts["near_leaked"], evaluated),
    }
    report = AuditReport(
        images=dict(sorted(images.items())),
        counts=counts,
        shares=shares,
        copies=[Group.model_validate(one) for one in _values(found, COPIES)],
        near_duplicates=[Group.model_validate(one) for one in _values(found, NEAR)],
        blank=[Member.model_validate(one) for one in _values(found, BLANK)],
        alone=_alone(found, classes, settings.listed),
        similar_names=[list(names) for names in similar_names],
        alike=_alike(found, classes, verdict)[: settings.listed],
        compared=verdict.sizes.total() if verdict else 0,
        suspects=[
            Suspect.model_validate(one)
            for one in (verdict.suspects[: settings.listed] if verdict else ())
        ],
        near_by_model=[
            NearByModel.model_validate(one) for one in (verdict.near if verdict else ())
        ],
    )
    return report.model_copy(update={"failures": find_failures(report, settings)})


def suspect_ids(found: Findings, verdict: LabelVerdict | None) -> list[str]:
    """Ids of all images with a doubtful label, sorted: by their neighbours, or by their copies."""
    ids = {_text(one) for one in found.suspects}
    return sorted(ids | {one["id"] for one in (verdict.suspects if verdict else ())})


def find_failures(report: AuditReport, settings: AuditSettings) -> list[str]:
    """Says what is above its threshold, each with an example and a remedy."""
    named = {
        "leaked": (
            "of the eval images have a copy in train, pixel by pixel",
            [one for one in report.copies if one.leaked],
            "Whatever is measured on them says nothing. Remove them from one of the splits",
        ),
        "conflicting": (
            "of the images have a copy with another label",
            [one for one in report.copies if one.conflicting],
            "Nobody can learn which label is right. Drop or relabel them",
        ),
        "copies": (
            "of the images of a split repeat another one of it",
            report.copies,
            "An image's own copy is its nearest neighbour. Drop them",
        ),
        "near_leaked": (
            "of the eval images have a near-duplicate in train",
            [one for one in report.near_duplicates if one.leaked],
            "They make the metrics look too good. Remove them from one of the splits",
        ),
    }
    failures = []
    for name, (what, groups, remedy) in named.items():
        limit: float = getattr(settings, f"max_{name}")
        share = report.shares[name]
        if share > limit:
            examples = "".join(f"\n    {_in_words(one)}" for one in groups[:_NAMED])
            failures.append(
                f"{share:.2%} {what} ({report.counts[name]:,}), more than [audit] max_{name} = "
                f"{limit:.2%} allows, such as{examples}\n  {remedy}, by a file of corrections "
                f"([data] corrections; `python -m pipeline audit --html FILE` helps to write one), "
                f"or raise max_{name}."
            )
    return failures


def read_audit(uri: str) -> AuditReport:
    """Reads the report of an audit, by the uri of DataAudit's `audit`.

    Raises:
        OSError: It cannot be read; FileNotFoundError if there is none.
        pydantic.ValidationError: It is not of this version.
    """
    return AuditReport.model_validate_json(read_text(f"{uri.rstrip('/')}/{AUDIT_FILE}"))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _values(found: Findings, kind: str) -> list[Mapping[str, object]]:
    of_kind: list[Finding] = found.listed.get(kind, [])
    return [one.value for one in of_kind]


def _in_words(group: Group) -> str:
    images = ", ".join(
        f"{shown(one.id)} ({one.split}, {shown(one.label)!r})" for one in group.members[:4]
    )
    more = group.images - min(len(group.members), 4)
    return f"{images} and {more:,} more" if more else images


def _alone(found: Findings, classes: Counter[bytes], listed: int) -> list[Member]:
    alone = sorted(label for label, number in classes.items() if number == 1)[:listed]
    return [
        Member(id=_text(found.first[label][0]), label=_text(label), split=found.first[label][1])
        for label in alone
    ]


def _alike(found: Findings, classes: Counter[bytes], verdict: LabelVerdict | None) -> list[Alike]:
    """Pairs of classes in both of which many images look like the other."""
    sizes = {_text(label): number for label, number in classes.items()}
    copies = {(_text(one), _text(other)): n for (one, other), n in found.pairs.items()}
    shares: dict[tuple[str, str], float] = {}
    sources = [(copies, sizes)]
    if verdict:
        sources.append((dict(verdict.confused), dict(verdict.sizes)))
    for pairs, of in sources:
        for (one, other), number in pairs.items():
            back = pairs.get((other, one), 0)
            share = min(number / of[one], back / of[other])
            if one < other and share >= _ALIKE:
                shares[one, other] = max(shares.get((one, other), 0.0), share)
    order = sorted(shares, key=lambda pair: (-shares[pair], pair))
    return [Alike(classes=list(pair), share=round(shares[pair], 4)) for pair in order]


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
