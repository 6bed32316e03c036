"""What an import would bring, shown before anything is written: how the data are read, how they are split, class counts
and pictures."""

import base64
import html
import re
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from curation.sources.importing import SOURCES
from curation.sources.preview import Preview, preview
from curation.sources.reading.source import Option, OptionValue
from curation.sources.recognise import Recognised
from curation.sources.roots import allowed
from curation.sources.splits import CLEAN_FRAC, TEST_FRAC, HoldOut
from curation.tables.report import Progress
from curation.views.routes.thumbnails import encoded_thumbnail
from curation.views.widgets import state
from curation.views.widgets.layout import side_by_side, table_height
from curation.words import counted
from engine.contract.manifest import MANIFEST_NAME, SPLITS
from engine.contract.stamps import stamp_of

KEY = "import."
NONE, AUTO = "(none)", "(by its name)"
PICKERS = (
    ("path_column", "path", "Images", "Paths of the images, relative to the table's folder."),
    ("label_column", "given_label", "Labels", "The label of each image, which may be wrong."),
    ("clean_label_column", "clean_label", "True labels", "Where they are known; used for scoring alone."),
    ("split_column", "split", "Split", "train, val or test."),
    ("group_column", "group", "Group", "Domain or subgroup, for worst-group accuracy."),
    ("id_column", "sample_id", "Id", "What a sample is called; without one, its path."),
)
"""Option of the source, column of ours, what the form calls it, help."""
PATH_OPTIONS = ("image_root", "classes", "noisy_labels")
SEVERAL = (("annotator_column", "People", "Who answered, where an image is in a row for each person."),
           ("answers_column", "Their answers", "A column with all answers on an image, or one for each person."))
"""Option of the source, what the form calls it, help; where nothing is chosen they are found by their names."""
_PREVIEW_KEY = KEY + "preview"


class Asked(NamedTuple):
    """How the form would import."""

    source: str
    root: Path
    options: dict[str, OptionValue | None]
    held_out: HoldOut | None


def title_of(way: Recognised) -> str:
    return f"Table {way.root.name}" if way.source == "table" else SOURCES[way.source].title


def column_options(way: Recognised) -> dict[str, OptionValue | None]:
    """A table's columns as pickers, set to their usual names."""
    if way.source != "table":
        return {}
    chosen: dict[str, OptionValue | None] = {}
    with st.grid(min_column_width=150, gap="small"):
        for option, ours, label, text in PICKERS:
            names = [NONE, *way.columns]
            usual = way.usual.get(ours)
            picked = st.selectbox(label, names, names.index(usual) if usual in names else 0, help=text,
                                  key=f"{KEY}{option}.{way.root}")
            chosen[option] = "" if picked == NONE else str(picked)
    return chosen


def other_options(way: Recognised, is_zip: bool) -> dict[str, OptionValue | None]:
    """What else the source can be told. Raises SourceError for a path outside of the allowed roots; what was dropped
    as a zip is whole and names none."""
    pickers = {option for option, *_ in PICKERS} if way.source == "table" else set()
    chosen = _several(way) if way.source == "table" else {}
    pickers |= set(chosen)
    left_out = pickers | (set(PATH_OPTIONS) if is_zip else set())
    given = {option.name: _option(way.source, option) for option in SOURCES[way.source].options
             if option.name not in left_out and option.is_in_form}
    for name in PATH_OPTIONS:
        if given.get(name):
            given[name] = str(allowed(str(given[name])))
    return given | chosen


def _several(way: Recognised) -> dict[str, OptionValue | None]:
    """Where several people's answers are, if they are not where they usually are."""
    found: dict[str, OptionValue | None] = {}
    for option, label, text in SEVERAL:
        key = f"{KEY}{option}.{way.root}"
        if option == "annotator_column":
            picked = [st.selectbox(label, [AUTO, NONE, *way.columns], key=key, help=text)]
        else:
            picked = st.multiselect(label, [NONE, *way.columns], key=key, help=text, placeholder=AUTO) or [AUTO]
        found[option] = None if AUTO in picked else "" if NONE in picked else ",".join(map(str, picked))
    return found


def _option(source: str, option: Option) -> OptionValue | None:
    """The widget of one option; None leaves it to its default."""
    default = option.default
    key, label = f"{KEY}{source}.{option.name}", option.name.replace("_", " ").capitalize()
    text = state.plain(option.help)
    if option.choices:
        start = option.choices.index(str(default)) if default in option.choices else 0
        return st.selectbox(label, option.choices, start, key=key, help=text)
    if option.kind is int:
        return st.number_input(label, value=default if isinstance(default, int) else None, step=1, key=key, help=text)
    if option.kind is float:
        number = default if isinstance(default, float) else None
        return st.number_input(label, value=number, format="%g", step=0.05, key=key, help=text)
    return st.text_input(label, str(default or ""), key=key, help=text, placeholder="default").strip() or None


