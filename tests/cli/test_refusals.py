"""Every mistake at the command line is one clear line on standard error and a non-zero exit; nothing is written."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

import pytest
import pytest_asyncio

from commonhold import keyfile
from commonhold.chain.deployment import Deployment
from tests.actors import Deployed, key_of
from tests.cli.conftest import Run


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "wallet.key"
    keyfile.write_wallet(path)
    return path


@pytest.fixture
def dead_url() -> str:
    """Where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def deployment_file(tmp_path: Path, deployed: Deployed) -> Path:
    path = tmp_path / "deployment.json"
    deployed.deployment.save(path)
    return path


@pytest_asyncio.fixture
async def http_answer() -> AsyncIterator[Callable[[int, str], Awaitable[str]]]:
    """URL of a server that is no service: it has one answer to everything."""
    servers: list[asyncio.Server] = []

    async def start(status: int, body: str) -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: text/html\r\nConnection: close"
            writer.write(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            await writer.drain()
            writer.close()

        servers.append(await asyncio.start_server(answer, "127.0.0.1", 0))
        return f"http://127.0.0.1:{servers[0].sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


def one_line(text: str) -> str:
    assert text.strip().count("\n") == 0, text
    return text.strip()


@pytest.mark.parametrize(
    "command",
    [
        *(
            "demo",
            "serve",
            "member",
            "asset",
            "credits",
            "redeem",
            "call",
            "audit",
            "export",
            "appraiser",
            "node",
            "key",
        ),
        "deploy",
    ],
)
def test_every_command_explains_itself(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")

    assert code == 0
    assert "Usage" in out


def test_help_lists_the_commands(run: Run) -> None:
    code, out, _ = run("--help")

    assert code == 0
    assert all(name in out for name in ("demo", "serve", "member", "asset", "credits", "redeem", "call", "audit"))


def test_an_unknown_command_is_refused(run: Run) -> None:
    code, _, err = run("frobnicate")

    assert code == 2
    assert "No such command" in err


def test_a_missing_key_file_is_named(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "nobody.key"

    code, _, err = run("key", "show", missing)

    assert code == 1
    assert one_line(err) == f"error: key file {missing}: not found; `commonhold key new {missing}` makes one"


def test_a_key_file_that_others_may_read_is_refused(run: Run, key: Path) -> None:
    key.chmod(0o644)

    code, _, err = run("key", "show", key)

    assert code == 1
    assert "others may read it (mode 644), expected mode 600" in one_line(err)


def test_a_key_is_never_overwritten(run: Run, key: Path) -> None:
    before = key.read_bytes()

    code, _, err = run("key", "new", key)

    assert code == 1
    assert "exists already" in one_line(err)
    assert key.read_bytes() == before


def test_no_message_shows_a_key(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "short.key"
    path.write_text("c0ffee" * 3)
    path.chmod(0o600)

    code, _, err = run("key", "show", path)

    assert code == 1
    assert "expected 64 hexadecimal digits" in one_line(err)
    assert "c0ffee" not in err


def test_errors_can_be_read_by_a_script(run: Run, tmp_path: Path) -> None:
    code, _, err = run("key", "show", tmp_path / "nobody.key", "--json")

    assert code == 1
    assert json.loads(err)["code"] == "bad_key_file"


def test_a_missing_deployment_file_is_named(run: Run, tmp_path: Path) -> None:
    code, _, err = run("audit", "--deployment", tmp_path / "none.json")

    assert code == 1
    assert "none.json" in one_line(err)


async def test_an_unreachable_rpc_is_named(run: Run, deployment_file: Path, dead_url: str) -> None:
    code, _, err = await asyncio.to_thread(run, "audit", "--deployment", deployment_file, "--rpc", dead_url)

    assert code == 1
    assert dead_url.removeprefix("http://").split(":")[0] in one_line(err)


def test_an_unreachable_service_is_named(run: Run, dead_url: str) -> None:
    code, _, err = run("member", "list", "--service", dead_url)

    assert code == 1
    assert dead_url in one_line(err)


@pytest.mark.parametrize("url", ["localhost:8000", "http://[", "http://127.0.0.1:99999", "ftp://127.0.0.1"])
def test_what_is_no_url_of_a_service_is_named(run: Run, url: str) -> None:
    code, _, err = run("member", "list", "--service", url)

    assert code == 1
    assert one_line(err) == f"error: service {url!r}: expected a URL such as http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, "<html>welcome</html>", "/v1/members: expected JSON of a service, got text/html"),
        (404, '["nothing", "here"]', "answered 404: Not Found"),
    ],
)
async def test_an_answer_of_something_else_is_one_line(
    run: Run, http_answer: Callable[[int, str], Awaitable[str]], status: int, body: str, said: str
) -> None:
    url = await http_answer(status, body)

    code, out, err = await asyncio.to_thread(run, "member", "list", "--service", url)

    assert (code, out) == (1, "")
    assert said in one_line(err)


def test_text_in_brackets_is_shown_as_it_is(run: Run, tmp_path: Path, key: Path) -> None:
    odd = tmp_path / "[bold]odd[" / "x]"
    odd.parent.mkdir()
    missing = run("key", "show", odd)
    key.rename(odd)
    shown = run("key", "show", odd)

    assert (missing[0], shown[0]) == (1, 0)
    assert f"key file {odd}: not found" in one_line(missing[2])
    assert str(odd) in "".join(shown[1].split())  # folded, and all of it


async def test_a_missing_document_is_named(run: Run, deployment_file: Path, key: Path, tmp_path: Path) -> None:
    accounts = ("0x" + "11" * 20, "0x" + "22" * 20)
    files = ("--evidence", tmp_path / "none.pdf", "--out", tmp_path / "out.json", "--key", key)

    code, _, err = run("member", "sign-finding", *accounts, *files, "--deployment", deployment_file)

    assert code == 1
    assert one_line(err) == f"error: evidence {tmp_path / 'none.pdf'}: No such file or directory"
    assert not (tmp_path / "out.json").exists()


async def test_a_database_of_another_chain_is_refused(
    run: Run, deployed: Deployed, deployment_file: Path, tmp_path: Path
) -> None:
    from sqlalchemy import update

    from commonhold import db, migrate
    from commonhold.mirror.follow import Follower
    from commonhold.mirror.tables import cursor

    url = f"sqlite:///{tmp_path / 'other.db'}"
    engine = db.make_engine(url)
    await migrate.upgrade(engine)
    await Follower(deployed.rpc, deployed.deployment, engine).step()
    async with db.write(engine) as writer:
        await writer.execute(update(cursor).values(chain_id=1))
    await engine.dispose()

    arguments = ("--rpc", deployed.anvil.url, "--deployment", deployment_file, "--data-dir", tmp_path / "data")
    code, _, err = await asyncio.to_thread(run, "serve", *arguments, "--database-url", url, "--port", "0")

    assert code == 1
    assert "expected" in one_line(err)
    assert "chain" in err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--rpc-quorum", "2"), "RPC quorum of 2: expected at least 1, and as many endpoints, got 1"),
        (("--rpc-quorum", "0"), "setting rpc_quorum"),
        (("--spot-checks", "5", "--no-verify-logs"), "spot checks prove storage against headers"),
        (("--redeem-tier", "soon"), "setting redeem_tier"),
    ],
)
async def test_a_service_that_could_not_keep_its_word_is_not_started(
    run: Run, deployed: Deployed, deployment_file: Path, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    arguments = ("--rpc", deployed.anvil.url, "--deployment", deployment_file, "--data-dir", tmp_path / "data")
    database = ("--database-url", f"sqlite:///{tmp_path / 'service.db'}", "--port", "0")
    code, _, err = await asyncio.to_thread(run, "serve", *arguments, *database, *options)

    assert code == 1
    assert reason in one_line(err)


async def test_a_deployment_of_another_chain_is_refused(run: Run, deployed: Deployed, tmp_path: Path) -> None:
    d = deployed.deployment
    values = {name: getattr(d, name) for name in Deployment.__slots__} | {"chain_id": 1}
    Deployment(**values).save(tmp_path / "mainnet.json")

    code, _, err = await asyncio.to_thread(
        run, "audit", "--deployment", tmp_path / "mainnet.json", "--rpc", deployed.anvil.url
    )

    assert code == 1
    assert "31337" in one_line(err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("asset", "transfer", "12x", "0x" + "11" * 20, "1"), "expected a decimal number"),
        (("asset", "transfer", "12", "0x1234", "1"), "expected 0x and 40 hexadecimal digits"),
        (("asset", "transfer", "12", "0x" + "11" * 20, "1.1234567"), "at most 6 decimals"),
        (("credits", "buy", "nonsense", "5", "--max-price", "1"), "expected a decimal number"),
    ],
)
async def test_wrong_arguments_say_what_was_expected(
    run: Run, deployed: Deployed, deployment_file: Path, key: Path, arguments: tuple[str, ...], said: str
) -> None:
    connection = ("--key", key, "--rpc", deployed.anvil.url, "--deployment", deployment_file)

    code, _, err = await asyncio.to_thread(run, *arguments, *connection)

    assert code == 1
    assert said in one_line(err)


