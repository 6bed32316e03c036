"""An audit's figures in words for its page: what curation.audit.report.rate_words says, in Streamlit's Markdown."""

from curation.audit.report.figures import percent
from curation.audit.report.rate_words import UNTIL_THEN, basis, headline, to_go
from curation.views.audit.at_hand import Standing


def rate_headline(found: Standing) -> str:
    """The answer: its interval; or that it is not known."""
    rate = found.rate.overall
    if rate.low is None or rate.high is None or not rate.num_reviews:
        return "How many labels are wrong is not known yet"
    return headline(rate.low, rate.high, rate.num_population)


def rate_basis(found: Standing) -> str:
    """What the answer rests on, and its single figure or why there is none yet."""
    rate, bounds = found.rate, found.rate.bounds
    parts = [basis(rate.quoted, rate.overall.num_reviews, rate.num_early)]
    if not rate.is_complete:
        parts.append("Some strata have fewer than two reviews, so the interval is wide on purpose.")
    if rate.num_unsure:
        parts.append(f"{rate.num_unsure:,} could not be told or are in dispute; whatever they are, the interval lies "
                     f"within {percent(bounds[0])} to {percent(bounds[1])}.")
    return " ".join(parts)


def goal_words(found: Standing) -> str:
    """Whether one may stop, or when that is judged."""
    return to_go(found.goal.half_width, found.progress)


def until_then(found: Standing) -> str:
    """What the interval is worth before; "" where one may stop."""
    return "" if found.progress.is_reached else UNTIL_THEN
