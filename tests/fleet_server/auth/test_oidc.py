"""What an OpenID provider may say, and what is made of it when it is forged, meant for others, stale, or nonsense."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from fleet_server.auth.errors import OidcRefused, OidcUnavailable
from fleet_server.auth.oidc import ASK_AGAIN_S, KEPT_S, Provider, Question
from tests.support.evil_oidc import EvilProvider, evil_provider, new_key

QUESTION = Question("state", "nonce", "verifier" * 6)
BACK = "https://fleet.example/sign-in/oidc/back"


@pytest.fixture
def evil() -> Iterator[EvilProvider]:
    with evil_provider() as one:
        yield one


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def provider(evil: EvilProvider, clock: list[float]) -> Provider:
    return Provider(evil.issuer, "tillmedic", "s3cret", BACK, lambda: clock[0])


def test_the_question_names_client_way_back_and_all_three_proofs(evil: EvilProvider, provider: Provider) -> None:
    asked = parse_qs(urlsplit(provider.address_for(QUESTION)).query)
    assert asked["response_type"] == ["code"]
    assert asked["client_id"] == ["tillmedic"]
    assert asked["redirect_uri"] == [BACK]
    assert (asked["state"], asked["nonce"]) == (["state"], ["nonce"])
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["code_challenge"] == [create_s256_code_challenge(QUESTION.verifier)]
    assert QUESTION.verifier not in provider.address_for(QUESTION)


def test_a_right_answer_names_the_person(evil: EvilProvider, provider: Provider) -> None:
    evil.says(nonce="nonce", preferred_username="li.wei")
    identity = provider.ask(QUESTION, "the code")
    assert (identity.subject, identity.suggested_name) == ("s-1", "li.wei")
    sent = {"grant_type": "authorization_code", "code": "the code", "redirect_uri": BACK}
    assert evil.exchanged == [sent | {"code_verifier": QUESTION.verifier}]


def test_no_question_is_like_another() -> None:
    made = [Question.new() for _ in range(50)]
    assert len({part for one in made for part in (one.state, one.nonce, one.verifier)}) == 150


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another-client"},
        {"aud": ["another-client", "and-a-third"]},
        {"aud": ["another-client", "tillmedic"]},
        {"azp": "another-client"},
        {"aud": "another-client", "azp": "tillmedic"},
        {"aud": None},
        {"nonce": "of another question"},
        {"nonce": None},
        {"nonce": ""},
        {"iss": "https://another.example"},
        {"iss": None},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": 7},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"iat": 32_000_000_000},
        {"iat": None},
        {"nbf": 32_000_000_000},
    ],
    ids=str,
)
def test_an_answer_that_is_not_for_this_question_is_refused(
    evil: EvilProvider, provider: Provider, changes: dict[str, Any]
) -> None:
    evil.says(**({"nonce": "nonce"} | changes))
    with pytest.raises(OidcRefused):
        provider.ask(QUESTION, "code")


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("case", ["another key", "no algorithm", "our secret", "public key as secret", "cut", "noise"])
def test_an_answer_that_the_provider_did_not_sign_is_refused(evil: EvilProvider, provider: Provider, case: str) -> None:
    evil.says(nonce="nonce")
    assert evil.id_token is not None
    head, body, signature = evil.id_token.split(".")
    match case:
        case "another key":
            evil.says(new_key("one"), nonce="nonce")
        case "no algorithm":
            evil.id_token = f"{part({'alg': 'none'})}.{body}."
        case "our secret":
            evil.id_token = f"{part({'alg': 'HS256', 'kid': 'one'})}.{body}.{signature}"
        case "public key as secret":
            evil.id_token = f"{part({'alg': 'HS256'})}.{body}.{part({'n': 1})}"
        case "cut":
            evil.id_token = f"{head}.{part(evil.claims(nonce='nonce', sub='s-2'))}.{signature}"
        case _:
            evil.id_token = "noise"
    with pytest.raises(OidcRefused):
        provider.ask(QUESTION, "code")


def test_a_provider_that_changes_its_keys_is_asked_for_them_but_not_for_every_forgery(
    evil: EvilProvider, provider: Provider, clock: list[float]
) -> None:
    evil.says(nonce="nonce")
    provider.ask(QUESTION, "code")
    evil.key = new_key("two")
    evil.says(nonce="nonce")
    with pytest.raises(OidcRefused):
        provider.ask(QUESTION, "code")
    clock[0] = ASK_AGAIN_S
    assert provider.ask(QUESTION, "code").subject == "s-1"
    evil.says(new_key("three"), nonce="nonce")
    for _ in range(20):
        with pytest.raises(OidcRefused):
            provider.ask(QUESTION, "code")
    assert evil.asked.count("/jwks") == 2


def test_its_documents_are_kept_for_ten_minutes(evil: EvilProvider, provider: Provider, clock: list[float]) -> None:
    for moment in (0.0, KEPT_S - 1, KEPT_S):
        clock[0] = moment
        provider.address_for(QUESTION)
    assert evil.asked.count("/.well-known/openid-configuration") == 2


@pytest.mark.parametrize("said", [{"issuer": "https://another.example"}, {"issuer": None}])
def test_a_document_about_another_provider_is_not_used(
    evil: EvilProvider, provider: Provider, said: dict[str, Any]
) -> None:
    evil.document = said
    with pytest.raises(OidcUnavailable, match="is not about"):
        provider.address_for(QUESTION)


@pytest.mark.parametrize("status", [500, 503, 302])
def test_a_provider_in_trouble_is_told_apart_from_a_refusal(
    evil: EvilProvider, provider: Provider, status: int
) -> None:
    provider.address_for(QUESTION)
    evil.says(nonce="nonce")
    evil.status = status
    with pytest.raises(OidcUnavailable):
        provider.ask(QUESTION, "code")
    evil.status = 400
    with pytest.raises(OidcRefused):
        provider.ask(QUESTION, "code")


def test_a_provider_that_is_not_there_is_told_without_what_was_sent() -> None:
    gone = Provider("http://127.0.0.1:9", "tillmedic", "s3cret", BACK)
    with pytest.raises(OidcUnavailable) as told:
        gone.address_for(QUESTION)
    assert "s3cret" not in str(told.value)


def test_an_answer_without_a_token_of_identity_is_refused(evil: EvilProvider, provider: Provider) -> None:
    with pytest.raises(OidcRefused, match="no id_token"):
        provider.ask(QUESTION, "code")


def test_a_code_of_one_provider_is_not_shown_to_another(evil: EvilProvider, provider: Provider) -> None:
    evil.says(nonce="nonce")
    with pytest.raises(OidcRefused, match="another OpenID provider"):
        provider.ask(QUESTION, "code", "https://another.example")
    assert evil.exchanged == []
    assert provider.ask(QUESTION, "code", evil.issuer).subject == "s-1"


def test_a_provider_that_names_itself_always_has_to(evil: EvilProvider, provider: Provider) -> None:
    evil.document = {"authorization_response_iss_parameter_supported": True}
    evil.says(nonce="nonce")
    with pytest.raises(OidcRefused, match="another OpenID provider"):
        provider.ask(QUESTION, "code")
