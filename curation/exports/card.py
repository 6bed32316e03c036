"""README.md of a set with pictures: a data card for people, with the front matter that Hugging Face reads.

Says how each sample came to be there, class balance, what is known of the labels, and what the set is not good for.
"""

import hashlib
import json
import re
from collections.abc import Iterable

import pandas as pd

from curation.audit.issues import suspected_ids
from curation.audit.reviews.blinding import blind_words
from curation.audit.reviews.known_labels import decided_labels, training_rows
from curation.exports.curated import DEFINITION, PROVENANCE, Curated, plain
from curation.exports.metadata import Carried, carried_words
from curation.project import Project
from curation.transfer.words import transfer_lines
from curation.words import counted
from engine.contract.signal_columns import COLUMNS

LIMITS = """
- Its samples were chosen because they are hard for one model, and edited by people: accuracy on it is not that on the
  data, but lower by design. Compare models on it, or tune on it; report accuracy on a random test set.
- What is hard for that model may be easy for another; whether it is, a transfer score measures.
- All were training samples: a model that was trained on them, or on the whole data, has seen them.
- Its labels are as good as their review: see above for how many a person has looked at.
- There is one split, validation. To train on these samples divide them first, and keep those of one group together.
- A license of the pictures is not known here: that of the data holds.
"""
WORDS = """
A *run* is one training on the project's data. *Routed* means that it set a sample aside as hard, *pinned* that a person
put it here or kept it out.
"""
_REASONS = {
    "routed_learned": "routed by the splitter: hard to predict from the rest",
    "routed_hard": "routed as the hardest by cross-fitted margin",
    "routed_easy": "routed as the easiest by cross-fitted margin",
    "routed_random": "routed at random",
    "pinned_validation": "pinned by a person before the run",
}
_MEANINGS = {
    "file_name": "the picture, below the folder of the table", "image": "the picture",
    "label": "the class; where the table is Parquet its index",
    "label_index": "the class's index in the project", "current_label": "the class's name",
    "width": "in pixels", "height": "in pixels", "sha256": "of the picture's file, in hex",
    "sample_id": "the sample's name in the project; it stays the same from export to export",
    "original_label": "the class as the data gave it", "original_path": "where the picture lies in the data",
    "clean_label": "the true class, where the data know it; nothing learned from it",
    "group": "the data's own groups, such as domains or owners", "x": "place on the run's map",
    "y": "place on the run's map", "signal_row": "row in the run's own files",
    "weight": f"{COLUMNS['weight'].meaning}; empty of a sample that did not train",
    "pin": "where a person wants the sample: validation or train", "excluded": "left out by a person; none here is",
    "relabel": "the class that a person gave", "decided_by": "who decided last", "decided_at": "when",
    "decided_why": "and why, in their words"}
"""Of columns that COLUMNS does not have, or not for strangers."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Hugging Face's size_categories."""


def card(project: Project, curated: Curated, *, files: str, opening: str, patterns: str, num_problems: int,
         carried: Carried, columns: Iterable[str]) -> str:
    """The text. files: what lies in the folder; opening: how to read it, both Markdown; patterns: the data files of the
    split validation, as Hugging Face globs them; num_problems: lines of problems.csv; carried: what the pictures' files
    say; columns: of the table."""
    frame, counts = curated.frame, curated.class_counts
    num_with = sum(count > 0 for count in counts.values())
    return "\n".join([
        _front_matter(project, curated, patterns),
        f"# Hard validation set of {escaped(project.name)}", "",
        f"{counted(len(frame), 'sample')} of {num_with} of {counted(len(counts), 'class', 'classes')}, from run "
        f"{escaped(str(curated.provenance['run']))} and the decisions that people took.", DEFINITION, WORDS.strip(), "",
        "## How each sample came to be here", "", *_table(("samples", "why"), _origins(curated)), "",
        "## Classes", "", "The index is that of the project, whichever classes are missing here.", "",
        *_table(("index", "class", "samples", "of all in training"), _balance(project, counts)), "",
        "## Labels", "", *(f"- {line}" for line in _label_lines(project, curated)), "",
        "## Pictures", "", *(f"- {line}" for line in (_sizes(carried), *carried_words(carried))), "",
        *_transfer(curated), "## Limits", LIMITS.rstrip(),
        *([f"- {counted(num_problems, 'sample')} had a problem: problems.csv."]
          if num_problems else []), "",
        "## How to open it", "", "The lines are run in this folder.", "", opening.strip(), "",
        "## Files", "", files.strip(), "",
        "## Columns of the table", "", *_table(("column", "what it says"), _columns(columns)), "",
        "Check them with `sha256sum -c SHA256SUMS` or, for extra files too, `python -m curation verify FOLDER`.",
        "", "## Origin", "", *(f"- {name}: {_code(str(value))}" for name, value in curated.provenance.items()), "",
        "Digests are SHA-256; none means that there was no such file. In CSV files a text that a spreadsheet "
        "would run as a formula has a leading apostrophe.", ""])


