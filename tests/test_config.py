import pytest

from commonhold.config import Settings, split_urls


@pytest.mark.parametrize(
    ("given", "chain_id", "age_s"), [({}, 1, 300), ({}, 31337, 0), ({"max_head_age_s": 7}, 31337, 7)]
)
def test_development_chains_may_stand_still(given: dict[str, int], chain_id: int, age_s: int) -> None:
    assert Settings(**given).head_age_s(chain_id) == age_s  # type: ignore[arg-type]


def test_urls_are_separated_by_commas() -> None:
    assert split_urls("http://a, http://b/x ,") == ("http://a", "http://b/x")
