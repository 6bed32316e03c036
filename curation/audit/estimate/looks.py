"""When an estimate is judged: at numbers of answers that are fixed ahead, and nowhere between.

An interval that is looked at after every batch until it is narrow enough ends too often where errors happened to be
few: 95% of such intervals hold the truth in 85% of audits (benchmarks/stopping.py). So the first look comes after a
number that the precision alone says (curation.audit.estimate.goal.first_look). If the interval is as narrow there as
was asked, that is the end; if not, the answers so far say how many more it takes, and there is the next look. What is
answered between two looks moves neither. The looks are a function of plan, goal and the answers in their order: they
are the same for all who ask, and after a break. An unsure answer only says that one sample less can be reviewed.
"""

from dataclasses import dataclass

import pandas as pd

from curation.audit.estimate.allocation import known
from curation.audit.estimate.goal import MIN_LOOK, Goal
from curation.audit.estimate.noise_rate import further_reviews
from curation.audit.estimate.sampling_plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far an audit is."""

    num_answered: int
    planned: int | None
    """Answers at which the interval is judged next; or was, where it was narrow enough. None: what is unsure leaves too
    few for another look."""
    is_reached: bool
    """The interval was as narrow as was asked at a look: one may stop."""

    @property
    def further(self) -> int | None:
        """Answers to the next look; 0: reached; None: there is none."""
        return 0 if self.is_reached else None if self.planned is None else self.planned - self.num_answered


def progress(plan: Plan, verdicts: pd.DataFrame, goal: Goal) -> Progress:
    """verdicts: as curation.audit.estimate.noise_rate.estimate takes them, in the order of their first answers.

    As long as an estimate for each look, of which there are one to five.
    """
    rows, wrong, unsure = known(plan, verdicts)
    most, at = plan.num_population - len(unsure), goal.first_look
    while (at := min(at, most)) <= len(rows):
        more = further_reviews(plan, rows[:at], wrong[:at], unsure, goal.half_width) if at else None
        if more == 0:
            return Progress(num_answered=len(rows), planned=at, is_reached=True)
        if at == most:
            return Progress(num_answered=len(rows), planned=None, is_reached=False)
        at += more or MIN_LOOK  # where a stratum lacks its first answers, there is no telling how many
    return Progress(num_answered=len(rows), planned=at, is_reached=False)
