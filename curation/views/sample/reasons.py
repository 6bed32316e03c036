"""Why a sample is, or is not, in validation: plain sentences from what the run recorded. Strings in, strings out.

Labels appear as they are: escape the sentences where they are shown. Draws nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from curation.experiments.stability import Stability
from curation.samples.frames import SampleTable
from curation.views.widgets.gallery import text_of
from curation.views.widgets.role_words import reason_words
from curation.words import counted
from engine.contract.statistics.quota import class_quota


def class_rank(table: SampleTable, idx: int, column: str) -> tuple[int, int] | None:
    """(rank, size): place of row `idx` among its class by `column`, 1 the lowest; None without a value."""
    values = table[column].numbers if column in table else np.full(idx + 1, np.nan)
    if np.isnan(values[idx]):
        return None
    labels = table["current_label" if "current_label" in table else "given_label"].codes.codes
    same = values[(labels == labels[idx]) & (labels >= 0) & np.isfinite(values)]
    return int((same < values[idx]).sum()) + 1, len(same)


def reasons(table: SampleTable, idx: int, val_fraction: float, pin_then: str, excluded_then: bool,
            is_guarded: bool = True, is_trained: bool = True) -> list[str]:
    """Sentences about row `idx`, the decisive one first. val_fraction, is_guarded: of the run's settings; *_then: its
    decisions. is_trained: whether the run routes samples at all; else they are about the label alone."""
    row = table.rows([idx]).iloc[0].to_dict()
    role, reason = text_of(row.get("role")), text_of(row.get("role_reason"))
    found = []
    if is_trained or role == "excluded":
        found.append(_headline(role, reason, reason_words(row, is_guarded), row.get("p_train")))
    rank = class_rank(table, idx, "p_train")
    is_the_pins = bool(pin_then) and row.get("p_train") in (0.0, 1.0)  # what is recorded then is the pin itself
    if rank is not None and not is_the_pins:
        quota = class_quota(rank[1], val_fraction)
        found.append(f"The splitter gives it p_train {row['p_train']:.2f}: place {rank[0]:,} of {rank[1]:,} in its "
                     f"class, counted from the sample it most wants in validation. About {quota:,} of the class go "
                     "there.")
        if role == "validation" and reason == "routed_learned" and rank[0] > quota:
            found.append("Many that the splitter wants more were passed over: the guard withholds samples whose "
                         "label is in doubt by held-out predictions, and coverage keeps some of each neighbourhood in "
                         "training. This probability is also from after the epoch, roles are from before it.")
        if reason == "trains" and rank[0] <= quota:
            found.append("Roles are set before an epoch and this probability is from after it: the next split would "
                         "have considered the sample, unless the guard doubts its label.")
    quality = row.get("label_quality")
    if not pd.isna(quality):
        suggested, current = text_of(row.get("suggested_label")), text_of(row.get("current_label"))
        doubt = f"; held-out predictions name {suggested} instead" if suggested and suggested != current else ""
        num = int(row.get("heldout_epochs") or 0)
        basis = counted(num, "held-out prediction") if is_trained else "predictions that did not see it"
        found.append(f"Label quality {quality:.2f} from {basis} (0 bad, 1 good){doubt}.")
    found += _since(row, role, pin_then, excluded_then)
    return found


def stability_words(own: Stability | None, others: Sequence[Stability]) -> list[str]:
    """How steadily a sample was routed over the epochs of this run, and in the other seeds of its settings."""
    found = []
    if own is not None:
        switches = {0: "never changing sides", 1: "changing sides once"}.get(
            own.num_switches, f"changing sides {own.num_switches} times")
        first, last = own.epochs
        span = f"epoch {first}" if first == last else f"epochs {first} to {last}"
        found.append(f"{'After warm-up, in' if own.has_warmup else 'In'} {span}, it was in validation in "
                     f"{own.num_routed} of {own.num_epochs}, {switches}.")
    if others:
        num = sum(other.is_routed for other in others)
        seeds = ", ".join(str(other.seed) for other in others)
        mean = sum(other.num_routed / other.num_epochs for other in others) / len(others)
        found.append(f"In the other seeds of these settings ({seeds}) it ended in validation in {num} of "
                     f"{len(others)}, and was there in {mean:.0%} of the epochs.")
    return found


def _headline(role: str, reason: str, why: str, p_train: Any) -> str:
    """The role and why. p_train in [0, 1], null where it is not known."""
    place = {"validation": "In validation", "train": "In training, not in validation",
             "excluded": "Excluded: in neither training nor validation"}.get(role)
    if place is None:
        return "This run says nothing about it yet."
    if reason == "trains":
        why = "it is not among the samples that its class sends to validation"
    if reason == "routed_learned" and pd.notna(p_train) and p_train > 0.5:
        why += (f"; {p_train:.2f} is high in itself, but each class sends a share of its own, whatever the values")
    return f"{place}{': ' + why if why else ''}."


def _since(row: dict[Any, Any], role: str, pin_then: str, excluded_then: bool) -> list[str]:
    """Decisions the run did not know of, and where a pin fights the splitter."""
    pin, is_excluded, found = text_of(row.get("pin")), bool(row.get("excluded")), []
    p_train = float(row.get("p_train", np.nan))
    if pin != pin_then:
        found.append(f"Since this run a person {f'pinned it to {_side(pin)}' if pin else 'took its pin away'}: "
                     "that takes effect in the next run.")
    if is_excluded != excluded_then:
        found.append(f"Since this run a person {'excluded it' if is_excluded else 'included it again'}: "
                     "that takes effect in the next run.")
    if pin and np.isfinite(p_train):
        wish = p_train if pin == "validation" else 1 - p_train
        if wish > 0.5:
            found.append(f"The splitter disagrees with the pin: left to itself it leans {wish:.0%} the other way.")
    return found


def _side(pin: str) -> str:
    return "training" if pin == "train" else pin
