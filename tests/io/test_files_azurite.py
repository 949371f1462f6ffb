"""Files on Azure Blob storage, as Azurite serves it."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from azure.storage.blob import BlobServiceClient

from transforms.errors import UserError
from transforms.io.files import discover, read_split, split

pytestmark = pytest.mark.azurite


@pytest.fixture
def put(azurite):
    with BlobServiceClient.from_connection_string(azurite.connection_string) as client:
        container = client.get_container_client(azurite.container)

        def upload(name, data):
            container.upload_blob(name, data, overwrite=True)
            return f"azfs://{azurite.account}/{azurite.container}"

        yield upload


def ids(location, target_bytes=32 << 20):
    parts = [part for file in discover(location) for part in split(file, target_bytes)]
    return [value for part in parts for one in read_split(part, ("ID",)) for value in one.rows["ID"].to_pylist()]


def test_every_format_is_read_from_a_folder_without_its_sisters_and_hidden_files(put, tmp_path):
    pq.write_table(pa.table({"ID": ["5", "6"]}), tmp_path / "d")
    put("in/a.jsonl", b'{"ID":"1"}\n{"ID":"2"}\n')
    put("in/b.jsonl.gz", gzip.compress(b'{"ID":"3"}\n'))
    put("in/c.csv", b"ID\n4\n")
    put("in/sub/d.parquet", (tmp_path / "d").read_bytes())
    put("in/_delta_log/0.json", b'{"ID":"no"}\n')
    put("in/_SUCCESS", b"")
    root = put("in2/e.jsonl", b'{"ID":"other"}\n')
    assert ids(f"{root}/in") == ids(f"{root}/in/") == ["1", "2", "3", "4", "5", "6"]
    assert ids(f"{root}/in/a.jsonl", target_bytes=5) == ["1", "2"]
    assert ids(f"{root}/in*/*.jsonl") == ["1", "2", "other"]


def test_a_blob_written_again_has_another_fingerprint_at_once(put):
    root = put("a.jsonl", b'{"ID":"1"}\n')
    before = discover(root)[0].fingerprint
    assert discover(root)[0].fingerprint == before
    put("a.jsonl", b'{"ID":"2"}\n')
    assert discover(root)[0].fingerprint != before


def test_account_and_key_are_enough_and_no_credential_is_one_clear_line(put, monkeypatch):
    root = put("a.jsonl", b'{"ID":"1"}\n')
    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    assert ids(root) == ["1"]
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    with pytest.raises(UserError, match="no Azure credential is set"):
        discover(root)


def test_what_is_not_there_is_one_clear_line(put):
    root = put("a.jsonl", b"{}")
    with pytest.raises(UserError, match="there are no files"):
        discover(f"{root}/nowhere")
