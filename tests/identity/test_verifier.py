"""A battery of ID tokens: a few that are right, and many that are forged, stolen, stale or broken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from bastion.config import model
from bastion.errors import TokenRejected
from bastion.identity.oidc import Provider
from bastion.identity.verifier import VerifiedToken, verify_id_token
from tests.identity.idp import EC, ED, NONCE, NOW, RSA, Idp, encode, public

with warnings.catch_warnings(action="ignore"):
    SMALL = RSAKey.generate_key(1024, {"kid": "small"})
EVIL = RSAKey.generate_key(2048, {"kid": "rsa"})
NEW = ECKey.generate_key("P-256", {"kid": "new"})


@pytest.fixture
async def idp() -> AsyncIterator[Idp]:
    async with Idp() as idp:
        yield idp


async def verify(idp: Idp, token: str, *, nonce: str | None = NONCE, **options: Any) -> VerifiedToken:
    over = {name: options.pop(name) for name in ("algorithms",) if name in options}
    return await verify_id_token(Provider(idp.settings(**over)), token, now=NOW, nonce=nonce, **options)


async def rejection(idp: Idp, token: str, **options: Any) -> str:
    """The reason for which *token* is rejected."""
    with pytest.raises(TokenRejected) as caught:
        await verify(idp, token, **options)
    assert token not in str(caught.value) + caught.value.reason or len(token) < 20
    return caught.value.reason


async def test_the_new_name_of_eddsa_is_accepted_where_the_old_one_is(idp: Idp) -> None:
    token = jws.serialize_compact(
        {"alg": "Ed25519", "kid": "ed"}, json.dumps(idp.claims()).encode(), ED, ["Ed25519"]
    )
    assert (await verify(idp, token)).subject
    await rejection(idp, token, algorithms=("RS256", "ES256"))


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=["RS256", "ES256", "EdDSA"])
async def test_a_token_that_is_right_in_everything_is_accepted(idp: Idp, key: Any) -> None:
    token = await verify(idp, idp.token(key))
    assert (token.subject, token.issuer, token.issued_at, token.expires_at) == (
        "subject-1",
        idp.url,
        NOW - 5,
        NOW + 330,
    )


@pytest.mark.parametrize(
    "over",
    [
        {"aud": ["bastion"]},
        {"aud": ["bastion", "other"], "azp": "bastion"},
        {"azp": "bastion"},
        {"exp": NOW - 20},
        {"iat": NOW + 20},
        {"iat": NOW - 600},
        {"exp": 10**400},
        {"iat": NOW - 5.5},
        {"nbf": NOW - 5},
        {"sub": "s" * 255},
    ],
    ids=str,
)
async def test_what_the_rules_allow_is_accepted(idp: Idp, over: dict[str, Any]) -> None:
    assert (await verify(idp, idp.token(**over))).subject


@pytest.mark.parametrize(
    ("over", "reason"),
    [
        ({"iss": ...}, "iss is missing"),
        ({"aud": ...}, "aud is missing"),
        ({"exp": ...}, "exp is missing"),
        ({"iat": ...}, "iat is missing"),
        ({"sub": ...}, "sub is missing"),
        ({"nonce": ...}, "the nonce is missing"),
        ({"iss": "https://evil.example"}, "iss is 'https://evil.example'"),
        ({"iss": ["https://evil.example"]}, "iss is"),
        ({"aud": "other"}, "aud is 'other'"),
        ({"aud": []}, "aud is"),
        ({"aud": ["other"]}, "aud is"),
        ({"aud": {"bastion": 1}}, "aud is"),
        ({"aud": ["bastion", 7]}, "aud is"),
        ({"aud": "other", "azp": "bastion"}, "aud is 'other'"),
        ({"aud": ["bastion", "other"]}, "azp is missing"),
        ({"aud": ["bastion", "other"], "azp": "other"}, "azp is 'other'"),
        ({"azp": "other"}, "azp is 'other'"),
        ({"azp": ""}, "azp is ''"),
        ({"azp": None}, "azp is None"),
        ({"exp": NOW - 31}, f"exp is {NOW - 31}, now it is {NOW}"),
        ({"exp": str(NOW + 300)}, "exp is"),
        ({"exp": True}, "exp is True"),
        ({"exp": float("nan")}, "exp is nan"),
        ({"exp": float("inf")}, "exp is inf"),
        ({"exp": None}, "exp is missing"),
        ({"exp": -(10**400)}, "exp is -1000"),
        ({"nbf": NOW + 31}, "nbf is"),
        ({"nbf": float("nan")}, "nbf is nan"),
        ({"iat": NOW + 31}, "iat is"),
        ({"iat": NOW - 631}, f"iat is {NOW - 631}"),
        ({"iat": float("nan")}, "iat is nan"),
        ({"iat": -(10**400)}, "iat is -1000"),
        ({"iat": "yesterday"}, "iat is 'yesterday'"),
        ({"sub": ""}, "sub"),
        ({"sub": 5}, "sub is 5"),
        ({"sub": "s" * 256}, "sub has 256 characters"),
        ({"nonce": "another"}, "the nonce is not the expected one"),
        ({"nonce": 5}, "the nonce is not the expected one"),
        ({"nonce": "ü"}, "the nonce is not the expected one"),
    ],
    ids=lambda value: json.dumps(value, default=lambda _: "absent")[:60] if isinstance(value, dict) else "",
)
async def test_a_claim_that_breaks_a_rule_is_rejected_with_the_reason(
    idp: Idp, over: dict[str, Any], reason: str
) -> None:
    assert reason in await rejection(idp, idp.token(**over))


async def test_an_issuer_with_a_trailing_slash_is_another_issuer(idp: Idp) -> None:
    assert f"iss is '{idp.url}/'" in await rejection(idp, idp.token(iss=f"{idp.url}/"))


async def test_a_nonce_that_nobody_expects_does_not_matter(idp: Idp) -> None:
    assert (await verify(idp, idp.token(nonce="whatever"), nonce=None)).subject


async def test_the_access_token_must_fit_its_hash(idp: Idp) -> None:
    for key, digest in ((RSA, hashlib.sha256), (EC, hashlib.sha256), (ED, hashlib.sha512)):
        half = digest(b"opaque").digest()
        half_hash = base64.urlsafe_b64encode(half[: len(half) // 2]).rstrip(b"=").decode()
        token = idp.token(key, at_hash=half_hash)
        assert (await verify(idp, token, access_token="opaque")).subject
        assert "at_hash" in await rejection(idp, token, access_token="another")
    assert "at_hash" in await rejection(idp, idp.token(at_hash=["x"]), access_token="opaque")
    assert (await verify(idp, idp.token(), access_token="opaque")).subject


# Algorithms and keys


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
async def test_a_token_without_a_signature_is_rejected(idp: Idp, name: str) -> None:
    idp.discovery["id_token_signing_alg_values_supported"] = ["none", "RS256"]  # nobody may widen our list
    token = f"{encode({'alg': name})}.{encode(idp.claims())}."
    assert "algorithm" in await rejection(idp, token)


async def test_a_public_key_taken_for_an_hmac_secret_is_rejected(idp: Idp) -> None:
    """The old confusion of HS256 and RS256: the attacker signs with what everybody may read."""
    number = base64.urlsafe_b64decode(public(RSA)["n"] + "==")
    for secret in (RSA.as_pem(private=False), RSA.as_der(private=False), number, b""):
        for header in ({"alg": "HS256", "kid": "rsa"}, {"alg": "HS256"}):
            signed = f"{encode(header)}.{encode(idp.claims())}"
            token = f"{signed}.{encode(hmac.digest(secret, signed.encode(), 'sha256'))}"
            assert "algorithm 'HS256'" in await rejection(idp, token)
    # And were HS256 among our algorithms by mistake, an RSA key would still be none for it.
    settings = idp.settings().model_copy(update={"algorithms": ("RS256", "HS256")})
    with pytest.raises(TokenRejected, match="could not be verified"):
        await verify_id_token(Provider(settings), token, now=NOW, nonce=NONCE)


async def test_a_symmetric_key_in_the_jwks_is_no_key_of_ours(idp: Idp) -> None:
    shared = OctKey.import_key("a secret that everybody knows now", {"kid": "oct"})
    idp.keys.append(shared.as_dict(private=True))
    assert "algorithm 'HS256'" in await rejection(idp, jws_token(idp, {"alg": "HS256", "kid": "oct"}, shared))


async def test_an_algorithm_outside_the_settings_is_rejected_although_its_key_is_known(idp: Idp) -> None:
    assert "'RS256' is not among ES256" in await rejection(idp, idp.token(), algorithms=("ES256",))


@pytest.mark.parametrize("algorithm", [["RS256"], {"a": 1}, 5, None, True])
async def test_an_algorithm_that_is_no_text_is_rejected(idp: Idp, algorithm: object) -> None:
    await rejection(idp, f"{encode({'alg': algorithm, 'kid': 'rsa'})}.{encode(idp.claims())}.AAAA")


async def test_another_key_under_a_known_key_id_is_rejected(idp: Idp) -> None:
    assert "signature" in await rejection(idp, idp.token(EVIL))


async def test_an_unknown_key_id_is_rejected(idp: Idp) -> None:
    assert "No key for kid: 'gone'" in await rejection(idp, idp.token(header={"kid": "gone"}))


async def test_a_key_in_the_header_means_nothing(idp: Idp) -> None:
    headers: tuple[dict[str, Any], ...] = (
        {"jwk": public(EVIL)},
        {"jku": f"{idp.url}/evil"},
        {"x5u": f"{idp.url}/evil"},
        {"jwk": public(EVIL), "kid": "evil"},
    )
    for header in headers:
        await rejection(idp, idp.token(EVIL, header=header))
    assert "/evil" not in idp.fetched


async def test_critical_extensions_are_rejected(idp: Idp) -> None:
    headers: tuple[dict[str, Any], ...] = (
        {"crit": ["b64"], "b64": False},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": "exp"},
    )
    for header in headers:
        token = f"{encode({'alg': 'RS256', 'kid': 'rsa', **header})}.{encode(idp.claims())}.AAAA"
        assert "critical" in await rejection(idp, token)


@pytest.mark.parametrize("kind", ["at+jwt", "logout+jwt", "secevent+jwt", 5])
async def test_a_token_of_another_type_is_rejected_although_its_signature_is_right(
    idp: Idp, kind: Any
) -> None:
    """Access and logout tokens are signed with the same keys, and some have our audience."""
    header = {"alg": "RS256", "kid": "rsa", "typ": kind}
    token = jws.serialize_compact(
        header, json.dumps(idp.claims()).encode(), RSA, registry=jws.JWSRegistry({"typ": ANY}, ["RS256"])
    )
    await rejection(idp, token)


async def test_the_headers_that_entra_and_okta_add_do_no_harm(idp: Idp) -> None:
    header = {"alg": "RS256", "kid": "rsa", "typ": "JWT", "x5t": "abc", "nonce": "x"}
    registry = jws.JWSRegistry(algorithms=["RS256"], strict_check_header=False)
    token = jws.serialize_compact(header, json.dumps(idp.claims()).encode(), RSA, registry=registry)
    assert (await verify(idp, token)).subject


async def test_an_rsa_key_of_1024_bits_is_no_key(idp: Idp) -> None:
    idp.keys.append(public(SMALL))
    assert "No key for kid: 'small'" in await rejection(idp, idp.token(SMALL))


async def test_keys_that_we_cannot_use_do_not_cost_us_the_good_one(idp: Idp) -> None:
    idp.keys[:0] = [
        {"kty": "EC", "crv": "P-1024", "x": "AA", "y": "AA", "kid": "curve"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "koblitz"},
        {"kty": "OKP", "crv": "X25519", "x": "AA", "kid": "exchange"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "post-quantum"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "off the curve"},
        {"kty": "EC", "crv": "P-256", "kid": "no point"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "tiny"},
        {"kty": "RSA", "n": 5, "e": [], "kid": "numbers"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": ["RSA"], "kid": "list"},
        {"kid": "nothing"},
        public(EC, kid="encryption", use="enc"),
        {**RSA.as_dict(private=True), "kid": "private"},
        "no object",  # type: ignore[list-item]
    ]
    assert (await verify(idp, idp.token())).subject
    for kid in ("encryption", "private"):
        await rejection(idp, idp.token(EC if kid == "encryption" else RSA, header={"kid": kid}))


async def test_a_token_without_key_id_needs_a_provider_with_one_key(idp: Idp) -> None:
    assert "signature cannot be verified" in await rejection(idp, idp.token(header={"kid": ...}))
    idp.keys = [public(RSA, kid=...)]
    assert (await verify(idp, idp.token(header={"kid": ...}))).subject


async def test_new_keys_are_found_after_a_rotation(idp: Idp) -> None:
    provider = Provider(idp.settings())
    await verify_id_token(provider, idp.token(), now=NOW, nonce=NONCE)
    idp.keys = [public(NEW)]
    assert (await verify_id_token(provider, idp.token(NEW), now=NOW, nonce=NONCE)).subject
    with pytest.raises(TokenRejected, match="could not be verified"):  # the old key is gone for good
        await verify_id_token(provider, idp.token(), now=NOW, nonce=NONCE)
    assert idp.fetched["/jwks"] == 2


async def test_new_keys_are_found_although_they_keep_the_old_key_id(idp: Idp) -> None:
    provider = Provider(idp.settings())
    await verify_id_token(provider, idp.token(), now=NOW, nonce=NONCE)
    idp.keys = [public(EVIL)]
    assert (await verify_id_token(provider, idp.token(EVIL), now=NOW, nonce=NONCE)).subject


# Shape


async def test_an_expiry_at_the_end_of_time_is_bounded_by_the_age_of_the_token(idp: Idp) -> None:
    assert (await verify(idp, idp.token(exp=10**400))).expires_at == NOW - 5 + 600 + 30


async def test_a_huge_token_is_not_even_read(idp: Idp) -> None:
    assert "characters" in await rejection(idp, idp.token(groups=["g" * 100] * 700))
    assert not idp.fetched


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b.c.d.e",
        "é.é.é",
        "not a token at all",
        f"{encode(b'[' * 3000)}.{encode({})}.AAAA",
        f"{encode([1, 2])}.{encode({})}.AAAA",
        f"{encode(['alg'])}.{encode({})}.AAAA",
        f"{encode('alg')}.{encode({})}.AAAA",
        f"{encode(b'{')}.{encode({})}.AAAA",
        f"{encode({'alg': 'RS256', 'kid': 'k' * 5000})}.{encode({})}.AAAA",
        f"{encode({'alg': 'RS256', 'kid': ['rsa']})}.{encode({})}.AAAA",
        f"{encode({'alg': 'RS256', 'kid': 'rsa'})}..AAAA",
        f"{encode({'alg': 'RS256', 'kid': 'rsa'})}.{encode({})}.{'A' * 5000}",
        f"{encode({'alg': 'RS256', 'kid': 'rsa'})}.{encode({})}.!!!!",
        "\x00.\x00.\x00",
    ],
    ids=lambda token: re.sub(r"[^ -~]", "?", token)[:40] or "empty",
)
async def test_garbage_is_rejected_without_a_crash(idp: Idp, token: str) -> None:
    await rejection(idp, token)


@pytest.mark.parametrize(
    "payload", [b"[1]", b"null", b'"text"', b"{", b"\xff\xfe", b"[" * 5000, b'{"exp": 1e999}']
)
async def test_a_signed_payload_that_is_no_set_of_claims_is_rejected(idp: Idp, payload: bytes) -> None:
    token = jws.serialize_compact({"alg": "RS256", "kid": "rsa"}, payload, RSA, ["RS256"])
    await rejection(idp, token)


async def test_a_token_with_one_bit_changed_is_rejected(idp: Idp) -> None:
    token = idp.token(EC)
    provider = Provider(idp.settings())
    for place in range(0, len(token), 7):
        forged = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        with pytest.raises(TokenRejected):
            await verify_id_token(provider, forged, now=NOW, nonce=NONCE)


async def test_the_same_token_written_differently_has_the_same_digest(idp: Idp) -> None:
    """(r, -s) is a right ECDSA signature wherever (r, s) is one; a list of used tokens must not fall for it."""
    token = idp.token(EC)
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    twin = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
    other = f"{signed}.{encode(twin)}"
    assert other != token
    assert (await verify(idp, other)).digest == (await verify(idp, token)).digest


class _Keys:
    """The keys of a provider that is not asked over HTTP, for thousands of tries."""

    def __init__(self) -> None:
        self.settings = model.Issuer(alias="corp", issuer="https://idp.example", client_id="bastion")
        self._keys = KeySet([RSA, EC])

    async def keys(self) -> KeySet:
        return self._keys

    async def newer_keys(self, than: KeySet) -> KeySet:
        return than


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5c", "cty"]), _JSON
    ),
    claims=st.dictionaries(
        st.sampled_from(
            ["iss", "aud", "azp", "exp", "iat", "nbf", "sub", "nonce", "auth_time", "amr", "at_hash"]
        ),
        _JSON,
    ),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
async def test_whatever_is_in_it_a_token_is_rejected_and_never_crashes_us(
    header: dict[str, Any], claims: dict[str, Any]
) -> None:
    signed = jws.serialize_compact({"alg": "ES256", "kid": "ec"}, json.dumps(claims).encode(), EC, ["ES256"])
    for token in (
        signed,
        f"{encode(header)}.{encode(claims)}.AAAA",
        f"{encode(header)}.{signed.split('.', 1)[1]}",
    ):
        with pytest.raises(TokenRejected):
            await verify_id_token(_Keys(), token, now=NOW, nonce=NONCE)


def jws_token(idp: Idp, header: dict[str, Any], key: OctKey) -> str:
    return jws.serialize_compact(header, json.dumps(idp.claims()).encode(), key, [header["alg"]])


class _Anything:
    required = False

    def validate(self, value: object) -> None:
        """A header that the library would rather not sign."""


ANY: Any = _Anything()
