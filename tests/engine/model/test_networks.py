"""Classifiers: evaluation in fewer operations gives what the layers one by one give."""

import pytest
import torch
from torch.nn import functional as F

from engine.model.networks import SmallBackbone, make_classifier


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
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), x.mean((2, 3)))
    backbone(images).sum().backward()
    assert all(p.grad is not None for p in backbone.parameters()), "nobody is cut off where a gradient is asked for"


def test_mixed_precision_computes_the_backbone_in_bfloat16_and_returns_what_came_in():
    torch.manual_seed(0)
    model = make_classifier("tiny", 3, 16).train()
    images, seen = torch.randn(8, 3, 16, 16), []
    full, _ = model(images)
    model.backbone.convs[1].register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    model.is_mixed = True
    logits, features = model(images)
    assert seen == [torch.bfloat16] and logits.dtype == features.dtype == torch.float32
    torch.testing.assert_close(logits, full, rtol=0.1, atol=0.05)
    assert not torch.equal(logits, full)


@pytest.mark.parametrize("is_mixed", [False, True])
@pytest.mark.parametrize("network", ["tiny", "resnet18"])
def test_the_training_forward_is_one_graph(network, is_mixed):
    model = make_classifier(network, 3, 16).train()
    model.is_mixed = is_mixed
    compiled = torch.compile(model, fullgraph=True, backend="eager")  # raises at a graph break
    images = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(compiled(images)[0], model(images)[0], rtol=1e-4, atol=1e-4)
