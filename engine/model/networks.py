"""Classifiers, reweighter and splitter. Builds networks; does not train them.

timm and torchvision are imported where a network of theirs is built: together they take as long to start as torch does.
Shape suffixes: B batch, C classes, D features, K reweighter inputs.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from engine.contract.config import NETWORKS
from engine.contract.method_config import SplitterConfig
from engine.contract.settings import ConfigError
from engine.data.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD
from engine.data.backbones.weights_file import load_weights

SMALL_IMAGE_SIZE = 32
SMALL_WIDTHS = {"tiny": 12, "small": 24}
"""Channels of the first convolution by network name."""
CIFAR_STEM_SIZE = 64
"""Up to this size an untrained ResNet gets a 3x3 stride-1 stem: ImageNet's would shrink 32 pixels to 8 at once."""


class Classifier(nn.Module):
    """A backbone that gives features and a linear head that gives logits; the split is what last_layer relies on."""

    def __init__(self, backbone: nn.Module, num_features: int, num_classes: int,
                 mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD) -> None:
        """mean, std: of the channels on a scale of 0 to 1, taken out of the images before they come here."""
        super().__init__()
        self.mean, self.std = mean, std
        self.backbone = backbone
        self.head = nn.Linear(num_features, num_classes)
        self.is_mixed = False
        """Whether the backbone computes in bfloat16 where autocast finds that safe. Head and losses never do."""
        self.is_frozen = False
        """Whether the head trains alone: the backbone passes no gradient on and normalises as in evaluation."""

    def train(self, mode: bool = True) -> "Classifier":
        """As any module's; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.is_frozen:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, 3, H, W) float -> logits (B, C), features (B, D), in the images' dtype."""
        if self.is_frozen:
            with torch.no_grad():
                features_BD = self._features(images)
            features_BD = features_BD.detach()  # forward-mode derivatives pass through no_grad
        else:
            features_BD = self._features(images)
        return self.head(features_BD), features_BD

    def _features(self, images: Tensor) -> Tensor:
        if not self.is_mixed:
            features_BD: Tensor = self.backbone(images)
            return features_BD
        with torch.autocast(images.device.type, torch.bfloat16):
            features_BD = self.backbone(images)
        return features_BD.to(images.dtype)