def hold_out_form(found: Preview, is_again: bool) -> HoldOut | None:
    """What to hold out where the data have no split, in plain words; None for nothing. found: without any held out;
    is_again: into a project whose own division stays, so that this is of what is new."""
    missing = [name for name in ("test", "clean") if name not in found.own_splits]
    if not missing:
        st.caption("The data have test and clean splits of their own: they stay as they are.")
        return None
    has = f"The data have {' and '.join(found.own_splits)} alone." if found.own_splits != ("train",) else \
        "The data have no split of their own."
    st.markdown(f"**{has}** What this project holds out stays held out. Of what is new, at random, class by class:"
                if is_again else f"**{has}** Some can be held out now, at random, class by class:")
    fracs = {"test": 0.0, "clean": 0.0}
    with st.grid(min_column_width=190, gap="small"):
        if "test" in missing:
            fracs["test"] = float(st.number_input(
                "Held out for test (%)", 0, 80, round(100 * TEST_FRAC), step=5, key=KEY + "test_percent",
                help="Never trained on; for the accuracy at the end. 0: none.")) / 100
        if "clean" in missing:
            fracs["clean"] = float(st.number_input(
                "Held out to watch (%)", 0, 80, round(100 * CLEAN_FRAC), step=5, key=KEY + "clean_percent",
                help="The split called clean: accuracy on it is watched while training. Its labels are as given, "
                     "not checked. 0: none.")) / 100
        together = st.selectbox(
            "Kept together", [NONE, *found.groups], 1 if found.groups and found.is_first_whole else 0,
            key=f"{KEY}together.{'.'.join(found.groups)}", help="A patient, a sender, a video: samples of equal value "
            "go to one split, so that test asks about what training has not seen.") if found.groups else NONE
        seed = int(st.number_input("Draw", 0, 10_000, 0, step=1, key=KEY + "split_seed",
                                   help="Another number holds out others of the new samples; those of the project stay."
                                   if is_again else
                                   "Another number holds out other samples; the same number the same ones."))
    if not any(fracs.values()):
        st.caption("Of the new samples none is held out; what the project holds out stays so." if is_again else
                   "Nothing is held out: a run then cannot report the accuracy of that split.")
        return None
    return HoldOut(test_frac=fracs["test"], clean_frac=fracs["clean"], seed=seed,
                   together=None if together == NONE else str(together))


def previewed(asked: Asked, progress: Progress, project: Path | None = None) -> Preview:
    """The preview of these choices, made once; `project`: what it would replace. Raises SourceError."""
    files = (asked.root, *([] if project is None else [project / MANIFEST_NAME]))
    key = (asked.source, str(asked.root), stamp_of(*files), tuple(asked.options.items()), asked.held_out)
    kept: dict[object, Preview] = st.session_state.get(_PREVIEW_KEY, {})
    if key not in kept:
        made = preview(asked.source, asked.root, progress, asked.options, asked.held_out, project)
        kept = {**dict(list(kept.items())[-1:]), key: made}  # with and without what is held out
        st.session_state[_PREVIEW_KEY] = kept
    return kept[key]


def show_preview(found: Preview) -> None:
    """Counts, class by class, pictures, notes and findings."""
    left, right = side_by_side("import_preview", [2, 3])
    with left:
        with st.container(horizontal=True, gap="medium"):
            st.metric("Samples", f"{found.num_samples:,}", width="content")
            st.metric("Classes", f"{len(found.classes):,}", width="content")
            for name in SPLITS:
                st.metric(name.capitalize(), f"{found.splits[name]:,}", width="content",
                          help="Held out, labels as given." if name in found.held_out else None)
        shown = [name for name in SPLITS if found.splits[name]]
        st.dataframe(found.classes[["class", *shown]], hide_index=True,
                     height=table_height(len(found.classes), 260))
    with right:
        if found.pictures:
            st.html(pictures_html(found))
            num = len(found.pictures)
            some = "All of them" if num == found.num_samples else f"{num} of them, of every class in turn"
            st.caption(f"{some}. Is each under the label that the data give it?")
    for note in found.notes:
        st.markdown(f"- {state.plain(as_sentence(note))}")
    if found.num_problems:
        with st.expander(f"{counted(found.num_problems, 'finding')}: what is left out or looks odd"):
            st.dataframe(found.problems, hide_index=True, placeholder="", height=table_height(len(found.problems)))


def as_sentence(note: str) -> str:
    """A note with a capital letter and a full stop; a name that it begins with stays as it is."""
    first = note.split(" ", 1)[0].rstrip(":,")
    return (note if re.search(r"[._/\d]", first) else note[:1].upper() + note[1:]) + "."


def pictures_html(found: Preview) -> str:
    """The pictures with their labels; every piece of data is escaped."""
    figures = []
    for picture in found.pictures:
        encoded = encoded_thumbnail(picture.path, 128)
        kind = "png" if encoded.startswith(b"\x89PNG") else "jpeg"
        label = html.escape(picture.label, quote=True)
        figures.append(f'<figure title="{label}"><img alt="{label}" src="data:image/{kind};base64,'
                       f'{base64.b64encode(encoded).decode()}"><figcaption>{label}</figcaption></figure>')
    return f'<div class="ws-pictures">{"".join(figures)}</div>'

