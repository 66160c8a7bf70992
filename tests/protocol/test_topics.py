from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import topics
from protocol.identifiers import IDENTIFIER_PATTERN, LinkId, is_identifier
from protocol.topics import Down, Up, UpTopic

links = st.from_regex(IDENTIFIER_PATTERN, fullmatch=True).map(str.rstrip).filter(is_identifier).map(LinkId)


@given(link=links, kind=st.sampled_from(Up))
def test_up_topic_reads_back(link: LinkId, kind: Up) -> None:
    assert topics.parse_up(topics.up(link, kind)) == UpTopic(link, kind)


@given(link=links, kind=st.sampled_from(Down))
def test_down_topic_is_no_up_topic(link: LinkId, kind: Down) -> None:
    assert topics.parse_up(topics.down(link, kind)) is None
    assert topics.parse_down(topics.down(link, kind)) is kind


@given(text=st.text(max_size=40))
def test_arbitrary_text_is_no_topic(text: str) -> None:
    assert topics.parse_up(text) is None


@pytest.mark.parametrize(
    "name", ["svc-fleet-1", "short", "UPPER-CASE", "a/b/c/d/e", "abcdefgh\n", "-abcdefgh", "a" * 65, ""]
)
def test_names_that_no_device_may_have(name: str) -> None:
    assert not is_identifier(name)
    assert topics.parse_up(f"fleet/v1/{name}/up/hello") is None
