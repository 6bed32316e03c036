"""The legend beside the map: categories with counts, and the marks of decisions. HTML of escaped text."""

import html

import streamlit as st

from curation.views.map import MARKS, Map

_SYMBOLS = {name: symbol for name, symbol in zip((mark[0] for mark in MARKS), ("&#9671;", "&#9633;", "&#10005;"),
                                                 strict=True)}


def legend(drawn: Map) -> None:
    """Draw the legend; a numeric colouring has its colour bar in the figure, so that only the marks are left."""
    colours = drawn.colouring
    entries = [_entry(f'<span style="color:{colour};font-size:15px">{_SYMBOLS[name]}</span>', name, count)
               for name, colour, count in drawn.marks]
    entries += [_entry(f'<span class="dot" style="background:{colour}"></span>', name, count)
                for name, colour, count in zip(colours.names, colours.colours, colours.counts, strict=True)]
    title = "" if colours.is_numeric else f'<span class="title">{html.escape(colours.title)}</span>'
    if title or entries:
        st.html(f'<div class="map-legend">{title}{"".join(entries)}</div>')


def _entry(symbol: str, name: str, count: int) -> str:
    return f'<span class="entry">{symbol}<span class="name">{html.escape(name)}</span><b>{count:,}</b></span>'
