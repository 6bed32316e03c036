"""How far the difference of two runs on the Compare page can be believed, in sentences. Strings out, with names of the
data in them: escape them where they are shown."""

from curation.experiments import compare
from curation.experiments.repeats import experiment_key, same_but_seed
from curation.jobs.request import method_of
from curation.project import Project
from curation.views.widgets.accuracy import NOTHING_HELD_OUT, facts_of
from curation.words import signed
from engine.contract.run_dir import ENDED, RunDir


def evidence(project: Project, a: RunDir, b: RunDir) -> list[str]:
    """How much the difference can be believed: the interval over seeds where there is one, and every caution."""
    runs = project.runs()
    sides = [same_but_seed(run, runs) for run in (a, b)]
    lines = []
    if method_of(a).is_trained and experiment_key(a) is not None and experiment_key(a) == experiment_key(b):
        return ["These two runs differ by their seed alone: what lies between them is chance.", *compare.cautions(a, b)]
    for split in ("test", "clean"):
        paired = compare.paired_difference(sides[0], sides[1], split)
        if paired.num_pairs >= 2 and paired.mean is not None and paired.low is not None and paired.high is not None:
            verdict = "chance alone may explain it" if paired.low <= 0 <= paired.high else "more than chance explains"
            lines.append(f"Over {paired.num_pairs} pairs of runs with the same seed, {paired.figure} differs by "
                         f"{signed(paired.mean * 100)} points (95% interval {signed(paired.low * 100)} to "
                         f"{signed(paired.high * 100)}): {verdict}.")
    if not lines:
        lines.append(_lone_words(a, b))
    return lines + compare.cautions(a, b)


def _lone_words(a: RunDir, b: RunDir) -> str:
    """What one run a side is worth."""
    is_seeded = [method_of(run).is_trained for run in (a, b)]
    if not any(is_seeded):
        return ("Neither run was trained, and no seed changes their predictions: the difference is exact on these "
                "samples. On others it may be another.")
    which = "another seed alone can move either by a point or more" if all(is_seeded) else \
        f"another seed alone can move {(a if is_seeded[0] else b).name} by a point or more"
    return f"One run a side is no evidence: {which}. Three seeds or more of both give an interval."


def why_no_figure(project: Project, a: RunDir, b: RunDir) -> str:
    """Why two runs have no accuracy to compare, and what to do about it."""
    if not facts_of(project).can_measure:
        return NOTHING_HELD_OUT
    without = [run for run in (a, b) if run.read_predictions() is None]
    if ended := [run.name for run in without if run.read_status()["state"] in ENDED]:
        return f"No accuracy: {' and '.join(ended)} ended without predictions. Resume or train again on the Train page."
    if without:
        return f"No accuracy yet: {' and '.join(run.name for run in without)} must end first."
    return ("No accuracy: the runs have no test or clean sample in common that neither trained on and that no decision "
            "is about.")