def test_a_wrong_setting_is_named(run: Run) -> None:
    code, _, err = run("serve", "--tier", "newest")

    assert code == 1
    assert "setting tier" in one_line(err)


async def test_a_statement_for_another_deployment_is_refused(
    run: Run, deployed: Deployed, deployment_file: Path, tmp_path: Path, key: Path
) -> None:
    signed = tmp_path / "admission.json"
    member = "0x" + "11" * 20
    attester = tmp_path / "attester.key"
    attester.write_text(key_of("attester0").hex())
    attester.chmod(0o600)
    sign = ("member", "sign-admission", member, "--identity", "LEI 1", "--out", signed, "--key", attester)
    code, _, err = await asyncio.to_thread(run, *sign, "--deployment", deployment_file)
    assert code == 0, err
    body = json.loads(signed.read_text())
    body["domain"]["chainId"] = 1
    signed.write_text(json.dumps(body))

    code, _, err = await asyncio.to_thread(
        run, "member", "admit", signed, "--key", key, "--rpc", deployed.anvil.url, "--deployment", deployment_file
    )

    assert code == 1
    assert "another chain or contract" in one_line(err)


async def test_a_port_that_is_taken_is_named(
    run: Run, deployed: Deployed, deployment_file: Path, tmp_path: Path
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        arguments = ("--rpc", deployed.anvil.url, "--deployment", deployment_file, "--data-dir", tmp_path / "data")
        code, _, err = await asyncio.to_thread(
            run, "serve", *arguments, "--database-url", f"sqlite:///{tmp_path / 'new.db'}", "--port", port
        )

    assert code == 1
    assert f"cannot listen on 127.0.0.1:{port}" in one_line(err)
    assert not (tmp_path / "new.db").exists()


def test_a_folder_that_cannot_be_written_is_named(run: Run) -> None:
    code, _, err = run("demo", "--folder", "/proc/nothing")

    assert code == 1
    assert "/proc/nothing" in one_line(err)


@pytest.mark.parametrize("credit", ["1", "nonsense"])
def test_a_redemption_that_cannot_begin_writes_nothing(
    run: Run, tmp_path: Path, key: Path, dead_url: str, credit: str
) -> None:
    wallet = tmp_path / "nobody.key" if credit == "1" else key
    files = ("--lease", tmp_path / "lease.json", "--session-key", tmp_path / "session.pem")

    code, _, err = run("redeem", credit, 5, "--key", wallet, "--service", dead_url, *files)

    assert code == 1
    assert one_line(err)
    assert not (tmp_path / "session.pem").exists()
