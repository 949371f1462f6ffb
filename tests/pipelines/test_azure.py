"""The whole path with input and lake on Azure Blob (Azurite): the same rows as in local folders."""

import pytest

from pipelines.config import Lake
from tests.pipelines.conftest import Shop, customer, item, transaction, write_lines

pytestmark = pytest.mark.azurite


def test_files_and_lake_on_azure_blob_give_what_local_folders_give(azurite, tmp_path):
    from azure.storage.blob import ContainerClient

    local, remote = Shop(tmp_path / "local"), Shop(tmp_path / "remote")
    remote.lake = Lake(f"az://{azurite.container}/lake")
    rows = {
        "transactions": [transaction(i) for i in range(30)] + [b"broken", transaction(3, TOTAL_AMOUNT=1)],
        "customers": [customer(i) for i in range(4)],
        "items": [item(i) for i in range(30)],
    }
    container = ContainerClient.from_connection_string(azurite.connection_string, azurite.container)
    for name, content in rows.items():
        path = write_lines(local.root / name / "1.jsonl", content)
        container.upload_blob(f"in/{name}/1.jsonl", path.read_bytes())
    local.bronze(**{name: local.root / name for name in rows})
    places = {name: f"azfs://{azurite.account}/{azurite.container}/in/{name}/" for name in rows}
    remote.bronze(**places)
    for shop in (local, remote):
        shop.silver(), shop.gold()
    assert remote.everything() == local.everything()
    assert remote.bronze(**places).tables == ()
    assert [(r["position"], r["rule"]) for r in remote.rejects()] == [
        (r["position"], r["rule"]) for r in local.rejects()
    ]
