"""Labels and numbers of one sample. Draws tables and decides nothing."""

import html

import pandas as pd
import streamlit as st

from curation.views.sample.reasons import class_rank
from curation.views.widgets.gallery import text_of
from curation.views.widgets.palette import info_of

LABELS = ("given_label", "current_label", "suggested_label", "predicted_label", "clean_label")
NUMBERS = ("margin", "heldout_margin", "label_quality", "p_train", "weight", "loss")


def facts(table: pd.DataFrame, idx: int) -> None:
    """Labels and numbers as two small tables; each number with its place within the class."""
    row = table.iloc[idx]
    labels = [(info_of(name).title, text_of(row.get(name))) for name in LABELS if name in table]
    cells = "".join(
        f'<tr><th scope="row">{html.escape(title)}</th><td><b>{html.escape(value) or "<i>none</i>"}</b></td></tr>'
        for title, value in [*labels, ("Role in this run", text_of(row.get("role")))])
    numbers = ""
    for name in NUMBERS:
        if name not in table or table[name].isna().all():  # no weights where nothing was trained
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
