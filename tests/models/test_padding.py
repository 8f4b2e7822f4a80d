import torch
from hypothesis import given
from hypothesis import strategies as st

from midspan.models.padding import batches_by_length, left_padded


def test_rows_end_together_behind_pads():
    ids, attention = left_padded([(5, 6, 7), torch.tensor([8])], 0)
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert attention.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert ids.dtype == attention.dtype == torch.int64


def test_equal_rows_need_no_attention():
    ids, attention = left_padded([[5, 6], [0, 7]], 0)
    assert ids.tolist() == [[5, 6], [0, 7]]
    assert attention is None


@given(st.lists(st.integers(1, 5), max_size=40), st.integers(1, 9))
def test_batches_hold_every_row_once_and_end_where_lengths_change(sizes, batch_size):
    batches = batches_by_length(sizes, batch_size)
    rows = [row for batch in batches for row in batch]
    assert sorted(rows) == list(range(len(sizes)))
    lengths = [sizes[row] for row in rows]
    assert lengths == sorted(lengths, reverse=True)
    for batch, following in zip(batches, batches[1:], strict=False):
        assert batch_size / 2 <= len(batch) <= batch_size
        if sizes[batch[-1]] == sizes[following[0]]:
            # Its upper half is of one length, so that there was no better end.
            assert len({sizes[row] for row in batch[-(-batch_size // 2) - 1 :]}) == 1
            assert len(batch) == batch_size


def test_rows_of_one_length_are_not_mixed_with_others():
    assert batches_by_length([4, 7, 4, 7, 7, 4, 4], 4) == [[1, 3, 4], [0, 2, 5, 6]]
