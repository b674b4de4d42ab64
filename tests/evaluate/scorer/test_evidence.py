"""Gains against their definition."""

from __future__ import annotations

import torch

from limner.evaluate.scorer.evidence import Window, blurred, cut, nearby, of_picture, of_templates


def test_a_gain_is_what_the_squared_error_falls_by():
    torch.manual_seed(0)
    picture, ground = torch.rand(3, 8, 8), torch.rand(3, 8, 8)
    opacity = torch.rand(1, 8, 8)
    template, weight = torch.cat([torch.rand(3, 8, 8) * opacity, opacity]), torch.rand(8, 8)
    with_it = template[:3] + (1 - opacity) * ground
    fall = (weight * ((picture - ground).square() - (picture - with_it).square())).sum()
    gain = (of_picture(picture, ground, weight) * of_templates(template)).sum()
    torch.testing.assert_close(gain, fall)


def test_a_cut_sums_each_pixel_into_the_cells_that_cover_it():
    evidence = torch.rand(9, 16, 16)
    (whole,) = cut(evidence, [Window(4, 2, 8)], 4)
    expected = evidence[:, 2:10, 4:12].reshape(9, 4, 2, 4, 2).sum((2, 4))
    torch.testing.assert_close(whole, expected)
    (between,) = cut(evidence, [Window(0.5, 0, 2)], 1)
    weights = torch.tensor([[0.5, 1.0, 0.5]] * 2)
    torch.testing.assert_close(between[:, 0, 0], (evidence[:, :2, :3] * weights).sum((1, 2)))


def test_a_cut_has_nothing_from_beyond_the_picture():
    evidence = torch.ones(9, 16, 16)
    (edge,) = cut(evidence, [Window(-4, 12, 8)], 2)
    assert edge[0].tolist() == [[0.0, 16.0], [0.0, 0.0]]


def test_each_window_gets_its_own_cut():
    evidence = torch.rand(9, 32, 32)
    windows = nearby(Window(8, 10, 12), shifts=(-0.1, 0.0, 0.2), scales=(0.8, 1.0))
    together = cut(evidence, windows, 4)
    for window, one in zip(windows, together, strict=True):
        torch.testing.assert_close(cut(evidence, [window], 4)[0], one)


def test_a_blur_keeps_what_is_even_and_spreads_by_its_sigma():
    torch.testing.assert_close(blurred(torch.full((1, 9, 9), 0.3), 1.5), torch.full((1, 9, 9), 0.3))
    point = torch.zeros(1, 41, 41)
    point[0, 20, 20] = 1
    spread = blurred(point, 2.0)[0]
    place = torch.arange(41.0) - 20
    assert abs(float((spread.sum(0) * place.square()).sum()) - 4.0) < 0.15
    torch.testing.assert_close(spread.sum(), torch.tensor(1.0))
