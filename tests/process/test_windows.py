"""Windows of Gaussian filters against what they must do in closed form."""

from __future__ import annotations

import math

import torch

from limner.process.windows import Window, filters


def numbers(g_x: float, g_y: float, *, delta: float, sigma: float, gain: float, cells: int, size: int) -> torch.Tensor:
    """The five numbers of a window whose centre, in pixels from 1, spacing, sigma and gain are these: (1, 5)."""
    centre = [2 * g / (size + 1) - 1 for g in (g_x, g_y)]
    return torch.tensor([[*centre, math.log(delta * (cells - 1) / (size - 1)), 2 * math.log(sigma), math.log(gain)]])


def test_each_filter_sums_to_one_and_is_centred_where_it_should_be() -> None:
    centre, delta = torch.tensor([12.5, 15.0]), torch.tensor([2.0, 3.5])
    bank = filters(centre, delta, torch.tensor([1.5, 0.8]), cells=5, pixels=30)
    assert bank.shape == (2, 5, 30)
    torch.testing.assert_close(bank.sum(dim=-1), torch.ones(2, 5), atol=1e-4, rtol=0.0)
    found = (bank * torch.arange(1.0, 31.0)).sum(dim=-1)
    wanted = centre[:, None] + torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]) * delta[:, None]
    torch.testing.assert_close(found, wanted, atol=2e-3, rtol=0.0)


def test_all_zeros_are_a_window_over_the_whole_picture() -> None:
    """Its first and last cell look at the first and the last pixel, in rows and columns alike."""
    window = Window.at(torch.zeros(1, 5), cells=8, height=57, width=57)
    assert window.rows.equal(window.columns)
    assert window.rows[0].argmax(dim=1).tolist() == [0, 8, 16, 24, 32, 40, 48, 56]
    assert window.gain.tolist() == [1.0]


def test_a_window_of_unit_scale_reads_a_patch_back() -> None:
    """Cells one pixel apart and hardly any blur, the centre between pixels as four cells have it: the pixels."""
    x = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    # Cells 1 to 4 stand at centre - 1.5 ... centre + 1.5: columns 7 to 10 and rows 12 to 15, counted from 1.
    asked = numbers(8.5, 13.5, delta=1.0, sigma=0.2, gain=2.0, cells=4, size=20)
    window = Window.at(asked, cells=4, height=20, width=20)
    torch.testing.assert_close(window.read(x), 2.0 * x[:, :, 11:15, 6:10], atol=1e-3, rtol=0.0)


def test_what_is_written_stands_where_it_would_be_read() -> None:
    """Writing divides by the gain that reading multiplies with, so that one undoes the other."""
    cells = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    asked = numbers(8.5, 13.5, delta=1.0, sigma=0.2, gain=3.0, cells=4, size=20).expand(2, -1)
    window = Window.at(asked, cells=4, height=20, width=20)
    written = window.write(cells)
    wanted = torch.zeros(2, 1, 20, 20)
    wanted[:, :, 11:15, 6:10] = cells / 3.0
    torch.testing.assert_close(written, wanted, atol=1e-3, rtol=0.0)
    torch.testing.assert_close(window.read(written), cells, atol=1e-3, rtol=0.0)


def test_reading_is_the_transpose_of_writing() -> None:
    """<read(x), y> = gain^2 <x, write(y)>, for any window and a picture that is not square."""
    generator = torch.Generator().manual_seed(1)
    window = Window.at(0.5 * torch.randn(3, 5, generator=generator), cells=5, height=12, width=17)
    x, y = torch.randn(3, 2, 12, 17, generator=generator), torch.randn(3, 2, 5, 5, generator=generator)
    read, written = (window.read(x) * y).sum((1, 2, 3)), (x * window.write(y)).sum((1, 2, 3))
    torch.testing.assert_close(read, window.gain**2 * written, atol=1e-5, rtol=1e-4)


def test_a_window_far_outside_sees_and_writes_nothing() -> None:
    window = Window.at(torch.tensor([[9.0, 0.0, -3.0, 0.0, 0.0]]), cells=4, height=16, width=16)
    assert window.read(torch.ones(1, 1, 16, 16)).abs().max() < 1e-6
    assert window.write(torch.ones(1, 1, 4, 4)).abs().max() < 1e-6
