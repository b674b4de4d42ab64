"""FID, KID, IS and Inception against torch-fidelity, on the same features and the same random weights."""

from __future__ import annotations

import importlib.machinery
import sys
import types

import pytest
import torch

from limner.evaluate.bootstrap import Bootstrap
from limner.evaluate.extractors.inception import SIDE, Inception, Network
from limner.evaluate.extractors.resize import CLEAN, TENSORFLOW, levels
from limner.evaluate.features import ExtractorId, Features
from limner.evaluate.metrics import frechet_distance, inception_score, kernel_inception_distance, manifold
from limner.store.weights import dump

FEW = Bootstrap(resamples=2)
ID = ExtractorId("given")


@pytest.fixture(scope="module", autouse=True)
def without_torchvision():
    """torch-fidelity imports torchvision for data sets and other extractors; none of that is used here."""
    stubs = {}
    for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
        stubs[name] = types.ModuleType(name)
        stubs[name].__spec__ = importlib.machinery.ModuleSpec(name, None)
    stubs["torchvision"].transforms = stubs["torchvision.transforms"]
    stubs["torchvision"].datasets = stubs["torchvision.datasets"]
    stubs["torchvision.transforms"].functional = stubs["torchvision.transforms.functional"]
    for name in ("CIFAR10", "CIFAR100", "STL10"):
        setattr(stubs["torchvision.datasets"], name, type(name, (), {}))
    with pytest.MonkeyPatch.context() as patch:
        for name, stub in stubs.items():
            patch.setitem(sys.modules, name, stub)
        pytest.importorskip("torch_fidelity")
        yield


def features(rows, width, seed, *, shift=0.0, dtype=torch.float64):
    """Skewed and correlated, above nought, as Inception's are."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=torch.Generator().manual_seed(99), dtype=dtype) / width**0.5
    return Features.of(torch.relu(torch.randn(rows, width, generator=generator, dtype=dtype) @ mix + 0.3 + shift), ID)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_fid(dtype, bound):
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    one, two = features(900, 128, 1, dtype=dtype), features(700, 128, 2, shift=0.1, dtype=dtype)
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(one.values), fid_features_to_statistics(two.values), verbose=False
    )[KEY_METRIC_FID]
    assert frechet_distance(one, two, bootstrap=FEW).value == pytest.approx(theirs, rel=bound)


def test_fid_of_fewer_pictures_than_dimensions():
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    one, two = features(60, 128, 1), features(50, 128, 2, shift=0.1)
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(one.values), fid_features_to_statistics(two.values), verbose=False
    )[KEY_METRIC_FID]
    assert frechet_distance(one, two, bootstrap=FEW).value == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_kid(dtype, bound):
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    one, two = features(300, 64, 1, dtype=dtype), features(260, 64, 2, shift=0.1, dtype=dtype)
    theirs = kid_features_to_metric(
        one.values, two.values, kid_subsets=20, kid_subset_size=200, rng_seed=2020, verbose=False, kid_kernel="poly",
        kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1,
    )[KEY_METRIC_KID_MEAN]  # fmt: skip
    ours = kernel_inception_distance(one, two, subsets=20, subset_size=200, bootstrap=FEW).value
    assert ours == pytest.approx(theirs, rel=bound)


def test_inception_score():
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    logits = features(333, 40, 1)
    theirs = isc_features_to_metric(logits.values * 5)[KEY_METRIC_ISC_MEAN]
    scaled = Features.of(logits.values * 5, ID)
    assert inception_score(scaled, bootstrap=FEW).value == pytest.approx(theirs, rel=1e-12)


def test_precision_and_recall():
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    drawn, real = features(300, 16, 1), features(280, 16, 2, shift=0.2)
    theirs = calculate_precision_recall_full(drawn.values, real.values, neighborhood=3)
    ours = manifold(drawn, real, k=3, bootstrap=FEW)
    assert (ours.precision.value, ours.recall.value) == pytest.approx(theirs, rel=1e-6)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Our Inception and theirs, with one file of random weights: He's, and batch norms that are not the identity."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    folder = tmp_path_factory.mktemp("inception")
    torch.manual_seed(0)
    state = Network().state_dict()
    for name, tensor in state.items():
        if name.endswith("conv.weight"):
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
        elif name.endswith(("running_var", "bn.weight")):
            tensor.uniform_(0.8, 1.2)
        elif name.endswith(("running_mean", "bn.bias")):
            tensor.normal_(std=0.1)
    (folder / "inception.safetensors").write_bytes(dump(state))
    torch.save(state, folder / "inception.pth")
    theirs = FeatureExtractorInceptionV3(
        "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(folder / "inception.pth")
    )
    return Inception.load(folder / "inception.safetensors"), theirs


@pytest.mark.parametrize("size", [(96, 128), (310, 256)])
def test_inception(both, size):
    ours, theirs = both
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(3)) * 2 - 1
    with torch.inference_mode():
        features, logits = theirs(levels(images).to(torch.uint8))
    found = ours(images)
    assert relative(found, features) < 1e-5
    assert relative(ours.logits(Features.of(found, ours.id)).values, logits) < 1e-5


def test_the_resize_of_tensorflow():
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    pictures = torch.randint(0, 256, (1, 3, 70, 400), generator=torch.Generator().manual_seed(1)).float()
    theirs = interpolate_bilinear_2d_like_tensorflow1x(pictures, size=(SIDE, SIDE), align_corners=False)
    assert torch.equal(TENSORFLOW(pictures, SIDE), theirs)
    assert (CLEAN(pictures, SIDE) - theirs).abs().max() > 10


def relative(one, other):
    return float((one - other).abs().max() / other.abs().max())
