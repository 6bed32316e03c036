"""Between which shares the wrong labels may lie, as far as held-out predictions tell: where a guess begins.

A prediction that disagrees with a label is wrong itself, or the label is; predictions alone cannot say which. So the
share of all labels that predictions contradict is about the most that are wrong. Where predictions are surest they err
least, and what they contradict there is about the least: labels that are wrong at random are wrong there as often as
anywhere, and people's mistakes, which are rarer on what is easy, more often elsewhere. Confident learning's joint, the
guess before, lies between the two only where predictions are good: it took most of what a weak one contradicts for
wrong labels. N samples, C classes.
"""

from dataclasses import dataclass

import numpy as np

SUREST_SHARE = 0.25
"""Of the samples, by the highest probability of any class: where predictions are surest."""
FIRST_SHARE, FIRST_SD = 0.1, 2.0
"""Share of wrong labels guessed where no predictions say anything, and how far off its log-odds may be."""
MIN_SD = 0.5
"""No guess is surer than this of its log-odds."""


@dataclass(frozen=True, slots=True)
class Level:
    """A guess of the share of wrong labels, in log-odds: mean and standard deviation."""

    odds: float
    sd: float


def level_of(given: np.ndarray, probs: np.ndarray) -> Level:
    """The guess of the share of wrong labels: in the middle between least and most, each a standard deviation away.

    given: (N,) codes; probs: (N, C) held out; rows with NaN and samples without a given label are left out.
    """
    is_in = (given >= 0) & np.isfinite(probs).all(axis=1)
    given, probs = given[is_in], probs[is_in]
    if not len(given):
        return Level(float(_log_odds(FIRST_SHARE)), FIRST_SD)
    contradicts = probs.argmax(axis=1) != given
    surest = np.argsort(-probs.max(axis=1), kind="stable")[:max(1, round(SUREST_SHARE * len(given)))]
    most = _log_odds((contradicts.sum() + 0.5) / (len(given) + 1))
    least = min(_log_odds((contradicts[surest].sum() + 0.5) / (len(surest) + 1)), most)
    return Level(float(least + most) / 2, max(MIN_SD, float(most - least) / 2))


def _log_odds(share: float) -> float:
    return float(np.log(share / (1 - share)))
