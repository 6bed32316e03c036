"""The findings of an audit's report, a section each: health in, HTML out. Every section says in words what it lacks.

The page around them is curation.audit.report.page; nothing is worked out here.
"""

from typing import Any

from curation.audit.report.figures import axis, between, percent, plural, safe, scale_of, shade, table, whisker, whole

MAX_MATRIX = 20
"""Classes in a printed matrix; of more, those with the most reviewed errors. The JSON file has them all."""
MAX_ROWS = 10
"""Rows of a list of findings."""
_PROMISE = {"kept": "The promise was kept.", "too much": "The model promised too much.",
            "too little": "The model promised too little."}

Health = dict[str, Any]
"""What curation.audit.report.health makes."""


def classes(health: Health) -> str:
    """A row a class with its interval drawn, the overall rate on top."""
    rate = health["rate"]
    if rate is None or not rate["num_reviews"]:
        return "<p>Not known yet: no label of the random queue has been reviewed.</p>"
    end, step = scale_of([c["high"] if c["is_shown"] else None for c in health["classes"]] + [rate["high"]])

    def row(name: str, c: Health) -> list[str]:
        if not c["is_shown"]:
            return [name, whole(c["num_population"]), whole(c["num_reviews"]), "-", "too few reviewed",
                    whisker(None, None, None, end, step, rate["share"])]
        return [name, whole(c["num_population"]), whole(c["num_reviews"]), percent(c["share"]),
                between(c["low"], c["high"]), whisker(c["share"], c["low"], c["high"], end, step, rate["share"])]

    ordered = sorted(health["classes"], key=lambda c: (not c["is_shown"], -(c["share"] or 0.0)))
    rows = [row("<b>All classes</b>", {**rate, "is_shown": True}), *(row(safe(c["name"]), c) for c in ordered)]
    return table(["Given class", "Samples", "Reviewed", "Wrong", "95% interval", axis(end, step)], rows, kind="rates",
                 numbers=(1, 2, 3, 4)) + ('<p class="note">Dot: estimate; whiskers: 95% interval; dashed: all classes. '
                                          "One interval in twenty misses the truth, so of many classes some do.</p>")


def matrix(health: Health) -> str:
    """The reviewed matrix with shaded cells, and its largest errors with intervals."""
    found = health["matrix"]
    if found is None or not any(row["is_shown"] for row in found["rows"]):
        return "<p>Not shown: no class has enough reviews yet.</p>"
    errors = [sum(cell["num_reviewed"] for column, cell in enumerate(row["cells"]) if column != code)
              for code, row in enumerate(found["rows"])]
    kept = sorted(sorted(range(len(errors)), key=lambda code: (-errors[code], code))[:MAX_MATRIX])
    undecided = len(errors) + 1
    has_undecided = any(row["cells"][undecided]["num_reviewed"] for row in found["rows"])
    columns = [*kept, len(errors), *[undecided] * has_undecided]
    head = "".join(f"<th>{name}</th>" for name in ("Given \\ true", *(str(code + 1) for code in kept), "none",
                                                   *["?"] * has_undecided))
    body = "".join(f"<tr><th>{code + 1} {safe(found['rows'][code]['name'])}</th>"
                   f"{_cells(found['rows'][code], code, columns)}</tr>" for code in kept)
    left_out = "" if len(errors) <= MAX_MATRIX else \
        f" These are the {MAX_MATRIX} of {len(errors)} classes with the most reviewed errors; the JSON file has all."
    return (f'<table class="matrix"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
            '<p class="note">Percent of the given class, estimated for the whole population from the random queue. '
            "Columns have the rows' numbers; none: no class fits; ?: wrong, in dispute as what. A dot: seen, but on "
            f"too few reviews to be quoted; empty: not seen. {safe(found['rule'])}{left_out}</p>{_flows(found)}")


def _cells(row: Health, code: int, columns: list[int]) -> str:
    """One row's cells; a row of too few reviews is one cell that says so."""
    if not row["is_shown"]:
        return f'<td class="thin" colspan="{len(columns)}">too few reviewed ({whole(row["num_reviews"])})</td>'
    parts = []
    for column in columns:
        cell, share = row["cells"][column], row["cells"][column]["share"]
        if share is None:
            parts.append(f'<td class="few">{"&middot;" if cell["num_reviewed"] else ""}</td>')
            continue
        shown = f"{share * 100:.0f}" if share >= 0.0995 else f"{share * 100:.1f}"
        parts.append(f'<td{" class=right" if column == code else ""} title="{between(cell["low"], cell["high"])}" '
                     f'style="background:{shade(share, column == code)}">{shown}</td>')
    return "".join(parts)


def _flows(found: Health) -> str:
    """The cells off the diagonal that may be quoted, largest first."""
    flows = sorted(found["flows"], key=lambda flow: -flow["count"])[:MAX_ROWS]
    rows = [[safe(flow["given"]), safe(flow["true"]), whole(flow["num_reviewed"]), whole(flow["count"]),
             percent(flow["share"]), between(flow["low"], flow["high"])] for flow in flows]
    return "<h3>The largest errors</h3>" + table(
        ["Given as", "Truly", "Seen", "Estimated samples", "Of the given class", "95% interval"], rows,
        numbers=(2, 3, 4, 5)) if rows else ""


