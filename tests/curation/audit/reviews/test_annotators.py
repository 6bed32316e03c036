"""How far people agree whose answers came with the data: against published figures and the definition written out."""

from itertools import permutations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from statsmodels.stats.inter_rater import fleiss_kappa  # type: ignore[import-untyped]

from curation.audit.report.rate_words import annotator_words
from curation.audit.report.summaries import annotators_part
from curation.audit.reviews.annotators import (
    agreement_of,
    annotators_of,
    disagreement_of,
    krippendorff_alpha,
    lost_answers,
)
from curation.lacking import lacking
from curation.project import Project
from engine.contract.work_dir import write_atomic
from tests.fakes import make_project

KRIPPENDORFF_2011 = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .",
                     "1 2 3 3 2 4 4 1 2 5 1 .")
"""Four observers of twelve units; nominal alpha is 0.743."""
FLEISS = [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0],
          [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
"""Ten samples, fourteen answers each, by label; Fleiss' kappa is 0.210."""


def answers(rows: list[tuple[str, str | None, str]]) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table({name: pa.array(column, pa.string()) for name, column in
                     zip(("sample_id", "annotator", "label"), columns, strict=True)})


def by_definition(sample: np.ndarray, label: np.ndarray) -> float:
    """1 - observed / expected disagreement by the coincidences of values, pair by pair."""
    num = label.max() + 1
    coincidences = np.zeros((num, num))
    for one in np.unique(sample):
        said = label[sample == one]
        for first, second in permutations(range(len(said)), 2):
            coincidences[said[first], said[second]] += 1 / (len(said) - 1)
    marginal = coincidences.sum(axis=1)
    off = ~np.eye(num, dtype=bool)
    expected = np.outer(marginal, marginal)[off].sum() / (marginal.sum() - 1)
    return float(1 - coincidences[off].sum() / expected)


def test_alpha_is_the_published_one() -> None:
    rows = [(str(unit), who, value) for who, line in zip("ABCD", KRIPPENDORFF_2011, strict=True)
            for unit, value in enumerate(line.split()) if value != "."]
    found = agreement_of(answers(rows))
    assert found.alpha == pytest.approx(0.743, abs=5e-4)
    assert (found.num_answers, found.num_people, found.num_samples, found.num_shared) == (41, 4, 12, 11)


def test_alpha_is_fleiss_kappa_of_many_answers_but_for_the_size_of_the_sample() -> None:
    table = np.array(FLEISS)
    sample, label = (np.repeat(part.ravel(), table.ravel()) for part in np.indices(table.shape))
    kappa, num = fleiss_kappa(table), table.sum()
    assert kappa == pytest.approx(0.210, abs=5e-4)
    assert krippendorff_alpha(sample, label) == pytest.approx(1 - (1 - kappa) * (num - 1) / num, abs=1e-12)


def test_alpha_is_its_definition_written_out() -> None:
    rng = np.random.default_rng(0)
    for num in (20, 60):
        sample, label = rng.integers(0, 15, num), rng.integers(0, 4, num)
        assert krippendorff_alpha(sample, label) == pytest.approx(by_definition(sample, label), abs=1e-12)


def test_what_cannot_be_said_is_none() -> None:
    alone, alike = answers([("a", "1", "x"), ("b", "2", "y")]), answers([("a", None, "x"), ("a", None, "x")])
    assert (agreement_of(alone).agreement, agreement_of(alone).alpha) == (None, None)
    assert (agreement_of(alike).agreement, agreement_of(alike).alpha, agreement_of(alike).num_people) == (1, None, 0)
    shown = [annotator_words(part) for found in (alone, alike) if (part := annotators_part(agreement_of(found)))]
    assert shown == ["2 answers of 2 people on 2 samples came with the data, no two on the same sample.",
                     "2 answers on 1 sample came with the data; "
                     "two on the same sample agree 100% of the time: all alike."]


def test_a_damaged_file_of_answers_is_told_and_a_missing_one_is_none(tmp_path: Path) -> None:
    project = Project.open(make_project(tmp_path / "p", num_train=6, size=2))
    assert annotators_of(project.path) is None and lacking(project) == []
    path = project.path / "answers.parquet"
    write_atomic(path, lambda part: pq.write_table(answers([("a", "1", "x"), ("a", "2", "y")]), part))
    found = annotators_of(project.path)
    assert found is not None and found.agreement == 0 and lost_answers(project.path) == []
    content = bytearray(path.read_bytes())
    content[20] ^= 255
    path.write_bytes(content)
    assert annotators_of(project.path) is None
    (line,) = lacking(project)
    assert "answers.parquet is not as it was written; import the data again" in line


def test_who_and_what_disagrees_is_its_definition_written_out() -> None:
    rng = np.random.default_rng(3)
    rows = [(str(sample), f"p{who}", "xyz"[rng.integers(3)]) for sample in range(30) for who in range(6)
            if rng.random() < 0.6]
    truth = {str(sample): "xyz"[sample % 3] for sample in range(0, 30, 2)}
    found = disagreement_of(answers(rows), pa.table({
        "sample_id": [str(sample) for sample in range(30)],
        "clean_label": pa.array([truth.get(str(sample)) for sample in range(30)], pa.string())}))
    pairs = [(one, other) for one, other in permutations(rows, 2) if one[0] == other[0]]
    for person in found.people:
        own = [(one[2], other[2]) for one, other in pairs if one[1] == person.name]
        known = [row for row in rows if row[1] == person.name and row[0] in truth]
        assert (person.num_pairs, person.num_known) == (len(own), len(known))
        assert person.agreement == pytest.approx(np.mean([one == other for one, other in own]))
        assert person.right == pytest.approx(np.mean([truth[row[0]] == row[2] for row in known]))
    for each in found.classes:
        own = [(one[2], other[2]) for one, other in pairs if one[2] == each.label]
        assert each.num_pairs == len(own)
        assert each.agreement == pytest.approx(np.mean([one == other for one, other in own]))
    for mixed in found.mixed_up:
        both = {one[0] for one, other in pairs if (one[2], other[2]) == mixed.labels}
        assert mixed.num_pairs == sum((one[2], other[2]) == mixed.labels for one, other in pairs)
        assert mixed.num_samples == len(both)
    assert sum(person.num_answers for person in found.people) == len(rows) and len(found.mixed_up) == 3


def test_people_whom_the_data_do_not_name_are_no_person() -> None:
    rows = [("a", None, "x"), ("a", None, "y"), ("b", "ann", "x")]
    found = disagreement_of(answers(rows), pa.table({"sample_id": ["a"], "clean_label": pa.nulls(1, pa.string())}))
    assert [(one.name, one.agreement, one.right) for one in found.people] == [("ann", None, None)]
    assert [(one.labels, one.num_pairs) for one in found.mixed_up] == [(("x", "y"), 1)]
