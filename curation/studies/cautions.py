"""What was not controlled in a study, in sentences: for its report and for the Study page. Finds nothing out itself."""

from curation.words import counted
from engine.contract.studies.study_summary import NotControlled

TUNED = {True: "Settings were chosen on this project, so its test figures flatter the arm they were chosen for.",
         False: "Settings were not chosen on this project.",
         None: "It is not known whether settings were chosen on this project."}


def cautions(found: NotControlled) -> list[str]:
    """One sentence a line, in plain text."""
    seeds, num_missing = found.num_seeds, found.num_planned - found.num_done
    lines = [
        "Learning rates and all other settings are the same for every arm, save what an arm sets itself. None was "
        "tuned for each arm.",
        TUNED[found.is_tuned_here],
        f"{counted(seeds, 'seed')}: a seed draws the initial network, data order, augmentation and random splits "
        "together. Intervals are over seeds, on one training set and one test set.",
        f"Networks: {', '.join(found.networks)}. With others the arms may come in another order.",
        f"{counted(found.num_arms, 'arm')} and several figures: intervals are not corrected for their number.",
        f"Equal numbers of steps do not take equal time. Times hold for this machine ({found.hardware}) and for what "
        "ran beside."]
    if found.started_from:
        started = ", ".join(f"{arm} ({features})" for arm, features in found.started_from.items())
        lines.append(f"These arms on images start from features, which say which labels are probably wrong: {started}. "
                     "Other arms on images do not.")
    if found.epochs_factors:
        factors = ", ".join(f"{arm} {factor:g}" for arm, factor in found.epochs_factors.items())
        lines.append(f"Arms with another number of epochs (factor): {factors}.")
    if num_missing:
        lines.append(f"{num_missing} of {counted(found.num_planned, 'planned run')} failed or have not ended. Pairs "
                     "that lack a run are left out.")
    for kinds, what in ((found.code_revisions, "code revisions"), (found.devices, "devices")):
        if len(kinds) > 1:
            lines.append(f"The runs were trained with several {what}: {', '.join(kinds)}.")
    if found.has_uncommitted_code:
        lines.append("Some runs were trained by code with uncommitted changes.")
    if found.is_clean_split_used:
        lines.append("An arm learned from the clean split, so its accuracy there is no fair figure.")
    return lines
