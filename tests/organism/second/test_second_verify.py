"""The second organism's verification in several processes."""

from midspan import load
from midspan.organism.second.encoder import Encoder
from midspan.organism.second.loop import write_model
from midspan.organism.second.training import TrainConfig, build_model
from midspan.studies.organism.second.verify import decode_together, verify

TINY = TrainConfig(hidden_size=32, layers=2, heads=4, mlp_size=32)


def test_processes_side_by_side_write_the_records_of_one(tmp_path):
    model = tmp_path / "model"
    encoder = Encoder()
    write_model(build_model(TINY, encoder), encoder, model)
    decode_together(str(model), tmp_path / "two", 1, 3, 2)
    journals = sorted(file.name for file in (tmp_path / "two").glob("journal*"))
    assert journals == ["journal.0.jsonl", "journal.1.jsonl"]
    for name in ("one", "two"):
        verify(load(model), tmp_path / name, 1, 3)
    records = [(tmp_path / name / "records.jsonl").read_text() for name in ("one", "two")]
    assert records[0] == records[1]
    assert len(records[0].splitlines()) == 66
