"""One pattern for every name, and file names for what has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.config import DatasetConfig, DesignConfig, HlsConfig
from toolkit.data import Dataset, datasets, load_dataset
from toolkit.errors import ConfigError, DataError, HlsError, StoreError
from toolkit.exploration.book import ABOUT, open_storage
from toolkit.exploration.results import sweep_studies
from toolkit.names import LONGEST, check_identifier, check_name, file_name, is_name
from toolkit.pipeline import distinct_labels
from toolkit.records import Graph, HlsProject

GOOD = ("a", "_", "7", "w6a6", "my design-2.v1", "n" * LONGEST)
BAD = ("", ".", "..", ".a", "-rf", " a", "a ", "a/b", "a\\b", "a\n", "a\0", "a:b", "a\u202eb", "n" * 101, None, 3, [])


@pytest.mark.parametrize("name", GOOD)
def test_a_name_is_kept(name: str) -> None:
    assert check_name("name", name) == name == file_name(name)


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_anything_else_is_told_the_rule(name: object) -> None:
    assert not is_name(name)
    with pytest.raises(ConfigError, match=r"sweep must be 1 to 100 of the characters"):
        check_name("sweep", name)


@given(st.text())
def test_a_file_name_is_a_name_and_tells_texts_apart(text: str) -> None:
    assert is_name(file_name(text))
    assert file_name(text) == text or file_name(text) != file_name(file_name(text) + "x")


def test_a_project_cannot_have_a_top_that_is_a_path() -> None:
    assert check_identifier("hls.top", "my_project2") == "my_project2"
    graph = Graph((), {}, (), (), "0")
    with pytest.raises(HlsError, match="the top function of folder must be"):
        HlsProject(Path("folder"), "0", HlsConfig(), graph, "../../etc/passwd")


def test_designs_without_a_name_get_labels_that_nobody_has() -> None:
    label = DesignConfig().label
    designs = (DesignConfig(), DesignConfig(name=f"{label}_2"), DesignConfig(), DesignConfig())
    assert [design.label for design in distinct_labels(designs)] == [label, f"{label}_2", f"{label}_3", f"{label}_4"]


def test_a_dataset_is_named_where_it_enters(tmp_path: Path) -> None:
    arrays = {"x": np.eye(10), "y": np.arange(10) % 2}
    with pytest.raises(DataError, match="the name of a dataset must be 1 to 100 of the characters"):
        Dataset.from_arrays(**arrays, name="a\x1b[2Jb")
    with pytest.raises(ConfigError, match=r"dataset\.name: a name must be"):
        DatasetConfig(name="a\x01b")
    np.savez(tmp_path / "jets\x01.npz", **arrays)
    assert load_dataset(tmp_path / "jets\x01.npz").name == file_name("jets\x01")


@pytest.mark.parametrize("name", [*datasets.known_datasets()])
def test_the_datasets_there_are_have_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(("study", "name"), [("a\x01-12345678", "a\x01"), ("a\x01", "a"), ("a", None)])
def test_a_study_of_a_shared_database_is_told_the_rule(tmp_path: Path, study: str, name: str | None) -> None:
    path = tmp_path / "sweeps.db"
    storage = open_storage(path)
    optuna.create_study(study_name=study, storage=storage).set_user_attr(ABOUT, {"name": name})
    with pytest.raises(StoreError, match=r"sweeps\.db: the name of a sweep.* must be 1 to 100 of the characters"):
        sweep_studies(storage, str(path))
