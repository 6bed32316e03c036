"""A predicate in words. Holds labels and what was typed: escape it where it is shown. Draws nothing."""

from curation.samples.columns import Condition
from curation.samples.predicates import LISTS, Predicate
from curation.samples.regions import region_words
from curation.views.widgets.palette import COLUMNS, info_of

MAX_NAMES = 4


def sentence(chosen: Predicate) -> str:
    """'class = dress and margin < 0 and role = validation, inside the lasso'; 'all samples' where nothing is set."""
    said = " and ".join(conditions(chosen))
    if region := chosen.get("region"):
        said = ", ".join(part for part in (said, region_words(region)) if part)
    if not said:
        return "all samples"
    return f"not ({said})" if chosen.get("inverted") else said


def conditions(chosen: Predicate) -> list[str]:
    """The filters, a phrase each."""
    found = []
    for part, word in zip(LISTS, ("class = ", "role = ", "decision = ", ""), strict=True):
        if names := chosen.get(part):
            found.append(f"{word}{any_of(names)}")
    found += [condition_words(name, condition) for name, condition in chosen.get("columns", {}).items()]
    if chosen.get("ids"):
        found.append(f"among {len(chosen['ids']):,} chosen ones")
    if chosen.get("search"):
        found.append(f'id contains "{chosen["search"]}"')
    return found


def condition_words(column: str, condition: Condition) -> str:
    """One column's condition: 'weight 0.5 to 1.2', 'margin ≤ 0', 'camera = left or no value'."""
    name = info_of(column).title.split(" (")[0].lower() if column in COLUMNS else column
    if isinstance(condition, list):
        return f"{name} = {any_of(['no value' if item is None else str(item) for item in condition])}"
    parts = []
    low, high = condition.get("min"), condition.get("max")
    if low is not None and high is not None:
        parts.append(f"{name} {number(low)} to {number(high)}")
    elif low is not None:
        parts.append(f"{name} ≥ {number(low)}")
    elif high is not None:
        parts.append(f"{name} ≤ {number(high)}")
    if condition.get("contains"):
        parts.append(f'{name} contains "{condition["contains"]}"')
    if condition.get("is_null") is not None:
        parts.append(f"{name} has {'no' if condition['is_null'] else 'a'} value")
    return " and ".join(parts)


def any_of(names: list[str]) -> str:
    """'cat or dog'; of many the first ones and how many more."""
    if len(names) <= MAX_NAMES:
        return " or ".join(names)
    return f"{' or '.join(names[:MAX_NAMES - 1])} or {len(names) - MAX_NAMES + 1} more"


def number(value: float) -> str:
    """Four digits at most, whole numbers whole."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.4g}"
