"""Several people's answers in every format that can hold them: one meaning, however they are written.

Each format writes the same answers of ann, bob and eve on three pictures, and must give the same samples.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.sources.importing import import_project
from curation.tables.report import SourceError
from engine.contract.manifest import read_info, read_manifest
from tests.curation.sources.formats.pictures import picture
from tests.curation.sources.formats.test_huggingface import encoded
from tests.curation.sources.formats.test_torchvision_files import cifar

ANSWERS = {"a.png": {"ann": "cat", "bob": "dog", "eve": "dog"}, "b.png": {"ann": "cat", "bob": "dog"},
           "c.png": {"eve": "cat"}}
WANTED = {"a.png": ("dog", 3, 2 / 3, False), "b.png": ("cat", 2, 1 / 2, True), "c.png": ("cat", 1, 1, False)}
"""Label (of a tie the first of the classes), number of answers, share of them that are the label, whether tied."""
ALIASES = {"label_1": "ann", "label_2": "bob", "label_3": "eve"}
Writer = Callable[[Path], Path]


def wide(folder: Path) -> Path:
    rows = [{"path": name} | {column: votes.get(who) for column, who in ALIASES.items()}
            for name, votes in ANSWERS.items()]
    pd.DataFrame(rows).to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def lists(folder: Path) -> Path:
    rows = pa.array([[{"annotator": who, "label": label} for who, label in votes.items()]
                     for votes in ANSWERS.values()])
    pq.write_table(pa.table({"path": list(ANSWERS), "answers": rows}), folder / "t.parquet")
    return folder / "t.parquet"


def metadata(folder: Path) -> Path:
    cells = [";".join(f"{who}:{label}" for who, label in votes.items()) for votes in ANSWERS.values()]
    pd.DataFrame({"file_name": list(ANSWERS), "all_answers": cells}).to_csv(folder / "metadata.csv", index=False)
    return folder


def kaggle(folder: Path) -> Path:
    cells = [json.dumps(votes) for votes in ANSWERS.values()]
    labels = [WANTED[name][0] for name in ANSWERS]
    pd.DataFrame({"id": [name[0] for name in ANSWERS], "label": labels, "votes": cells}).to_csv(folder / "train.csv",
                                                                                             index=False)
    return folder


def wilds(folder: Path) -> Path:
    cells = [json.dumps(list(votes.items())) for votes in ANSWERS.values()]
    labels = [WANTED[name][0] for name in ANSWERS]
    pd.DataFrame({"filename": list(ANSWERS), "y": labels, "split": 0, "votes": cells}).to_csv(folder / "metadata.csv",
                                                                                             index=False)
    return folder


def choice(label: str, who: str) -> dict[str, object]:
    return {"completed_by": {"email": who}, "updated_at": "2026-01-02T03:04:05Z",
            "result": [{"type": "choices", "from_name": "kind", "value": {"choices": [label]}}]}


def label_studio(folder: Path) -> Path:
    tasks = [{"data": {"image": name}, "annotations": [choice(label, who) for who, label in votes.items()]}
             for name, votes in ANSWERS.items()]
    (folder / "export.json").write_text(json.dumps(tasks))
    return folder


def label_studio_short(folder: Path) -> Path:
    """JSON-MIN: an item an annotation."""
    items = [{"id": idx, "annotation_id": idx, "annotator": who, "image": name, "choice": label}
             for name, votes in ANSWERS.items() for idx, (who, label) in enumerate(votes.items())]
    (folder / "export.json").write_text(json.dumps(items))
    return folder


def fiftyone(folder: Path) -> Path:
    samples = [{"filepath": name, "answers": {"_cls": "Classifications", "classifications": [
        {"_cls": "Classification", "label": label, "annotator": who} for who, label in votes.items()]}}
        for name, votes in ANSWERS.items()]
    (folder / "samples.json").write_text(json.dumps({"samples": samples}))
    return folder


def cvat(folder: Path) -> Path:
    images = "".join(f'<image name="{name}">' + "".join(
        f'<tag label="{label}"><attribute name="annotator">{who}</attribute></tag>' for who, label in votes.items())
        + "</image>" for name, votes in ANSWERS.items())
    (folder / "annotations.xml").write_text(f"<annotations><version>1.1</version>{images}</annotations>")
    return folder


def of(project: Path) -> tuple[dict[str, tuple[object, ...]], dict[str, dict[str, str]]]:
    """(label and figures of each sample, its answers by person)."""
    rows = read_manifest(project).set_index("path")
    figures = {name: (row["given_label"], row["num_answers"], pytest.approx(row["answers_agree"]), row["is_tie"])
               for name, row in rows.iterrows()}
    said: dict[str, dict[str, str]] = {}
    names = dict(zip(rows["sample_id"], rows.index, strict=True))
    for sample_id, who, label in pd.read_parquet(project / "answers.parquet").itertuples(index=False, name=None):
        said.setdefault(names[sample_id], {})[ALIASES.get(who, who)] = label
    return figures, said  # type: ignore[return-value]


@pytest.mark.parametrize(("source", "write"), [
    ("table", wide), ("table", lists), ("imagefolder", metadata), ("huggingface", metadata), ("kaggle", kaggle),
    ("wilds", wilds), ("labelstudio", label_studio), ("labelstudio", label_studio_short), ("fiftyone", fiftyone),
    ("cvat", cvat)], ids=lambda one: getattr(one, "__name__", one))
def test_every_format_keeps_every_answer_and_takes_the_majority(tmp_path: Path, source: str, write: Writer) -> None:
    for value, name in enumerate(ANSWERS):
        picture(tmp_path / name, value)
    result = import_project(source, tmp_path / "p", root=write(tmp_path))
    figures, said = of(tmp_path / "p")
    assert figures == WANTED and said == ANSWERS and result.num_lost == 0
    assert any(note.startswith("6 answers on 3 samples") for note in result.notes)


FEATURES = [{"_type": "Sequence", "feature": {"_type": "ClassLabel", "names": ["owl", "cat", "dog"]}},
            {"_type": "List", "feature": {"_type": "ClassLabel", "names": ["owl", "cat", "dog"]}, "length": -1},
            [{"_type": "ClassLabel", "names": ["owl", "cat", "dog"]}]]
"""A list of class numbers, as versions of `datasets` write it into a schema."""


def sequences(path: Path, column: str, cells: list[list[int]], feature: object) -> Path:
    """A Parquet file as the hub has them; the first two pictures are the same, so that ids come from content."""
    names = ["owl", "cat", "dog"]
    images = [{"bytes": encoded(max(1, value)), "path": None} for value in range(len(cells))]
    features = {"image": {"_type": "Image"}, column: feature}
    assert len(names) == 3
    table = pa.table({"image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
                      column: pa.array(cells, pa.list_(pa.int64()))})
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), path)
    return path


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("column", ["answers", "label"])
def test_sequences_of_classes_are_answers_and_follow_samples_whose_ids_change(tmp_path: Path, feature: object,
                                                                              column: str) -> None:
    file = sequences(tmp_path / "train.parquet", column, [[1, 2, 2], [1, -1, 2], [1]], feature)
    import_project("huggingface", tmp_path / "p", root=file)
    rows = read_manifest(tmp_path / "p")
    assert read_info(tmp_path / "p").classes == ("owl", "cat", "dog")
    assert rows["given_label"].tolist() == ["dog", "cat", "cat"] and rows["num_answers"].tolist() == [3, 2, 1]
    answers = pd.read_parquet(tmp_path / "p/answers.parquet")
    assert answers["label"].groupby(answers["sample_id"], sort=False).agg(list).to_dict() == dict(
        zip(rows["sample_id"], (["cat", "dog", "dog"], ["cat", "dog"], ["cat"]), strict=True))


def test_several_classes_of_an_image_are_not_taken_for_answers(tmp_path: Path) -> None:
    file = sequences(tmp_path / "train.parquet", "labels", [[1, 2], [0, 1], [2]], FEATURES[0])
    with pytest.raises(SourceError, match="must have one class here; the column 'labels' of train.parquet is of lists"):
        import_project("huggingface", tmp_path / "p", root=file)
    import_project("huggingface", tmp_path / "p", root=file, answers_column="labels")
    assert read_manifest(tmp_path / "p")["num_answers"].tolist() == [2, 2, 1]


@pytest.mark.parametrize("text", [
    "path,label,rater_1,rater_2\na.png,cat,4,5\nb.png,dog,5,5\nc.png,dog,3,3\n",
    "path,label,label_a,label_b\na.png,cat,x,animal\nb.png,dog,y,animal\nc.png,dog,z,animal\n"],
    ids=["marks", "levels"])
def test_columns_that_are_no_answers_to_one_question_are_not_taken_for_such(tmp_path: Path, text: str) -> None:
    for value, name in enumerate(ANSWERS):
        picture(tmp_path / name, value)
    (tmp_path / "t.csv").write_text(text)
    import_project("table", tmp_path / "p", root=tmp_path / "t.csv")
    assert "num_answers" not in read_manifest(tmp_path / "p") and not (tmp_path / "p/answers.parquet").exists()


def test_columns_of_several_labels_of_an_image_are_no_answers(tmp_path: Path) -> None:
    text = "path,label_1,label_2\na.png,cat,dog\nb.png,dog,owl\nc.png,owl,cat\n"
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(SourceError, match="a table needs a column of labels; t.csv has 'path', 'label_1', 'label_2'"):
        import_project("table", tmp_path / "p", root=tmp_path / "t.csv")


def test_columns_of_people_by_name_ride_along_and_a_wrong_name_is_said(tmp_path: Path) -> None:
    for value, name in enumerate(ANSWERS):
        picture(tmp_path / name, value)
    (tmp_path / "t.csv").write_text("path,ann,bob\na.png,cat,cat\nb.png,dog,cat\nc.png,,dog\n")
    import_project("table", tmp_path / "p", root=tmp_path / "t.csv", answers_column="ann, bob")
    rows = read_manifest(tmp_path / "p")
    assert rows["given_label"].tolist() == ["cat", "cat", "dog"] and rows["ann"].tolist()[:2] == ["cat", "dog"]
    with pytest.raises(SourceError, match="must be in the table; got 'eve'; it has path, ann, bob"):
        import_project("table", tmp_path / "q", root=tmp_path / "t.csv", answers_column="ann,eve")


def test_each_persons_labels_of_cifar_n_are_kept(tmp_path: Path) -> None:
    cifar(tmp_path / "d")
    codes = np.arange(10) % 3
    frame = pd.DataFrame({"aggre_label": codes, "worse_label": np.where(codes == 1, 2, codes), "random_label1": codes,
                          "random_label2": codes, "random_label3": np.where(codes == 1, 2, codes)})
    frame.to_csv(tmp_path / "human.csv", index=False)
    import_project("torchvision", tmp_path / "p", root=tmp_path / "d", noisy_labels=str(tmp_path / "human.csv"))
    rows = read_manifest(tmp_path / "p")
    train = rows[rows["split"] == "train"]
    assert train["answers_agree"].tolist() == pytest.approx([1 / 3 if code == 1 else 1 for code in codes])
    assert rows.loc[rows["split"] == "test", "num_answers"].tolist() == [0, 0]
    answers = pd.read_parquet(tmp_path / "p/answers.parquet")
    assert len(answers) == 30 and set(answers["label"]) == {"airplane", "bird", "cat"}
    assert answers["annotator"].value_counts().to_dict() == {f"random_label{n}": 10 for n in (1, 2, 3)}


def test_metadata_beside_images_bring_the_truth_along_and_are_no_finding(tmp_path: Path) -> None:
    for value, name in enumerate(ANSWERS):
        picture(tmp_path / "d/images" / name, value)
    frame = pd.DataFrame({"file_name": [f"images/{name}" for name in ANSWERS], "true_label": ["dog", "cat", "dog"],
                          "all_answers": [json.dumps(votes) for votes in ANSWERS.values()]})
    frame.to_csv(tmp_path / "d/metadata.csv", index=False)
    result = import_project("imagefolder", tmp_path / "p", root=tmp_path / "d")
    rows = read_manifest(tmp_path / "p")
    assert rows["given_label"].tolist() == ["dog", "cat", "cat"], "what people said, not the folder called images"
    assert rows["clean_label"].tolist() == ["dog", "cat", "dog"] and result.num_problems == 0
