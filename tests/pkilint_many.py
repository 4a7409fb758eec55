"""Lints many files in one Python process, because starting Python and pkilint takes longer than linting.

Reads lines "KIND PATH" from standard input, KIND one of cert, crl, arl, ocsp. For each it runs pkilint's own command line
(the same that a person would type) and prints one line of JSON: {"path": ..., "findings": [{"severity", "code", "message",
"node"}]}. A file that pkilint cannot load is an error of the whole run. Severities below WARNING are left out.
"""

import contextlib
import io
import json
import sys

from pkilint.bin import lint_crl, lint_ocsp_response, lint_pkix_cert

COMMON = ["-s", "WARNING", "-f", "JSON"]
COMMANDS = {
    "cert": (lint_pkix_cert.main, ["lint"]),
    "crl": (lint_crl.main, ["lint", "-t", "CRL", "-p", "PKIX"]),
    "arl": (lint_crl.main, ["lint", "-t", "ARL", "-p", "PKIX"]),
    "ocsp": (lint_ocsp_response.main, ["lint"]),
}


def lint(kind, path):
    main, arguments = COMMANDS[kind]
    printed, complaints = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaints):
        main([*arguments, *COMMON, path])
    if not printed.getvalue().strip():
        sys.exit(f"{path}: {complaints.getvalue().strip()}")
    for result in json.loads(printed.getvalue())["results"]:
        for finding in result["finding_descriptions"]:
            yield {
                "severity": finding["severity"],
                "code": finding["code"],
                "message": finding.get("message") or "",
                "node": result["node_path"],
            }


for line in sys.stdin:
    kind, path = line.rstrip("\n").split(" ", 1)
    print(json.dumps({"path": path, "findings": list(lint(kind, path))}), flush=True)
