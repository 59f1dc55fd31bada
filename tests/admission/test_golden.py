"""The wire, case by case: what review gets what response under which policy and quotas."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.golden import FILES, GOLDEN, LIMIT_RANGES, Case, cases
from webhook.admission import wire
from webhook.admission.answer import encode
from webhook.admission.constraints import Constraints
from webhook.admission.decide import mutate, validate
from webhook.cli.main import main
from webhook.offline.cases import readable
from webhook.policy.file import load

TODAY = "2026-11-25"
DECIDE = {"/mutate": mutate, "/validate": validate}


def answer(case: Case) -> bytes:
    ledger = case.ledger
    request = wire.decode(case.text("review.json").encode())
    quotas = ledger.quotas(request.namespace, request.meta, resize=request.resize)
    policy = load(case.text("policy.yaml"), "policy.yaml").policy
    return encode(
        request,
        DECIDE[case.endpoint](request, policy, Constraints(quotas, ledger.limit_ranges(request.namespace)), TODAY),
    )


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_review_gets_its_response(case: Case, pytestconfig: pytest.Config) -> None:
    response = readable(answer(case))
    if pytestconfig.getoption("--update-golden"):
        (case.folder / "response.json").write_text(json.dumps(response, indent=2) + "\n")
    assert response == case.response


def test_the_command_line_tests_them_too() -> None:
    result = CliRunner().invoke(main, ["test", str(GOLDEN), "--today", TODAY])
    assert (result.exit_code, result.stdout) == (0, f"{len(cases())} passed\n")


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_case_has_its_four_files_and_no_other(case: Case) -> None:
    assert {file.name for file in Path(case.folder).iterdir()} - {LIMIT_RANGES} == FILES


def test_there_are_cases() -> None:
    assert len(cases()) >= 60