def _sizes(carried: Carried) -> str:
    """Width by height of all, or from the smallest to the largest."""
    by_area = sorted(carried.sizes, key=lambda size: size[0] * size[1])
    first, last = (f"{width:,} x {height:,}" for width, height in (by_area[0], by_area[-1]))
    return f"All are {first} pixels." if len(by_area) == 1 else f"From {first} to {last} pixels."


def _columns(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Each with its meaning; those of the origin, which are the same in every row, in one line."""
    names = list(names)
    known = {**{name: column.meaning for name, column in COLUMNS.items()}, **_MEANINGS}
    rows: list[tuple[str, ...]] = [(escaped(name), escaped(known.get(name, "of the data")))
                                   for name in names if name not in PROVENANCE]
    origin = ", ".join(escaped(name) for name in names if name in PROVENANCE)
    return [*rows, (origin, "as under Origin, the same in every row")] if origin else rows


def escaped(text: str) -> str:
    """A text on one line that Markdown and HTML take as it stands.

    >>> escaped("a|b <i>")
    'a\\\\|b \\\\<i\\\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~$&-])", r"\\\1", plain(text))


def _code(text: str) -> str:
    """A text as code, which is shown as it stands; "none" of an empty one."""
    return f"`{plain(text).replace('`', chr(39))}`" if text else "none"


def _front_matter(project: Project, curated: Curated, patterns: str) -> str:
    """YAML whose values are JSON, which is YAML and quotes what must be quoted.

    The configuration's name is this set's own: `datasets` keeps what it read by the folder's last name and by what its
    card says, and would give out another set of a folder of that name (seen with 5.2).
    """
    num = len(curated.frame)
    content = json.dumps([curated.provenance, *curated.frame[["sample_id", "current_label"]].to_numpy().tolist()])
    name = f"set-{hashlib.sha256(content.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
    matter: dict[str, object] = {
        "pretty_name": f"Hard validation set of {plain(project.name)}", "task_categories": ["image-classification"],
        "size_categories": [next((name for limit, name in _SIZES if num < limit), "1M<n<10M")],
        "configs": [{"config_name": name, "data_files": [{"split": "validation", "path": patterns}]}]}
    lines = (f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in matter.items())
    return "\n".join(["---", *lines, "---", ""])


def _origins(curated: Curated) -> list[tuple[str, ...]]:
    """Samples by why they are in the set, most first."""
    frame = curated.frame
    pinned = frame["pin"].eq("validation")
    reason = frame["role_reason"].map(_REASONS)
    why = reason.where(~pinned, "pinned to validation by a person")
    if curated.num_blind:
        why = why.fillna("not told: drawn for an estimate and not judged yet")
    counts = why.fillna("held by the run").value_counts()
    return [(f"{count:,}", str(name)) for name, count in counts.items()]


def _balance(project: Project, counts: dict[str, int]) -> list[tuple[str, ...]]:
    given = training_rows(project)["given_label"].value_counts()
    return [(str(index), escaped(name), f"{count:,}", f"{int(given.get(name, 0)):,}")
            for index, (name, count) in enumerate(counts.items())]


def _label_lines(project: Project, curated: Curated) -> list[str]:
    """What people and held-out predictions say of the labels."""
    frame = curated.frame
    decided = decided_labels(project)
    is_known = frame["sample_id"].isin(decided.loc[decided["is_known"], "sample_id"])
    suspects = suspected_ids(project, project.run(str(curated.provenance["run"])))
    num_suspected = 0 if suspects is None else int(frame["sample_id"].isin(suspects.to_pandas()).sum())
    quality = pd.to_numeric(frame["label_quality"], errors="coerce").dropna()
    lines = [f"{int(is_known.sum()):,} confirmed or changed by a person, of these "
             f"{int(frame['current_label'].ne(frame['given_label']).sum()):,} to another class than the data gave; "
             f"{int((~is_known).sum()):,} not reviewed.",
             "Whether labels are suspected is not known: the run has nothing to judge them by." if suspects is None else
             f"{num_suspected:,} suspected labels are left: not reviewed, and more "
             "probably wrong than right by the audit of the run."]
    if len(quality):
        low, median, high = quality.quantile([0.25, 0.5, 0.75])
        lines.append(f"label_quality, the mean held-out probability of the label: median {median:.2f}, middle half "
                     f"{low:.2f} to {high:.2f}; hard and wrong labels are both low.")
    if said := blind_words(curated.num_blind):
        lines.append(said)
    return lines


def _transfer(curated: Curated) -> list[str]:
    """The set's transfer scores; nothing where none was asked for."""
    said = transfer_lines(curated.transfer)
    return ["## Is it hard for another backbone?", "", *(f"- {escaped(line)}" for line in said), ""] if said else []


def _table(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (heading, ("---",) * len(heading), *rows)]
