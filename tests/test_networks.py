"""Classifiers: evaluation in fewer operations gives what the layers one by one give."""

import torch
from torch.nn import functional as F

from engine.networks import SmallBackbone


def test_evaluation_folds_normalisation_into_convolutions_and_changes_nothing():
    torch.manual_seed(0)
    backbone = SmallBackbone(width=4)
    for norm in backbone.norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    backbone.double().eval()
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    x = images
    for layer, (conv, norm) in enumerate(zip(backbone.convs, backbone.norms, strict=True)):
        x = F.relu(norm(conv(x)))
        x = F.max_pool2d(x, 2) if layer in (1, 3) else x
    torch.testing.assert_close(backbone(images), x.mean((2, 3)))
