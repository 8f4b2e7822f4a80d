import torch

from midspan.models.padding import left_padded


def test_rows_end_together_behind_pads():
    ids, attention = left_padded([(5, 6, 7), torch.tensor([8])], 0)
    assert ids.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert attention.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert ids.dtype == attention.dtype == torch.int64


def test_equal_rows_need_no_attention():
    ids, attention = left_padded([[5, 6], [0, 7]], 0)
    assert ids.tolist() == [[5, 6], [0, 7]]
    assert attention is None
