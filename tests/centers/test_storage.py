"""Tables of class centres: exact halves, and a rounding whose mean is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frcore.centers import storage
from frcore.centers.storage import (
    GOLDEN,
    PlainRows,
    RoundedRows,
    SplitRows,
    copy_in_tiles,
    initial_centers,
    join,
    random_bits,
    round_with,
    split,
    tiles,
)
from frcore.errors import UserError

EDGES = [0, 1, 2, 0x3FFF, 0x7FFE, 0x7FFF, 0x8000, 0x8001, 0xC000, 0xFFFE, 0xFFFF]
"""Low halves around a tie and at both ends."""


def floats(bits: torch.Tensor) -> torch.Tensor:
    """Float32 numbers of unsigned 32-bit patterns given as int64."""
    return torch.where(bits >= 2**31, bits - 2**32, bits).int().view(torch.float32)


@pytest.fixture(scope="module")
def numbers() -> torch.Tensor:
    """Every high half (all signs, exponents, denormals, NaN) with the edges; a million others."""
    high = torch.arange(2**16)[:, None] << 16
    edges = (high + torch.tensor(EDGES)).flatten()
    others = torch.randint(2**32, (10**6,), generator=torch.Generator().manual_seed(0))
    return floats(torch.cat([edges, others]))


def test_halves_give_back_every_finite_number_bit_for_bit(numbers):
    high, low = split(numbers)
    assert high.dtype == torch.bfloat16
    assert low.dtype == torch.int16
    again, finite = join(high, low), ~numbers.isnan()
    assert torch.equal(again.view(torch.int32)[finite], numbers.view(torch.int32)[finite])
    # NaN stays one in what the loss reads, too: a run that diverged must say so.
    assert again[~finite].isnan().all()
    assert high[~finite].isnan().all()


def test_the_high_half_is_the_nearest_bfloat16_ties_away_from_zero(numbers):
    largest = torch.finfo(torch.bfloat16).max
    x = numbers[numbers.abs() <= largest]
    below = floats(x.view(torch.int32).long() & 0xFFFF0000).double()  # towards zero
    above = floats((x.view(torch.int32).long() & 0xFFFF0000) + 0x10000).double()
    x = x.double()
    nearest = torch.where((x - below).abs() < (above - x).abs(), below, above)
    assert torch.equal(split(x.float())[0].double(), nearest)


def test_half_to_even_would_not_fit():
    """Why the usual rounding is not used: on a tie it leaves +32768, and an int16 ends at 32767."""
    tie = floats(torch.tensor([0x3F808000]))
    usual = tie.bfloat16().float()
    assert (tie.view(torch.int32) - usual.view(torch.int32)).item() == 2**15
    assert torch.equal(join(*split(tie)), tie)


@pytest.mark.fast_cases(10)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("low", EDGES)
def test_the_mean_over_all_noise_is_the_number_itself(low, sign):
    """Exactly: of 65536 equally likely roundings, as many go up as there are units below."""
    for high in (0x3F80, 0x0000, 0x0001, 0x3DCC, 0x7F00):  # 1, denormals, 0.1, huge
        x = sign * floats(torch.tensor([high << 16 | low]))
        rounded = round_with(x.expand(2**16), torch.arange(2**16, dtype=torch.int32)).double()
        assert rounded.unique().numel() == (1 if low == 0 else 2)
        assert rounded.mean().item() == x.double().item()


def test_rounding_keeps_what_bfloat16_has_and_what_is_no_number():
    x = floats(torch.arange(2**16) << 16)
    noise = torch.full_like(x, 0xFFFF, dtype=torch.int32)
    kept = round_with(x, noise)
    assert torch.equal(kept[~x.isnan()].float(), x[~x.isnan()])
    strange = floats(torch.tensor([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0x7FC00000]))
    assert round_with(strange, noise[:4]).isnan().all()  # 0x7FFFFFFF is a GPU's own NaN


def test_splitmix64_has_the_published_outputs():
    """Seed 1234567; Vigna's splitmix64.c, outputs as on rosettacode.org."""
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    state = [1234567 + k * GOLDEN for k in range(5)]
    assert [storage._mix(x % 2**64) for x in state] == published


