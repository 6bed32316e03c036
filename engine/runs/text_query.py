"""A text as a vector in the space of a project's features, by the text tower of the backbone that made them.

`curation similar --text` starts this, since the rest of curation knows no torch:

    python -m engine.runs.text_query PROJECT FEATURES TEXT OUT.npy     (not for people)
"""

import sys
from pathlib import Path

import numpy as np

from engine.contract.errors import UserError
from engine.contract.feature_dir import FeatureDir, FeatureError
from engine.contract.work_dir import write_array
from engine.data.backbones.clip import PREFIX, text_features


def text_query(project: Path, features: str, text: str) -> np.ndarray:
    """(D,) float32. Raises FeatureError where those features come from no backbone with a text tower, BackboneError as
    text_features."""
    document = FeatureDir.of(project, features).read_document()
    backbone, size = document.get("backbone", ""), document.get("image_size")
    if document.get("kind") != "backbone" or not backbone.startswith(PREFIX) or size is None:
        raise FeatureError(f"a text is compared by a backbone that reads texts; {features!r} are of {backbone!r}, "
                           f"which reads none; make features of such as {PREFIX}ViT-B-32/laion2b_s34b_b79k")
    return text_features(backbone, size, document["digest"], text)


def main(arguments: list[str]) -> int:
    """Write the vector; 2 and one line where that is refused."""
    project, features, text, out = arguments
    try:
        write_array(Path(out), text_query(Path(project), features, text))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
