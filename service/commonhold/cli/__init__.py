"""The commands. Each group is a file; heavy imports wait until a command needs them, so that --help is quick."""

import os
import sys

os.environ.setdefault("ETH_HASH_BACKEND", "pysha3")  # keccak in C; without it eth-hash takes a 7 times slower one

import typer

from commonhold.cli import (
    appraiser,
    asset,
    audit,
    commons,  # noqa: F401, more commands of `asset`
    council,
    credits,
    demo,
    deploy,
    developer,
    digest,
    export,
    groups,  # noqa: F401, more commands of `member`
    key,
    lease,
    member,
    mirror,
    node,
    revenue,  # noqa: F401, more commands of `asset`
    serve,
    settings,
)
from commonhold.cli.common import fail
from commonhold.errors import BadInput, CommonholdError

app = typer.Typer(
    name="commonhold",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="A compute ownership ledger and a tokenized access service. Start with `commonhold demo`.",
)
app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.add_typer(member.app, name="member")
app.add_typer(asset.app, name="asset")
app.add_typer(credits.app, name="credits")
app.add_typer(lease.app, name="lease")
app.add_typer(council.app, name="council")
app.add_typer(settings.app, name="settings")
app.add_typer(settings.signers_app, name="signers")
app.command("redeem")(developer.redeem)
app.command("call")(developer.call)
app.command("audit")(audit.audit)
app.command("digest")(digest.digest)
app.add_typer(mirror.app, name="mirror")
app.command("export")(export.export)
app.add_typer(appraiser.app, name="appraiser")
app.add_typer(node.app, name="node")
app.add_typer(key.app, name="key")
app.command("deploy")(deploy.deploy)
app.add_typer(deploy.app, name="deployment")


def main() -> None:
    """Runs a command; whatever is refused is one clear line and exit code 1."""
    try:
        app()
    except CommonholdError as error:
        fail(error, as_json="--json" in sys.argv)
    except OSError as error:
        if error.filename is None:  # not a file that was named to us: a defect, which needs its traceback
            raise
        fail(BadInput(f"file {error.filename}: {error.strerror}"), as_json="--json" in sys.argv)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
