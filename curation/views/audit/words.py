"""An audit's figures in words. Strings out; those that hold names are escaped where they are shown."""

from curation.audit.estimate.noise_rate import Rate
from curation.audit.report.figures import percent
from curation.views.audit.at_hand import Standing


def rate_sentence(found: Standing) -> str:
    """The answer, with its interval and what it rests on."""
    rate = found.rate.overall
    if rate.share is None or rate.low is None or rate.high is None or not rate.num_reviews:
        return "**How many labels are wrong is not known yet:** no drawn sample has been reviewed."
    return (f"**{percent(rate.share)} of {rate.num_population:,} given labels are wrong** (95% interval "
            f"{percent(rate.low)} to {percent(rate.high)}), measured on {reviews(rate.num_reviews)} drawn at random.")


def reviews(num: int) -> str:
    """'1 review', '1,234 reviews'."""
    return f"{num:,} review{'' if num == 1 else 's'}"


def goal_words(further: int | None, goal: float) -> str:
    """How far the stop rule is."""
    points = f"\u00b1{goal * 100:g} points"
    if further is None:
        return f"How many more it takes for {points} shows after the first reviews."
    if further == 0:
        return f"The precision asked for, {points}, is reached."
    return f"About {further:,} more review{'s' * (further != 1)} to reach {points}."


def interval_words(rate: Rate) -> str:
    """'7.6% to 10.8%'; '' without one."""
    return "" if rate.low is None or rate.high is None else f"{percent(rate.low)} to {percent(rate.high)}"
