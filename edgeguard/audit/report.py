"""The page of an audit: what each check says, and what the files look like that it points at."""

import cv2

from edgeguard.audit.findings import Audit, Finding
from edgeguard.audit.images import Sample
from edgeguard.reporting.html import Entry, Figure, Table, data_uri, page

_PICTURES = 12
_SHOWN_SIDE = 96  # pixels


def report_page(found: Audit, sample: Sample) -> str:
    """A page as text; the same audit gives the same page."""
    rows = [_row(finding) for finding in found.findings]
    marked = frozenset(row for row, finding in enumerate(found.findings) if finding.failed)
    place = {name: row for row, name in enumerate(sample.names)}
    galleries = [
        (f"{finding.check}: {len(finding.suspects)} files", _figures(finding, sample, place))
        for finding in found.findings
        if finding.suspects
    ]
    return page(
        "audit.html",
        title="Audit of training data",
        root=found.root,
        images=found.images,
        fitted=found.fitted,
        failed=found.failed,
        table_=Table(rows, ("check", "outcome", "figure", "passes up to", ""), marked=marked),
        galleries=galleries,
    )


def _row(finding: Finding) -> tuple[Entry | str, ...]:
    value = "" if finding.value is None else f"{finding.value:.3g}"
    limit = "" if finding.threshold is None else f"{finding.threshold:g}"
    if finding.value is None:
        verdict = Entry("not made")
    elif finding.threshold is None:
        verdict = Entry("a ranking")
    else:
        verdict = Entry("failed", look="bad") if finding.failed else Entry("passed", look="good")
    return finding.check, finding.says, value, limit, verdict


def _figures(finding: Finding, sample: Sample, place: dict[str, int]) -> list[Figure]:
    figures = []
    for one in finding.suspects[:_PICTURES]:
        caption = (Entry(one.name, f"{one.why} ({one.score:.3g})"),)
        if one.name in place:
            bgr = sample.pixels[place[one.name]][:, :, ::-1]
            large = cv2.resize(bgr, (_SHOWN_SIDE, _SHOWN_SIDE), interpolation=cv2.INTER_NEAREST)
            figures.append(Figure(data_uri(cv2.imencode(".png", large)[1].tobytes(), "image/png"), one.name, caption))
        else:
            figures.append(Figure("", f"{one.name} does not decode", caption))
    return figures
