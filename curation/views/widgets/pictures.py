"""A still grid of pictures with captions, as HTML in which every piece of data is escaped. Nothing is clickable."""

import html
from collections.abc import Iterable

import streamlit as st

from curation.project import Project
from curation.views.routes.thumbnails import thumbnail_url


def pictures_html(project: Project, samples: Iterable[tuple[str, str, str]], size: int = 128) -> str:
    """samples: (sample_id, caption, remark); the remark is set apart in the warning colour, "" for none."""
    figures = []
    for sample_id, caption, remark in samples:
        source = html.escape(thumbnail_url(project, sample_id, size), quote=True)
        said = html.escape(caption) + (f' <span class="ws-remark">{html.escape(remark)}</span>' if remark else "")
        title = html.escape(f"{sample_id}: {caption} {remark}".strip(), quote=True)
        figures.append(f'<figure title="{title}"><img src="{source}" alt="{title}" loading="lazy">'
                       f"<figcaption>{said}</figcaption></figure>")
    return f'<div class="ws-pictures">{"".join(figures)}</div>'


def show_pictures(project: Project, samples: Iterable[tuple[str, str, str]], size: int = 128) -> None:
    """Draw pictures_html."""
    st.html(pictures_html(project, samples, size))
