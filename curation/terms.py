"""What the terms of the field mean here, once: for the "?" of the pages, for the reports and for the command line.

A definition stands here and nowhere else; what is said beside it is about one figure.
"""

TERMS: dict[str, str] = {
    "coverage": "The share of validation samples that still have a near neighbour of their class in training. Where it "
                "is low, training lacks what it is validated on.",
    "effective sample size": "How many samples of equal weight would say as much as the weighted ones do (Kish), as a "
                             "share of the samples in training. At 1 all weights are alike; near 0 a few samples carry "
                             "the training.",
    "freedom": "How far the learned weights act, from 0 (all equal) to 1. It rises only as far as samples at rest, "
               "drawn at random and out of training, do better under the weights.",
    "guard": "Keeps a sample out of validation where held-out predictions leave doubt about its label: under label "
             "noise the hardest samples are mostly mislabeled.",
    "hard": "The model is wrong or unsure about the sample without having trained on it. A hard sample with the right "
            "label teaches most; one with a wrong label misleads.",
    "held out": "Predicted by a model that did not train on the sample. Only such predictions say anything about its "
                "label: what a model trained on, it may have memorised.",
    "label quality": "The probability that held-out predictions give to the label, on average: 1 good, 0 bad.",
    "margin": "The predicted probability of the sample's label minus that of the likeliest other class, from \u22121 "
              "to 1. Below 0 the model prefers the other class.",
    "P(wrong)": "How probable it is that the label is wrong, by held-out predictions and neighbours, and by all that "
                "people have judged so far.",
    "routed": "Moved by the run from training to validation: by its splitter, by a ranking or at random.",
    "splitter": "Learns which samples of each class are hard, and routes them. p_train is its probability of training.",
    "validation": "Samples that the classifier does not train on, so that weights can be learned by how well it does "
                  "on them: routed there by the run, or pinned there by people.",
    "weight": "How much a sample counts in training: 1 is the average, 0.5 half as much. It is learned, so that "
              "training does better on validation.",
}
"""By term, in alphabetical order."""


def define(*terms: str, after: str = "") -> str:
    """Help of a heading, in Markdown: what is said of this one figure, then each term with its definition."""
    return "\n\n".join(filter(None, [after, *(f"**{term[0].upper()}{term[1:]}:** {TERMS[term]}" for term in terms)]))
