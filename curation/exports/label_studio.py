"""Label Studio tasks of image classification: the label in force as a prediction, whose score sorts the queue."""

import json
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from curation.exports.pictures import Pictures

FROM_NAME, TO_NAME = "label", "image"
FILES = """
tasks.json: one task a picture: its address, sample_id, label and suggested_label; a prediction with the label in force,
whose score is label_quality, the mean held-out probability of the label: the lowest are the most doubtful

label_config.xml: the labelling interface, the classes in index order
"""
OPENING = """
1. Start Label Studio so that it may read this folder: set `LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true`, and
   `LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT` to this folder's path.
2. Make a project with label_config.xml as its labelling interface, add images/ as Local files storage (without syncing
   it), then import tasks.json. Order by prediction score, lowest first.
3. Export as JSON, and take the answers back: on the page Decide, or by `python -m curation verdicts PROJECT --file
   EXPORT.json`.
"""


def write(pictures: Pictures, folder: Path) -> None:
    """Write FILES into `folder`."""
    version = f"whetstone {pictures.curated.provenance['run']}"
    tasks = []
    for row in pictures.rows.to_dict("records"):
        address = "/data/local-files/?d=" + quote(f"images/{row['file_name']}")
        data = {TO_NAME: address, "sample_id": row["sample_id"], "label": row["label"],
                "suggested_label": row["suggested_label"] if isinstance(row["suggested_label"], str) else None}
        quality = float(row["label_quality"])
        result = {"from_name": FROM_NAME, "to_name": TO_NAME, "type": "choices", "value": {"choices": [row["label"]]}}
        score = {} if quality != quality else {"score": quality}
        tasks.append({"data": data, "predictions": [{"model_version": version, **score, "result": [result]}]})
    (folder / "tasks.json").write_text(json.dumps(tasks, ensure_ascii=False), encoding="utf-8")
    choices = "\n".join(f"    <Choice value={quoteattr(label)}/>" for label in pictures.folders)
    (folder / "label_config.xml").write_text(
        f'<View>\n  <Image name="{TO_NAME}" value="${TO_NAME}"/>\n'
        f'  <Choices name="{FROM_NAME}" toName="{TO_NAME}" choice="single">\n{choices}\n  </Choices>\n</View>\n',
        encoding="utf-8")