def overlaps(health: Health) -> str:
    """Pairs of classes that stand for each other, most first."""
    if not health["overlaps"]:
        return "<p>No two classes are mixed up, as far as the model and the reviews tell.</p>"
    rows = [[" &harr; ".join(safe(name) for name in pair["classes"]), whole(pair["num_first"]),
             whole(pair["num_second"]), percent(pair["share"]),
             f"{whole(r['total'])} ({whole(r['low'])} to {whole(r['high'])})" if (r := pair["reviewed"])
             else "too few reviewed"] for pair in health["overlaps"][:MAX_ROWS]]
    return ('<p class="note">Ordered by what the model expects, which shows where to look; only the last column is '
            "estimated from random reviews and may be quoted.</p>" + table(
                ["Classes", "First given, second true", "Second given, first true", "Of both classes",
                 "From reviews, 95% interval"], rows, numbers=(1, 2, 3, 4)))


def duplicates(health: Health) -> str:
    """Groups of near-duplicates that hold more than one label."""
    found = health["duplicates"]
    if found is None:
        return "<p>Not looked for: the run has no neighbours yet.</p>"
    text = (f"<p>{plural(found['num_pairs'], 'pair')} of near-duplicates in {plural(found['num_groups'], 'group')} "
            f"contradict each other, of {plural(found['num_near'], 'near pair')} altogether. In each such pair at "
            "least one label is wrong, or the classes overlap.</p>"
            f'<p class="note">Near: cosine distance up to {found["max_distance"]:g} between features of the '
            "classifier, so near to the classifier, not necessarily to the eye.</p>")
    rows = [[whole(group["num"]), safe(", ".join(f"{name} {num}" for name, num in group["labels"].items())),
             "yes" if group["is_identical"] else "-", safe(", ".join(group["sample_ids"]))]
            for group in found["groups"][:MAX_ROWS]]
    return text + (table(["Samples", "Labels in force", "Same bytes", "First samples"], rows)
                   if rows else "")


def reviewers(health: Health) -> str:
    """A row a person, then how far people agree."""
    if not health["reviewers"]:
        return "<p>Nobody has reviewed yet.</p>"
    rows = [[safe(person["name"]), whole(person["num_verdicts"]),
             "-" if person["median_seconds"] is None else f"{person['median_seconds']:.1f} s",
             _of(person["consistency"]), _of(person["gold"])] for person in health["reviewers"]]
    text = table(["Reviewer", "Verdicts", "Median time", "Same answer when asked again", "Right on hidden known items"],
                 rows, numbers=(1, 2, 3, 4))
    pairs = [[safe(" and ".join(pair["reviewers"])), whole(pair["num"]), percent(pair["agreement"]),
              "-" if pair["kappa"] is None else f"{pair['kappa']:.2f}",
              "-" if pair["low"] is None else f"{pair['low']:.2f} to {pair['high']:.2f}"]
             for pair in health["agreement"]["pairs"]]
    if pairs:
        text += "<h3>Agreement between reviewers</h3>" + table(
            ["Reviewers", "Samples of both", "Agree", "Cohen's kappa", "95% interval"], pairs, numbers=(1, 2, 3, 4))
    fleiss = health["agreement"]["fleiss"]
    if fleiss and fleiss["kappa"] is not None:
        text += f"<p>Fleiss' kappa over {plural(fleiss['num'], 'sample')}: {fleiss['kappa']:.2f}.</p>"
    return text + (f'<p class="note">Kappa is agreement beyond chance: 1 is perfect, 0 is chance. Open: '
                   f"{plural(health['agreement']['num_disputed'], 'sample')} disputed, "
                   f"{health['agreement']['num_unsure']:,} unsure.</p>")


def corrections(health: Health) -> str:
    """What was changed, the find queue's promises, and class sizes before and after."""
    done, find = health["corrections"], health["find"]
    text = (f"<p>{plural(done['num_changed'], 'label')} changed, {done['num_confirmed']:,} confirmed as given, "
            f"{plural(done['num_excluded'], 'sample')} left out. The given labels stand untouched beside them.</p>")
    if done["remaining"]:
        text += (f"<p>With them about {percent(done['remaining']['share'])} of the labels in force are still wrong "
                 f"(95% interval {between(done['remaining']['low'], done['remaining']['high'])}), taking every "
                 "correction as right.</p>")
    if find:
        text += (f"<p>The ranked queue, which only finds errors, was judged on {plural(find['num_judged'], 'sample')}: "
                 f"{find['num_wrong']:,} wrong where the model had promised {whole(find['expected'])} "
                 f"({whole(find['low'])} to {whole(find['high'])}). {_PROMISE[find['promised']]}</p>")
    rows = [[safe(c["name"]), whole(c["given"]), whole(c["moved_out"]), whole(c["moved_in"]), whole(c["excluded"]),
             whole(c["current"])] for c in done["classes"] if c["moved_out"] or c["moved_in"] or c["excluded"]]
    return text + (table(["Class", "Given", "Moved to others", "Moved here", "Left out", "Now"], rows,
                         numbers=(1, 2, 3, 4, 5)) if rows else "")


def _of(count: Health | None) -> str:
    return "-" if not count or not count["num"] else f"{count['num_right']:,} of {count['num']:,}"
