"""Three appraisers on sockets and a provider that believes none of them."""

import json
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from commonhold.appraiser.answer import statement_of
from commonhold.appraiser.appraise import BYTES_HASHED
from commonhold.appraiser.canonical import canonical
from commonhold.appraiser.devauthority import DevGpu
from commonhold.appraiser.manifest import hash_path
from commonhold.appraiser.nvidia import GpuEvidence
from commonhold.appraiser.policy import Policy
from commonhold.appraiser.quorum import Answer, ComputeAsk, ContentAsk, NoQuorum, Quorum, collect
from commonhold.appraiser.result import Kind, document_hash
from commonhold.appraiser.signature import sign, signer_of
from commonhold.errors import BadInput
from commonhold.signing import Appraisal, digest, typed_data
from commonhold.units import address_text, hex_text
from tests.appraiser.running import (
    APPRAISERS,
    COMPUTE_TERMS,
    DATA_TERMS,
    KEYS,
    LEDGER,
    METER_KEY,
    MODEL_TERMS,
    NOW_S,
    Appraiser,
    appraiser_of,
    dead_url,
    listening,
)

STRANGERS_KEY = b"\x09" * 32

Change = Callable[[dict[str, object]], dict[str, object]]


@pytest.fixture(scope="module")
def three(policy: Policy) -> Iterator[tuple[Appraiser, ...]]:
    with ExitStack() as stack:
        yield tuple(stack.enter_context(listening(appraiser_of(key, [policy]))) for key in KEYS)


@pytest.fixture
def urls(three: tuple[Appraiser, ...]) -> list[str]:
    for appraiser in three:
        appraiser.clock.now_s = NOW_S
    return [appraiser.url for appraiser in three]


@pytest.fixture
def node(gpu: DevGpu) -> ComputeAsk:
    async def evidence(nonce: bytes) -> Sequence[GpuEvidence]:
        return [gpu.report(nonce)]

    return ComputeAsk(COMPUTE_TERMS, METER_KEY, evidence)


@pytest.fixture
def dataset(tmp_path: Path) -> ContentAsk:
    for path, content in {"set/a.txt": b"one", "set/deep/ü.bin": bytes(range(256)) * 1_000}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    return ContentAsk(DATA_TERMS, Kind.DATA, hash_path(tmp_path / "set"), tmp_path / "set")


async def asked(urls: Sequence[str], ask: ComputeAsk | ContentAsk, **change: object) -> Quorum:
    settings: dict[str, object] = {"need": 2, "ledger": LEDGER, "appraisers": APPRAISERS, **change}
    return await collect(urls, ask, **settings)  # type: ignore[arg-type]


async def refused(urls: Sequence[str], ask: ComputeAsk | ContentAsk, **change: object) -> list[str]:
    """Every appraiser's answer, when there was no quorum; the error's text has them all."""
    with pytest.raises(NoQuorum) as error:
        await asked(urls, ask, **change)
    assert [answer.url for answer in error.value.answers] == list(urls)
    assert all(f"{answer.url}: {answer.detail}" in str(error.value) for answer in error.value.answers)
    return [answer.detail for answer in error.value.answers]


