"""The program behind serve.sh: options, signals and exit status around `supervise.serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from scripts import environment
from scripts.serve.arguments import parse_options
from scripts.serve.serve_error import ServeError, Stop
from scripts.serve.stop_signals import raise_stop_on_signals

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "model-archiver" / "requirements.txt")


def main() -> int:
    """Exit status: 0 stopped by a signal, 1 it cannot serve (one line on stderr says why), 2 a bad option."""
    called_from = Path(os.environ.get("SERVE_CALLED_FROM") or Path.cwd())
    # Help and bad options need nothing installed.
    options = parse_options(sys.argv[1:], os.environ, ROOT, called_from)
    raise_stop_on_signals()
    try:
        if options.dry_run and (missing := environment.not_installed(REQUIREMENTS)):
            print(f"would install {', '.join(missing)} and go on from there; nothing was done (--dry-run)")
            return 0
        python = environment.ensure_environment(REQUIREMENTS, environment.has_gpu())
        if python != Path(sys.executable):  # a .venv that was not active
            os.execv(python, [str(python), "-m", "scripts.serve", *sys.argv[1:]])
        # Imported late, because they need the requirements.
        from scripts.serve.supervise import serve
        from scripts.serve.tuning import run_search

        if options.tune:
            run_search(options, ROOT, called_from)
        serve(options, ROOT, called_from)
    except (ServeError, environment.EnvironmentFailure) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename or 'a file of the server'}")
    except Stop:
        print("serve.sh: stopped", file=sys.stderr)
    return 0


def _fail(reason: str) -> int:
    print(f"serve.sh: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
