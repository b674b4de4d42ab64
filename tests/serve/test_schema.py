"""Both dialects against their own description: whatever is asked, right or wrong, no answer is outside it.

That what the description allows is also done is not asked: it cannot say that a text has to be a picture, nor which
sizes a model draws.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.serving import Serving

EXAMPLES = int(os.environ.get("LIMNER_EXAMPLES", "5"))  # of each operation; make stress asks for a hundred, and more
PHASES = "examples,coverage,fuzzing,stateful" if EXAMPLES >= 100 else "fuzzing"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,use_after_free,"
    "ensure_resource_availability"
)


def test_no_answer_is_outside_the_schema(service: Serving, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    command = [
        str(program), "run", f"{service.url}/openapi.json", f"--phases={PHASES}", "--mode=all",
        f"--max-examples={EXAMPLES}", f"--checks={CHECKS}", "--request-timeout=120", "--seed=1", "--no-color",
        "--generation-database=none",
    ]  # fmt: skip
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=3600, check=False)
    print("\n".join(found.stdout.splitlines()[-30:]))
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert service.answers("/healthz/ready")
