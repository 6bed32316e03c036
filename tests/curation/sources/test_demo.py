"""The demo: counts, what its wrong labels are, the same again with the same seed, portable."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from curation.sources.importing import import_project
from curation.tables.report import SourceError
from engine.contract.manifest import image_root, read_info, read_manifest, resolve_image
from tests.picture_files import tree_bytes, write_image


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    project = tmp_path_factory.mktemp("demo") / "p"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("socket.socket.connect", lambda *a: pytest.fail("the demo must need no network"))
        return project, import_project("demo", project)


def pixels_of(project, rows: pd.DataFrame) -> np.ndarray:
    root = image_root(project, read_info(project))
    images = []
    for path in rows["path"]:
        with Image.open(resolve_image(root, path)) as image:
            images.append(np.asarray(image))
    return np.stack(images)


def test_splits_are_stratified_and_a_tenth_of_training_labels_is_wrong(demo):
    project, result = demo
    rows = read_manifest(project)
    assert result.splits == {"train": 1197, "clean": 200, "test": 400} and result.num_problems == 0
    assert rows["clean_label"].notna().all() and read_info(project).classes == tuple("0123456789")
    is_wrong = rows["given_label"] != rows["clean_label"]
    assert is_wrong.sum() == 120 and set(rows["split"][is_wrong]) == {"train"}
    assert result.disagreement is not None and result.disagreement["num_wrong"] == 120
    whole = rows["clean_label"].value_counts(normalize=True)
    for split in ("train", "clean", "test"):
        share = rows["clean_label"][rows["split"] == split].value_counts(normalize=True)
        assert (share - whole).abs().max() < 0.006


def test_images_and_truth_are_scikit_learns_digits(demo):
    project, _ = demo
    rows = read_manifest(project)
    digits = load_digits()
    idx = rows["sample_id"].str.removeprefix("digit-").astype(int).to_numpy()
    assert sorted(idx) == list(range(1797))
    assert rows["clean_label"].tolist() == [str(digit) for digit in digits.target[idx]]
    # 17 grey levels spread over 256 are told apart exactly after rounding.
    np.testing.assert_array_equal(np.rint(pixels_of(project, rows) * (16 / 255)), digits.images[idx])


def test_wrong_labels_are_what_a_nearest_neighbour_model_of_the_other_classes_says(demo):
    project, _ = demo
    rows = read_manifest(project)
    train = rows[rows["split"] == "train"]
    flat = pixels_of(project, train).reshape(len(train), -1).astype(float)
    truth = train["clean_label"].to_numpy()
    wrong = np.flatnonzero((train["given_label"] != train["clean_label"]).to_numpy())
    for digit in "0123456789":
        mine = wrong[truth[wrong] == digit]
        if len(mine):
            model = KNeighborsClassifier(1).fit(flat[truth != digit], truth[truth != digit])
            assert model.predict(flat[mine]).tolist() == train["given_label"].iloc[mine].tolist()


def test_the_same_seed_gives_the_same_manifest_and_another_seed_another(tmp_path, demo):
    project, _ = demo
    import_project("demo", tmp_path / "same", check="none")
    import_project("demo", tmp_path / "other", check="none", seed=1, noise=0.25)
    first, same, other = (read_manifest(path) for path in (project, tmp_path / "same", tmp_path / "other"))
    pd.testing.assert_frame_equal(first, same)
    assert set(other["sample_id"]) == set(first["sample_id"])
    merged = first.merge(other, on="sample_id")
    assert (merged["split_x"] != merged["split_y"]).any() and (merged["clean_label_x"] == merged["clean_label_y"]).all()
    assert (other["given_label"] != other["clean_label"]).sum() == round(0.25 * 1197)


def test_the_project_may_be_moved(tmp_path, demo):
    project, _ = demo
    assert read_info(project).root == "images"
    moved = shutil.copytree(project, tmp_path / "moved")
    rows = read_manifest(moved)
    assert resolve_image(image_root(moved, read_info(moved)), rows["path"][0]).is_relative_to(moved)
    before = tree_bytes(moved / "images")
    result = import_project("demo", moved)
    assert (result.num_added, result.num_removed, result.is_new) == (0, 0, False)
    assert tree_bytes(moved / "images") == before


@pytest.mark.parametrize(("options", "message"), [
    ({"noise": 1.0}, "noise must lie in"), ({"noise": -0.1}, "noise must lie in"),
    ({"noise": float("nan")}, "noise must lie in"), ({"seed": -1}, "seed must lie in"),
    ({"seed": 1.5}, "seed must be of type int"), ({"root": "/tmp"}, "takes no ROOT"),
])
def test_bad_options_are_refused_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(SourceError, match=message):
        import_project("demo", tmp_path / "p", **options)
    assert not (tmp_path / "p").exists()


def test_images_of_another_data_set_are_never_mixed_with_the_demos(tmp_path):
    for name in ("cat", "dog"):
        write_image(tmp_path / "p" / "images" / name / "1.png")
    import_project("imagefolder", tmp_path / "p", root=tmp_path / "p" / "images")
    assert read_info(tmp_path / "p").root == "images"
    before = tree_bytes(tmp_path / "p")
    with pytest.raises(SourceError, match="project folder without images of its own"):
        import_project("demo", tmp_path / "p")
    assert tree_bytes(tmp_path / "p") == before
