"""A GPU is named as people see it: by index, node/index or UUID, and never by the id of its row."""

import pytest

from gpus.finding import find
from sardeenz.errors import InvalidSpec
from tests import factories

pytestmark = pytest.mark.django_db


def test_an_index_means_what_is_shown_and_not_a_row() -> None:
    factories.gpu(index=5)  # so that no row has its index as its id
    wanted = factories.gpu(index=0)
    assert find(0) == find("0") == find(wanted.uuid) == find(f"{wanted.node.name}/0") == wanted


def test_a_row_id_is_no_name() -> None:
    gpu = factories.gpu(index=0)
    with pytest.raises(InvalidSpec, match=f"there is no GPU '{gpu.pk + 100}'; there are .*/0"):
        find(gpu.pk + 100)


def test_an_index_of_several_nodes_is_told_to_be_ambiguous() -> None:
    here, there = (factories.gpu(node=factories.node(name=name), index=0) for name in ("a", "b"))
    with pytest.raises(InvalidSpec, match="several GPUs 0: a/0, b/0; say which"):
        find(0)
    assert (find("a/0"), find("b/0")) == (here, there)


def test_slices_that_share_an_index_are_told_by_uuid() -> None:
    first, second = (factories.gpu(index=0, uuid=f"MIG-{name}") for name in "ab")
    with pytest.raises(InvalidSpec, match="MIG-a, MIG-b"):
        find(0)
    assert find("MIG-b") == second != first


def test_who_is_away_does_not_make_an_index_ambiguous() -> None:
    factories.gpu(index=0, uuid="GPU-old", present=False)
    here = factories.gpu(index=0, uuid="GPU-new")
    assert find(0) == here


def test_without_any_gpu_that_is_said() -> None:
    with pytest.raises(InvalidSpec, match="none at all"):
        find("0")
