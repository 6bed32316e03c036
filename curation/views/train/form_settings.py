"""What the form of a new run knows of single settings: their labels, and where they matter. Draws nothing."""

from engine.contract.methods import FIXED_WEIGHTS, HELDOUT_SOURCES

LABELS = {
    "val_fraction": "Validation share", "guard": "Noise guard", "guard_largest": "Guard limit",
    "lr": "Learning rate", "augment": "Augmentation",
    "validation": "Validation source", "num_threads": "CPU threads", "warmup_fraction": "Warm-up share",
    "weights": "Pretrained weights", "every": "Update every", "val_batch_size": "Validation batch",
    "is_soft": "Soft assignment", "select_best": "Early stopping", "num_neighbors": "Neighbors",
    "rho_fraction": "RHO-loss share", "finish_fraction": "Finish share", "checkpoint_seconds": "Checkpoints",
    "embedding": "Map of samples", "hypergradient": "Effect of a weight", "inputs": "Seen of a sample",
    "val_loss": "Validation loss", "min_weight": "Smallest weight", "max_weight": "Largest weight",
    "heavy_weight": "Pulled back above", "hidden": "Hidden units", "gap_strength": "Hardness strength",
    "class_balance": "Class balance", "is_compiled": "Compile", "ratio_strength": "Share strength",
    "coverage": "Coverage limit", "hysteresis": "Stickiness", "num_components": "Components", "folds_by": "Folds by",
    "features": "Starts from features",
    "weights_by": "Weights by", "mixup": "Mixup", "elr_strength": "ELR strength", "elr_memory": "ELR memory",
    "fbr_rate": "FBR rate", "fbr_others": "FBR other classes", "first_share": "First training",
    "error_weight": "Weight of errors", "worst_share": "Worst share", "excluded_share": "Excluded share",
}
OPTIONS = {"generalized_cross_entropy": "generalized", "balanced_generalized_cross_entropy": "balanced"}
"""Options too long for their widget, in the words of their setting's help."""
NEEDS = {
    "val_fraction": ("random", "easy", "hard", "learned"), "guard": ("hard", "learned"),
    "guard_largest": ("hard", "learned"),
    "folds": ("easy", "hard", "rho", "kfold", "oof_exclude"), "rotation_groups": ("learned",),
    "warmup_fraction": ("learned", "proxy"), "select_best": HELDOUT_SOURCES, "rho_fraction": ("rho",),
    "class_balance": ("features", "loss", "similarity", "worst", *FIXED_WEIGHTS), "mixup": FIXED_WEIGHTS,
    "weights_by": ("uniform",), "proxy_fraction": ("proxy",), "proxy_value": ("proxy",), "elr_strength": ("elr",),
    "elr_memory": ("elr",), "fbr_rate": ("fbr",), "fbr_others": ("fbr",), "first_share": ("jtt",),
    "error_weight": ("jtt",), "worst_share": ("cvar_dro",), "excluded_share": ("oof_exclude",),
}
"""Where a setting does something only for some methods, sources of validation samples or of weights: hidden for the
others."""
FITTED_AT_ONCE = ("seed", "device", "num_components", "embedding", "num_threads", "folds_by")
"""Settings of a method that fits its head in closed form."""
ON_IMAGES = ("weights", "image_size", "augment", "precision", "is_compiled")
"""Settings that make no sense on features."""
ON_FEATURES = ("num_components", "hidden")
"""Settings that make none, or matter little, on images."""
