"""Where tables live, and which credentials reach them."""

from __future__ import annotations

import pytest

from transforms.errors import UserError
from transforms.io import storage

AZURE = ("az://lake/a", "abfss://lake@acme.dfs.core.windows.net/a", "azfs://acme/lake/a")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith("AZURE_"):
            monkeypatch.delenv(name)


def test_join():
    assert storage.join("/lake/", "bronze", "/orders/") == "/lake/bronze/orders"
    assert storage.join("az://lake", "x", "") == "az://lake/x"


def test_local_paths_need_no_options(tmp_path):
    assert storage.storage_options(str(tmp_path)) is None
    assert storage.storage_options(f"file://{tmp_path}") is None
    assert storage.table_uri(f"file://{tmp_path}/a%20b") == f"{tmp_path}/a b"
    with pytest.raises(UserError, match="s3:// is not supported"):
        storage.storage_options("s3://bucket/x")


@pytest.mark.parametrize("uri", AZURE)
def test_azure_without_a_credential_is_refused_at_once(uri, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    with pytest.raises(UserError, match="no Azure credential is set"):
        storage.storage_options(uri)


def test_the_environment_is_the_only_source(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:1/acme")
    assert storage.storage_options("az://lake/x") == {
        "azure_storage_account_name": "acme",
        "azure_storage_account_key": "a2V5",
        "azure_endpoint": "http://127.0.0.1:1/acme",
        "azure_allow_http": "true",
    }


def test_a_connection_string_is_enough(monkeypatch):
    text = "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=a2V5==;EndpointSuffix=core.windows.net"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    options = storage.storage_options("abfss://lake@acme.dfs.core.windows.net/x")
    assert options == {"azure_storage_account_name": "acme", "azure_storage_account_key": "a2V5=="}


def test_the_account_in_the_address_wins(monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "other")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    for uri in AZURE[1:]:
        assert storage.storage_options(uri)["azure_storage_account_name"] == "acme"
    assert storage.table_uri("azfs://acme/lake/a/b") == "az://lake/a/b"
