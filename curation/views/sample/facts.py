"""Labels and numbers of one sample. Draws tables and decides nothing."""

import html
from pathlib import Path

import pyarrow.parquet as pq
import streamlit as st

from curation.project import ANSWERS_NAME
from curation.samples.frames import SampleTable
from curation.views.sample.reasons import class_rank
from curation.views.widgets.gallery import text_of
from curation.views.widgets.palette import info_of
from curation.words import counted

LABELS = ("given_label", "current_label", "suggested_label", "predicted_label", "clean_label")
NUMBERS = ("margin", "heldout_margin", "label_quality", "p_train", "weight", "loss")


def answers_on(project: Path, sample_id: str) -> str:
    """What people said of a sample in the answers that came with the data, the most frequent first, such as
    "cat (ann, bob), dog (2 people)"; "" where none came, or they cannot be read."""
    try:
        rows = pq.read_table(project / ANSWERS_NAME, filters=[("sample_id", "==", sample_id)]).to_pandas()
    except (OSError, ValueError, KeyError):
        return ""
    said = [(label, list(group["annotator"])) for label, group in rows.groupby("label", sort=True)]
    words = []
    for label, people in sorted(said, key=lambda one: -len(one[1])):
        named = [str(name) for name in people if isinstance(name, str)]
        who = named if len(named) == len(people) else [counted(len(people), "person", "people")]
        words.append(f"{label} ({', '.join(who)})")
    return ", ".join(words)


def facts(table: SampleTable, idx: int, answers: str = "") -> None:
    """Labels and numbers as two small tables; each number with its place within the class. answers: answers_on."""
    row = table.rows([idx]).iloc[0]
    labels = [(info_of(name).title, text_of(row.get(name))) for name in LABELS if name in table]
    labels += [("Answers with the data", answers)] if answers else []
    cells = "".join(
        f'<tr><th scope="row">{html.escape(title)}</th><td><b>{html.escape(value) or "<i>none</i>"}</b></td></tr>'
        for title, value in [*labels, ("Role in this run", text_of(row.get("role")))])
    numbers = ""
    for name in NUMBERS:
        if name not in table or not table[name].has_values:  # no weights where nothing was trained
            continue
        rank = class_rank(table, idx, name)
        value = "no value" if rank is None else f"{row[name]:z.3f}"
        place = "" if rank is None else f"{rank[0]:,} of {rank[1]:,}"
        info = info_of(name)
        numbers += (f'<tr title="{html.escape(info.meaning)}"><th scope="row">{html.escape(info.title)}</th>'
                    f'<td class="num"><b>{value}</b></td><td class="num">{place}</td></tr>')
    second = ('<table class="ws-facts"><thead><tr><th scope="col">Signal</th><th scope="col" class="num">value</th>'
              f'<th scope="col" class="num">place in class, lowest first</th></tr></thead>{numbers}</table>')
    st.html(f'<table class="ws-facts">{cells}</table>{second if numbers else ""}')