@pytest.mark.parametrize("dim", [1, 4, 7])
def test_random_bits_are_words_of_one_stream(dim):
    """Against a slow generator that draws one word after the other."""
    key = storage._mix(storage._mix(11) + 3)
    words = -(-dim // 4)
    bits = random_bits(torch.tensor([5, 0, 2**40]), dim, seed=11, time=3)
    for row, number in enumerate([5, 0, 2**40]):
        for column in range(dim):
            word = storage._mix((key + (number * words + column // 4) * GOLDEN) % 2**64)
            assert bits[row, column].item() == (word >> 16 * (column % 4)) & 0xFFFF


def test_random_bits_are_uniform_and_unrelated():
    rows, dim = 4096, 64
    draws = [
        random_bits(torch.arange(rows), dim, seed=seed, time=time).numpy()
        for seed, time in ((0, 0), (0, 1), (1, 0))
    ]
    count = rows * dim
    for draw in draws:
        # χ² of 256 bins has 255 ± 22.6; each of the 16 bits is fair to 5 standard deviations.
        observed = np.bincount(draw.ravel() >> 8, minlength=256)
        assert 150 < ((observed - count / 256) ** 2 / (count / 256)).sum() < 370
        for bit in range(16):
            assert abs((draw >> bit & 1).mean() - 0.5) < 2.5 / count**0.5
    pairs = [
        (draws[0], draws[1]),
        (draws[0], draws[2]),
        (draws[0][1:], draws[0][:-1]),
        (draws[0][:, 1:], draws[0][:, :-1]),
    ]
    for one, other in pairs:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / count**0.5


def table(kind, rows=40, dim=6):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(rows, dim, generator=generator)
    if kind == "plain":
        return PlainRows(start)
    if kind == "split":
        return SplitRows(*split(start))
    return RoundedRows(start.bfloat16(), seed=5, time=2)


@pytest.mark.parametrize("kind", ["plain", "split", "rounded"])
def test_any_tiles_write_the_same(kind):
    """Slices of any size, and rows in any order."""
    new = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    results = []
    for pieces in (
        [slice(0, 40)],
        tiles(40, 7),
        tiles(40, 1),
        list(shuffled.split(9)),
    ):
        rows = table(kind)
        assert len(rows) == 40
        for index in pieces:
            tile = rows.read(index)
            rows.write(index, tile.copy_(new[index]))
        results.append(rows.read(slice(None)).clone())
    if kind != "rounded":
        assert torch.equal(results[0], new)
    for result in results[1:]:
        assert torch.equal(result, results[0])


def test_rounded_rows_have_no_drift():
    """Adding a hundredth of a unit 2000 times: nearest rounding would never move."""
    rows = RoundedRows(torch.ones(500, 8, dtype=torch.bfloat16), seed=0)
    step = 2.0**-7 / 100
    for _ in range(2000):
        tile = rows.read(slice(None))
        rows.write(slice(None), tile.add_(step))
        rows.time += 1
    grown = rows.read(slice(None)) - 1
    expected = 2000 * step
    spread = 2.0**-7 * (2000 * 0.01 * 0.99) ** 0.5
    assert abs(grown.mean().item() - expected) < 5 * spread / 4000**0.5
    assert grown.std().item() == pytest.approx(spread, rel=0.1)
    assert (torch.ones((), dtype=torch.bfloat16) + step) == 1


@pytest.mark.parametrize(
    ("rows", "dim", "tile"),
    [(10, 4, 16), (100, 4, 16), (37, 5, 16), (33, 7, 16), (200, 3, 32), (32, 4, 16), (17, 1, 16)],
)
def test_both_formats_start_at_the_same_centres(rows, dim, tile, monkeypatch):
    """Those that a plain torch.randn gives, drawn tile by tile or not."""
    monkeypatch.setattr(storage, "TILE", tile)
    plain, none = initial_centers(rows, dim, seed=3, std=0.01, center_format="fp32")
    halves = initial_centers(rows, dim, seed=3, std=0.01, center_format="split")
    expected = torch.randn(rows, dim, generator=torch.Generator().manual_seed(3)) * 0.01
    assert none is None
    assert torch.equal(plain, expected)
    assert torch.equal(join(*halves), expected)


def test_numbers_come_from_the_host_wherever_the_centres_are(monkeypatch):
    """Tile by tile: what is drawn is never larger than a tile, and never on the device."""
    monkeypatch.setattr(storage, "TILE", 16)
    drawn, randn = [], torch.randn
    monkeypatch.setattr(
        torch, "randn", lambda *s, **k: drawn.append((s, k["device"].type)) or randn(*s, **k)
    )
    center_CD, _ = initial_centers(100, 4, seed=3, std=0.01, center_format="fp32", device="cpu")
    assert torch.equal(center_CD, randn(100, 4, generator=torch.Generator().manual_seed(3)) * 0.01)
    assert {device for _, device in drawn} == {"cpu"}
    assert max(shape[0] for shape, _ in drawn) < 2 * 16


@pytest.mark.gpu
@pytest.mark.parametrize("center_format", ["fp32", "split"])
def test_a_gpu_begins_with_the_processors_centres(center_format):
    given = {"seed": 3, "std": 0.01, "center_format": center_format}
    here, there = (initial_centers(5000, 33, **given, device=d) for d in ("cpu", "cuda"))
    assert there[0].is_cuda
    for a, b in zip(here, there, strict=True):
        assert a is b is None or torch.equal(a, b.cpu())


def test_centres_without_memory_are_not_drawn():
    """A trillion classes would take hours: more than a benchmark of their memory waits for."""
    with torch.device("meta"):
        for center_format in ("fp32", "split"):
            high, _ = initial_centers(10**12, 16, seed=0, std=1.0, center_format=center_format)
            assert high.shape == (10**12, 16)


def test_what_is_refused():
    with pytest.raises(UserError, match=r"center_format = 'bf16'.*allowed are 'fp32' and 'split'"):
        initial_centers(4, 2, seed=0, std=1.0, center_format="bf16")
    high, low = split(torch.randn(3, 2))
    with pytest.raises(UserError, match=r"converted to torch.float64.*do not convert"):
        SplitRows(high.double(), low)


def test_copy_in_tiles(monkeypatch):
    monkeypatch.setattr(storage, "TILE", 3)
    source = torch.randn(10, 2)
    target = torch.zeros(10, 2, dtype=torch.bfloat16)
    copy_in_tiles(target, source)
    assert torch.equal(target, source.bfloat16())
