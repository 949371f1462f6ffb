"""Packaging. Beam stages this distribution to its workers, where requirements.txt is absent: no install_requires."""

from setuptools import find_packages, setup

setup(
    name="customer360-beam",
    version="0.1.0",
    description="A retail Customer 360 and personalization engine on Apache Beam",
    python_requires=">=3.11,<3.12",
    # The templates are data that commands read: the warehouse's SQL, what Maven fetches.
    packages=[*find_packages(include=["pipelines*", "transforms*", "recsys*"]), "templates"],
    package_data={"": ["**/*"]},
    install_requires=[],
    extras_require={
        "batch": [
            "apache-beam[azure]>=2.77,<2.78",
            "pyarrow>=25,<26",
            "deltalake>=1.6,<1.7",
            "polars>=2.1,<3",
            "numpy>=2.4,<3",
            "scipy>=1.17,<2",
            "statsmodels>=0.15,<0.16",
            "lightgbm>=4.7,<5",
            "rapidfuzz>=3.14,<4",
            "phonenumbers>=9,<10",
            "pycountry>=24",
            "anyascii>=0.3",
            "nicknames>=1.0",
            "typer>=0.29",
            "rich>=15",
            "matplotlib>=3.11",
        ],
        "stream": ["azure-eventhub>=5.15.1,<5.16", "azure-identity>=1.27", "fastavro>=1.13", "prometheus-client>=0.20"],
        "recsys": [
            "tensorflow>=2.21,<2.22",
            "tf-keras>=2.21,<2.22",
            "tensorflow-transform>=1.21,<1.22",
            "tensorflow-recommenders>=0.7.7,<0.8",
            "tensorflow-serving-api>=2.19.1,<2.22",
        ],
        "warehouse": ["duckdb>=2", "sqlglot>=30", "snowflake-connector-python>=5.2,<5.3"],
        "test": [
            "pytest>=9",
            "hypothesis>=6",
            "pytest-xdist>=3.8",
            "ruff",
            "mypy",
            "pre-commit>=4",
            "recordlinkage>=0.16",
        ],
    },
    entry_points={"console_scripts": ["c360=pipelines.__main__:main"]},
)
