"""What an audit begins with, for command line and app alike: the plan of its estimate."""

import time

from curation.audit.estimate.sampling_plan import Plan, PlanDigests, make_plan
from curation.audit.suspects.scores import Scores
from curation.project import Project
from engine.contract.manifest import MANIFEST_NAME, file_digest


def plan_of(project: Project, scores: Scores, audit: str, seed: int) -> Plan:
    """A plan by these scores, stamped with what it stands on.

    Its population are the samples with a given label that are not excluded, and those that an audit itself left out
    because no class fits: without these wrong labels the rate would look better than it is.
    """
    judged = project.verdicts().in_force()
    neither = scores.samples.has_ids(judged.loc[judged["verdict"] == "neither", "sample_id"])
    run = project.run(scores.runs[0])
    digests = PlanDigests(manifest=file_digest(project.path / MANIFEST_NAME),
                          model=file_digest(run.path / "config.json"))
    return make_plan(audit=audit, run=run.name, sample_id=scores.samples["sample_id"].cells,
                     given=scores.given, p_wrong=scores.p_wrong,
                     is_active=scores.is_active | (neither & (scores.given >= 0)), classes=scores.classes, seed=seed,
                     created=time.time(), digests=digests)
