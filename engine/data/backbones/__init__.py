"""Pretrained networks by name: from a package, timm, torchvision, a .safetensors or an .onnx file. Trains nothing."""
