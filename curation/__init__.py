'''What people do with a trained run: import, decide, compare, export. pandas and a database; knows no torch.

From Python, in three lines each (a test runs them):

    from pathlib import Path
    import numpy as np
    from curation.project import Project
    project = Project.open("projects/demo")

    # every training sample with its signals and decisions, as a pandas frame
    from curation.samples.table import sample_table
    frame = sample_table(project, project.run("first"))
    hard = frame[frame["in_validation"]]

    # decisions, each with its author and reason; project.ledger().undo("ada") takes the last one back
    ids = list(hard["sample_id"][:2])
    project.ledger().pin(ids, "validation", who="ada", why="hard but right")
    project.ledger().relabel(ids[:1], project.classes[0], who="ada", why="seen twice")

    # an audit of the labels on probabilities of one's own, out of fold: (N, C), a row a training sample
    from curation.audit.issues import find_label_issues
    from curation.evidence.predictions import import_predictions
    import_predictions(project, Path("probabilities.npy"), "mine")
    issues = find_label_issues(project, "mine")    # worst first: is_label_issue, p_wrong, label_quality
                                                   # beside it: get_label_quality_scores, health_summary

    # a role of a run for training on elsewhere: picture, index of its class, weight (this one needs torch)
    from engine.data.roles import RoleDataset, weighted_loss
    train = RoleDataset("projects/demo", "first", "train", transform=np.asarray)
    picture, label, weight = train[0]              # loss = weighted_loss(model(pictures), labels, weights)
'''
