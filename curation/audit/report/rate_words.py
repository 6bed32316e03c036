"""What the estimate says, in words: one place for page, command and report, so that none promises more than another.

The interval comes first, always. What is said of stopping is what curation.audit.estimate.looks holds, no more. Numbers
in, strings out; of the user's own there is nothing in them.
"""

from curation.audit.estimate.looks import Progress
from curation.audit.report.document import AnnotatorsPart
from curation.audit.report.figures import between, percent
from curation.words import counted


def headline(low: float, high: float, num_population: int) -> str:
    """'7.6% to 10.8% of 12,000 given labels are wrong'; low, high: in [0, 1]."""
    return f"{between(low, high)} of {num_population:,} given labels are wrong"


def basis(quoted: float | None, num_reviews: int, num_early: int) -> str:
    """What the headline is and rests on. quoted: the share; None as long as it wants num_early more reviews."""
    single = f"too early for a single figure: {num_early:,} more" if quoted is None else \
        f"the best single figure is {percent(quoted)}"
    return f"95% interval from {counted(num_reviews, 'review')} of samples drawn at random; {single}."


def points(half_width: float) -> str:
    """'\u00b11.5 points'."""
    return f"\u00b1{100 * half_width:g} points"


def to_go(half_width: float, found: Progress) -> str:
    """Whether one may stop, and if not, when that is judged; half_width: the one asked for."""
    if found.is_reached:
        return (f"The precision asked for, {points(half_width)}, is reached, judged at {found.planned:,} reviews as "
                "planned: you can stop.")
    if found.planned is None:
        return (f"{points(half_width)} cannot be reached: everything is reviewed, save what could not be told or is in "
                "dispute.")
    more = counted(found.planned - found.num_answered, "more review")
    return f"{more} until it is judged whether {points(half_width)} is reached."


UNTIL_THEN = ("Until then the interval is one look of many: stopping where it happens to be narrow misses the truth "
              "more often than one time in twenty.")


def annotator_words(found: AnnotatorsPart) -> str:
    """What came with the data: how many answers of how many people, and how far they agree."""
    people = f" of {counted(found['num_people'], 'person', 'people')}" if found["num_people"] else ""
    answers, samples = counted(found["num_answers"], "answer"), counted(found["num_samples"], "sample")
    came = f"{answers}{people} on {samples} came with the data"
    if found["agreement"] is None:
        return f"{came}, no two on the same sample."
    alpha = "all alike" if found["alpha"] is None else \
        f"Krippendorff's alpha {found['alpha']:z.2f} (1: perfect, 0: chance)"
    return f"{came}; two on the same sample agree {percent(found['agreement'])} of the time: {alpha}."


def plan_words(half_width: float, first: int, about: int) -> str:
    """What is promised before the first answer, in Markdown. first: reviews at the first look; about: what the model
    expects of all."""
    guess = f"Takes **about {about:,} reviews** by the model's guess, at least {first:,}." if about > first else \
        f"Takes **{first:,} reviews** or more."
    return (f"{guess} After {first:,} the interval is judged for the first time. Where it is wider than "
            f"{points(half_width)} there, these reviews say when it is judged next. In between, a narrow interval is "
            "no reason to stop.")
