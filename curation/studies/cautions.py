"""What was not controlled in a study, in sentences: for its report and for the Study page. Finds nothing out itself."""

from engine.contract.studies.study_summary import NotControlled

TUNED = {True: "Settings were chosen on this project, so its test figures flatter the arm they were chosen for.",
         False: "Settings were not chosen on this project.",
         None: "Nobody said whether settings were chosen on this project."}


def cautions(found: NotControlled) -> list[str]:
    """One sentence a line, in plain text."""
    seeds, num_missing = found.num_seeds, found.num_planned - found.num_done
    lines = [
        "Learning rates and all other settings are the same for every arm or as its own settings say; none was tuned "
        "for each arm in turn.",
        TUNED[found.is_tuned_here],
        f"{seeds} seed{'s' * (seeds != 1)}: a seed draws the initial network, data order, augmentation and random "
        "splits together; intervals are over seeds, on one training set and one test set.",
        f"Networks: {', '.join(found.networks)}. Others may order the arms otherwise.",
        f"{found.num_arms} arms are compared on several figures; intervals are not corrected for that number.",
        "Equal numbers of classifier steps are not equal time: see relative seconds, which hold for this machine "
        f"({found.hardware}) and for the runs that shared it."]
    if found.epochs_factors:
        factors = ", ".join(f"{arm} {factor:g}" for arm, factor in found.epochs_factors.items())
        lines.append(f"Arms with another number of epochs (factor): {factors}.")
    if num_missing:
        lines.append(f"{num_missing} of {found.num_planned} planned runs failed or have not ended; pairs without both "
                     "runs are left out.")
    for kinds, what in ((found.code_revisions, "code revisions"), (found.devices, "devices")):
        if len(kinds) > 1:
            lines.append(f"The runs were trained at several {what}: {', '.join(kinds)}.")
    if found.has_uncommitted_code:
        lines.append("Some runs were trained by code with changes that no revision holds.")
    if found.is_clean_split_used:
        lines.append("An arm learned from the clean split: its clean accuracy is no untouched figure.")
    return lines