class SmallBackbone(nn.Module):
    """Six 3x3 convolutions with batch normalisation for images of 32 pixels and less; D = 4 x width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = [3, width, width, 2 * width, 2 * width, 4 * width, 4 * width]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in
                                   zip(channels, channels[1:], strict=False))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in channels[1:])
        self.num_features = channels[-1]

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for layer, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            is_folding = not self.training and not torch.is_grad_enabled()  # the fold passes no gradient on
            # In place: normalisation's backward needs its input, not its output.
            x = F.relu(_folded(conv, norm, x) if is_folding else norm(conv(x)), inplace=True)
            if layer in (1, 3) and x.shape[-1] >= 4:
                x = F.max_pool2d(x, 2)
        return x.mean((2, 3))


def _folded(conv: Any, norm: Any, x: Tensor) -> Tensor:
    """norm(conv(x)) in evaluation mode as one convolution: a quarter less time."""
    weight, bias = fuse_conv_bn_weights(
        conv.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    return F.conv2d(x, weight, bias, padding=1)


class MlpBackbone(nn.Module):
    """One hidden layer with batch normalisation, over features: (B, K) -> (B, D)."""

    def __init__(self, num_inputs: int, num_features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(num_inputs, num_features, bias=False)
        self.norm = nn.BatchNorm1d(num_features)
        self.num_features = num_features

    def forward(self, inputs_BK: Tensor) -> Tensor:
        return F.relu(self.norm(self.layer(inputs_BK)))


def make_head(head: str, num_inputs: int, hidden: int, num_classes: int) -> Classifier:
    """A classifier of features (B, num_inputs): "linear", whose features are its inputs, or "mlp"."""
    if head == "linear":
        return Classifier(nn.Identity(), num_inputs, num_classes)
    return Classifier(MlpBackbone(num_inputs, hidden), hidden, num_classes)


def make_classifier(network: str, num_classes: int, image_size: int, weights: str | None = None) -> Classifier:
    """Build a classifier by name ("auto" picks by image size), with pretrained `weights` if given.

    network: one of NETWORKS that takes images, or a pretrained backbone (engine.data.backbones). weights: a torchvision
    weights name such as "DEFAULT" (downloads them), or a .safetensors file of the network, whose head is left behind,
    or of a Classifier of ours. Raises ConfigError or BackboneError for a name or file that does not fit.
    """
    if network not in NETWORKS:
        from engine.data.backbones.opening import open_backbone

        found = open_backbone(network, weights, image_size)
        if found.module is None:
            raise ConfigError(f"an .onnx file cannot be trained; got network={network}; make features of it, or choose "
                              "another network")
        return Classifier(found.module.train(), found.num_features, num_classes, found.mean, found.std)
    if network == "auto":
        network = "small" if image_size <= SMALL_IMAGE_SIZE else "resnet18"
    if network in SMALL_WIDTHS:
        if weights is not None:
            raise ConfigError(f"network {network} has no pretrained weights; got {weights!r}; choose resnet18 or none")
        backbone = SmallBackbone(SMALL_WIDTHS[network])
        return Classifier(backbone, backbone.num_features, num_classes)
    import torchvision

    is_file = weights is not None and weights.endswith(".safetensors")
    options = {"image_size": image_size} if network.startswith("vit") else {}
    try:
        body = torchvision.models.get_model(network, weights=None if is_file else weights, **options)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{network} cannot be built from weights {weights!r} at {image_size} pixels; {error}; choose "
                          "another size or weights") from error
    if network.startswith("vit"):
        num_features, body.heads = body.hidden_dim, nn.Identity()
    else:
        num_features, body.fc = body.fc.in_features, nn.Identity()
        if weights is None and image_size <= CIFAR_STEM_SIZE:
            body.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            body.maxpool = nn.Identity()
    model = Classifier(body, num_features, num_classes)
    if is_file:
        load_weights(model.backbone, Path(str(weights)))
    return model


class Reweighter(nn.Module):
    """A raw sample weight in [low, high] from a sample's inputs; starts constant, so training starts as ERM."""

    def __init__(self, num_inputs: int, hidden: int, low: float, high: float) -> None:
        super().__init__()
        last = nn.Linear(hidden, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.body = nn.Sequential(nn.Linear(num_inputs, hidden), nn.ReLU(), last)
        self.low, self.high = low, high

    def forward(self, inputs_BK: Tensor) -> Tensor:
        """Weights (B,) of mean 1. The gradient goes through the normalisation: without that every weight saturates
        together and learned weights silently become uniform ones."""
        raw_B = self.low + (self.high - self.low) * torch.sigmoid(self.body(inputs_BK).squeeze(-1))
        return raw_B / raw_B.mean()


def standardize(features_BD: Tensor) -> Tensor:
    """Each sample's features scaled to mean 0, variance 1 over D, so heads do not chase the backbone's scale."""
    return F.layer_norm(features_BD, features_BD.shape[-1:])


def one_hot(labels_B: Tensor, num_classes: int, like: Tensor) -> Tensor:
    """(B, C) in the dtype of `like`. torch's own looks at the labels first, which takes longer than the rest."""
    return like.new_zeros(len(labels_B), num_classes).scatter_(1, labels_B[:, None], 1.0)


class Splitter(nn.Module):
    """p(train | x, y) from a sample's features, its predicted probabilities and its label."""

    def __init__(self, config: SplitterConfig, num_features: int, num_classes: int, val_fraction: float) -> None:
        super().__init__()
        self.num_classes = num_classes
        last = nn.Linear(config.hidden, 1)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, float(torch.logit(torch.tensor(1.0 - val_fraction))))
        self.body = nn.Sequential(nn.Linear(num_features + 2 * num_classes + 1, config.hidden), nn.ReLU(), last)

    def forward(self, features_BD: Tensor, probs_BC: Tensor, labels_B: Tensor) -> Tensor:
        """Logits (B,) of p(train). The label's own margin says how x and y disagree; from probabilities and one-hot
        alone the head would spend its few steps on learning to look that up."""
        onehot_BC = one_hot(labels_B, self.num_classes, features_BD)
        own_B1 = (probs_BC * onehot_BC).sum(1, keepdim=True)
        margin_B1 = own_B1 - (probs_BC - onehot_BC).amax(1, keepdim=True)
        logits_B1: Tensor = self.body(torch.cat([standardize(features_BD), onehot_BC, probs_BC, margin_B1], dim=1))
        return logits_B1.squeeze(-1)