def lying(change: Change) -> Callable[[ASGIApp], ASGIApp]:
    """An appraiser that changes what it found and signs that, well formed."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def lie(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] != "/v1/appraisals":
                await app(scope, receive, send)
                return
            sent: list[Message] = []

            async def keep(message: Message) -> None:
                sent.append(message)

            await app(scope, receive, keep)
            body = json.dumps(change(json.loads(b"".join(m.get("body", b"") for m in sent)))).encode()
            length = (b"content-length", str(len(body)).encode())
            sent[0]["headers"] = [*(h for h in sent[0]["headers"] if h[0] != b"content-length"), length]
            await send(sent[0])
            await send({"type": "http.response.body", "body": body})

        return lie

    return wrap


def signed_anew(answer: dict[str, object], key: bytes, **message: object) -> dict[str, object]:
    """The answer with these fields of its statement changed, and a signature that fits."""
    statement = statement_of({**answer["appraisal"], **message})  # type: ignore[dict-item]
    return {
        **answer,
        "appraisal": typed_data(LEDGER, statement)["message"],
        "signer": address_text(APPRAISERS[0]),
        "signature": hex_text(sign(key, digest(LEDGER, statement))),
    }


def verified(quorum: Quorum, need: int) -> Appraisal:
    signers = [signer for signer, _ in quorum.signatures]
    assert len(signers) == need
    assert signers == sorted(set(signers))
    assert set(signers) <= set(APPRAISERS)
    for signer, signature in quorum.signatures:
        assert signer_of(digest(LEDGER, quorum.appraisal), signature) == signer
    assert document_hash(quorum.result) == quorum.appraisal.result_hash
    return quorum.appraisal


async def test_three_appraisers_sign_one_node_alike(urls: list[str], node: ComputeAsk) -> None:
    answers: list[Answer] = []

    quorum = await asked(urls, node, need=3, on_answer=answers.append)

    appraisal = verified(quorum, 3)
    assert (appraisal.units, appraisal.level, appraisal.policy) == (1_000_000, 3, "development")
    assert appraisal.meter_key_x + appraisal.meter_key_y == METER_KEY
    assert [(answer.url, answer.agreed) for answer in answers] == [(url, True) for url in urls]


async def test_folder_and_model_are_appraised_alike(urls: list[str], dataset: ContentAsk) -> None:
    file = dataset.location / "a.txt"
    model = ContentAsk(MODEL_TERMS, Kind.MODEL, hash_path(file), file, METER_KEY)

    data = verified(await asked(urls, dataset, need=3), 3)
    assert (data.content_hash, data.units, data.policy) == (dataset.manifest.content_hash, 256_003, BYTES_HASHED)
    weights = verified(await asked(urls, model), 2)
    assert (weights.units, weights.level, weights.meter_key_x) == (3, 0, METER_KEY[:32])


async def test_result_bytes_of_all_appraisers_are_identical(urls: list[str], node: ComputeAsk) -> None:
    seen: list[bytes] = []

    async def keep(response: httpx.Response) -> None:
        await response.aread()
        if response.url.path == "/v1/appraisals":
            seen.append(canonical(response.json()["result"]))

    async with httpx.AsyncClient(event_hooks={"response": [keep]}) as http:
        await asked(urls, node, http=http)

    assert len(seen) == 3
    assert len(set(seen)) == 1


async def test_one_down_still_is_a_quorum_of_two(urls: list[str], node: ComputeAsk, dataset: ContentAsk) -> None:
    with dead_url() as dead:
        answers: list[Answer] = []
        verified(await asked([urls[0], dead, urls[2]], node, on_answer=answers.append), 2)
        verified(await asked([dead, *urls[:2]], dataset), 2)

        assert [answer.agreed for answer in answers] == [True, False, True]
        assert "cannot be reached" in answers[1].detail


async def test_two_down_are_named(urls: list[str], node: ComputeAsk) -> None:
    with dead_url() as one, dead_url() as other:
        answers = await refused([one, urls[0], other], node)

    assert "cannot be reached" in answers[0]
    assert "too few others" in answers[1]
    assert "cannot be reached" in answers[2]


async def test_one_that_never_answers_does_not_hold_the_others_up(urls: list[str], node: ComputeAsk) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        answers: list[Answer] = []
        slow = f"http://127.0.0.1:{silent.getsockname()[1]}"

        quorum = await asked([slow, *urls[:2]], node, timeout_s=2.0, on_answer=answers.append)

    verified(quorum, 2)
    assert answers[0].detail == "no answer within 2 s"


async def test_one_whose_clock_is_off_refuses_and_two_agree(
    three: tuple[Appraiser, ...], urls: list[str], node: ComputeAsk
) -> None:
    three[1].clock.now_s += 61
    answers: list[Answer] = []

    verified(await asked(urls, node, on_answer=answers.append), 2)
    assert answers[1].detail.startswith("422: clock: expected within 60 s")
    assert "clock" in (await refused(urls, node, need=3))[1]


async def test_one_that_lies_about_units_is_found_out(policy: Policy, urls: list[str], node: ComputeAsk) -> None:
    def more(answer: dict[str, object]) -> dict[str, object]:
        return signed_anew(answer, KEYS[2], units="9000000")

    with listening(appraiser_of(KEYS[2], [policy]), lying(more)) as liar:
        answers: list[Answer] = []
        verified(await asked([*urls[:2], liar.url], node, on_answer=answers.append), 2)
        assert answers[2].detail == "units: asked for 1000000, signed 9000000"
        assert "units" in (await refused([*urls[:2], liar.url], node, need=3))[2]


async def test_one_with_another_policy_disagrees_and_is_told_where(
    policy: Policy, urls: list[str], node: ComputeAsk
) -> None:
    laxer = replace(policy, clock_tolerance_s=3_600)
    with listening(appraiser_of(KEYS[2], [laxer])) as other:
        answers: list[Answer] = []
        verified(await asked([*urls[:2], other.url], node, on_answer=answers.append), 2)

        assert not answers[2].agreed
        assert answers[2].detail.endswith("differs from the others' in checks, policy")
        assert len(await refused([urls[0], other.url], node)) == 2


async def test_one_that_is_no_appraiser_of_the_ledger_does_not_count(
    policy: Policy, urls: list[str], node: ComputeAsk
) -> None:
    with listening(appraiser_of(STRANGERS_KEY, [policy])) as stranger:
        answers = await refused([urls[0], stranger.url], node)

    assert answers[1].startswith(f"signed by {address_text(stranger.address)}, which is no appraiser")


async def test_one_appraiser_at_two_addresses_counts_once(policy: Policy, urls: list[str], node: ComputeAsk) -> None:
    with listening(appraiser_of(KEYS[0], [policy])) as twin:
        answers = await refused([urls[0], twin.url], node)
        verified(await asked([urls[0], twin.url, urls[1]], node), 2)

    assert answers[1] == f"signs with the key of {urls[0]}"


LIES: dict[str, tuple[str, Change]] = {
    "other_result": ("its result is not the one", lambda a: {**a, "result": {**a["result"], "units": 1}}),  # type: ignore[dict-item]
    "other_registrant": ("registrant: asked", lambda a: signed_anew(a, KEYS[0], registrant=address_text(bytes(20)))),
    "longer": ("expires_at: asked for", lambda a: signed_anew(a, KEYS[0], expiresAt=str(NOW_S + 999_999))),
    "other_key": ("meter_key_x: asked for", lambda a: signed_anew(a, KEYS[0], meterKeyX="0x" + "00" * 32)),
    "other_content": ("content_hash: asked for", lambda a: signed_anew(a, KEYS[0], contentHash="0x" + "00" * 32)),
    "signature_cut": ("a signature of 65 bytes", lambda a: {**a, "signature": str(a["signature"])[:-2]}),
    "signature_of_another": ("no appraiser", lambda a: {**a, "signature": "0x" + "11" * 64 + "1b"}),
    "statement_cut": ("appraisal: 'deadline'", lambda a: {**a, "appraisal": {"classId": "0x" + "00" * 32} | {
        k: v for k, v in a["appraisal"].items() if k != "deadline"}}),  # type: ignore[attr-defined]
    "statement_more": ("appraisal: expected exactly", lambda a: {**a, "appraisal": {**a["appraisal"], "x": "1"}}),  # type: ignore[dict-item]
    "statement_number": ("appraisal: expected uint64 as text", lambda a: {
        **a, "appraisal": {**a["appraisal"], "units": 1}}),  # type: ignore[dict-item]
    "statement_list": ("appraisal: expected an object", lambda a: {**a, "appraisal": []}),
    "no_result": ("expected a result", lambda a: {**a, "result": None}),
    "no_signature": ("signature: expected text", lambda a: {**a, "signature": None}),
}  # fmt: skip


@pytest.fixture(scope="module")
def liar(policy: Policy) -> Iterator[tuple[str, list[Change]]]:
    """A running appraiser, and the lie that it tells."""
    lie: list[Change] = []
    with listening(appraiser_of(KEYS[0], [policy]), lying(lambda answer: lie[-1](answer))) as appraiser:
        yield appraiser.url, lie


@pytest.mark.parametrize("defect", LIES)
async def test_answer_that_is_not_what_was_asked_counts_for_nothing(
    defect: str, liar: tuple[str, list[Change]], node: ComputeAsk
) -> None:
    message, change = LIES[defect]
    liar[1].append(change)

    answers = await refused([liar[0]], node, need=1)

    assert message in answers[0]


async def test_wrong_class_is_refused_by_all_with_the_check(urls: list[str], node: ComputeAsk) -> None:
    h100 = replace(node, terms=replace(node.terms, class_name="compute/h100-sxm"))

    answers = await refused(urls, h100)

    assert answers == ["422: product class: H200: expected compute/h200-sxm, got compute/h100-sxm"] * 3


async def test_dataset_beyond_the_cap_is_refused_by_all(urls: list[str], dataset: ContentAsk) -> None:
    (dataset.location / "big").write_bytes(bytes((1 << 20) + 1))

    answers = await refused(urls, replace(dataset, manifest=hash_path(dataset.location)))

    assert answers == ["413: upload: expected at most 1048576 bytes in all files"] * 3


async def test_dataset_that_changed_since_it_was_hashed_is_not_appraised(urls: list[str], dataset: ContentAsk) -> None:
    (dataset.location / "a.txt").write_bytes(b"two")

    answers = await refused(urls, dataset)

    assert all(answer.startswith("content_hash: asked for") for answer in answers)
    (dataset.location / "a.txt").unlink()
    assert all("No such file" in answer for answer in await refused(urls, dataset))


async def test_error_of_the_evidence_is_the_callers_own(urls: list[str], node: ComputeAsk) -> None:
    async def broken(nonce: bytes) -> Sequence[GpuEvidence]:
        raise RuntimeError("no driver")

    with pytest.raises(RuntimeError, match="no driver"):
        await asked(urls, replace(node, evidence=broken))


async def test_quorum_that_cannot_be_is_one_clear_error(urls: list[str], node: ComputeAsk) -> None:
    calls: list[Awaitable[Quorum]] = [
        asked(urls[:1], node), asked([urls[0]] * 2, node), asked(urls, node, need=0),
        asked(urls, replace(node, meter_key=b"\x01" * 64)),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(BadInput):
            await call
    assert (await refused(["http://127.0.0.1:1", "no url"], node))[1].startswith("cannot be reached")


def test_a_providers_side_imports_no_server_chain_or_database() -> None:
    code = (
        "import sys, commonhold.appraiser.quorum, commonhold.appraiser.manifest;"
        "print({name.partition('.')[0] for name in sys.modules} & {'fastapi', 'starlette', 'web3', 'sqlalchemy'})"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout == "set()\n"
