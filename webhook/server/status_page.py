"""The page at /status: HTML of a Status, without scripts and without anything loaded from elsewhere."""

import asyncio
from collections.abc import Iterable
from html import escape
from typing import Final, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from webhook.admission.quota_use import NamespaceUse, QuotaUse, ResourceUse
from webhook.server.certificate import ServingCertificate
from webhook.server.state import State
from webhook.server.status import Status, as_json, status

HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "cache-control": "no-store",
}
Panel: TypeAlias = tuple[str, str]  # title and HTML
STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 0.75rem; }
h1 { font-size: 1.4rem; }
h2 { font-size: 1.1rem; margin: 1.75rem 0 0.5rem; }
h3 { font-size: 1rem; margin: 0 0 0.25rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: 600; padding: 0.25rem 0; }
th, td { text-align: left; padding: 0.25rem 0.5rem 0.25rem 0; border-top: 1px solid var(--line); vertical-align: top; }
th, td, dd, h3, li { overflow-wrap: anywhere; }
td:first-child, th:first-child { min-width: 7rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
.namespace { border: 1px solid var(--line); border-radius: 6px; padding: 0.75rem; margin: 0.75rem 0; }
.problem { border-left: 4px solid #c33; padding-left: 0.5rem; }
meter { width: 100%; height: 1rem; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: 0.2rem 1rem; margin: 0; }
dd { margin: 0; }
@media (max-width: 40rem) {
  .namespace tr { display: grid; grid-template-columns: repeat(3, 1fr); }
  .namespace tr > :first-child { grid-column: 1 / -1; }
  .number { overflow-wrap: anywhere; }
}
"""


def status_routes(state: State, serving: ServingCertificate) -> list[Route]:
    """Return the routes of /status and /status.json; a thread makes their answers, for there may be many quotas."""

    async def html(_: Request) -> Response:
        return HTMLResponse(await asyncio.to_thread(lambda: page(status(state, serving))), headers=HEADERS)

    async def json(_: Request) -> Response:
        body = await asyncio.to_thread(lambda: msgspec.json.encode(as_json(status(state, serving))))
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

    return [Route("/status", html), Route("/status.json", json)]


def page(shown: Status) -> str:
    """Return the page; every name in it is escaped."""
    sections = (_decisions(shown), _refusals(shown), _by_use(shown), _namespaces(shown), _policy(shown), _health(shown))
    body = "\n".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>flyte-admission</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>flyte-admission</h1>
<p>This replica at <time>{escape(shown.time)}</time>{", draining" if shown.draining else ""}.
The same data: <a href="status.json">status.json</a>.</p></header>
<main>
{body}
</main>
</body>
</html>
"""


def _decisions(shown: Status) -> Panel:
    rows = [(each.outcome, each.reason or "-", _Number(each.count)) for each in shown.last_hour]
    return "Decisions of the last hour", _table(("outcome", "reason", _Number("reviews")), rows)


def _refusals(shown: Status) -> Panel:
    rows = [
        (it.time, f"{it.namespace}/{it.pod}", f"{it.outcome}{' (dry run)' * it.dry_run}: {it.message}")
        for it in shown.refusals
    ]
    return "Latest refusals", _table(("time", "Pod", "message"), rows)


def _by_use(shown: Status) -> Panel:
    rows = [
        (it.project or it.namespace, it.domain or "-", it.fullest.name, _Number(f"{it.fullest.percent} %"))
        for it in shown.namespaces
    ]
    return "Projects and domains by use", _table(("project", "domain", "fullest resource", _Number("used")), rows)


def _namespaces(shown: Status) -> Panel:
    sections = "".join(map(_namespace, shown.namespaces)) or "<p>No namespace has a ResourceQuota.</p>"
    left_out = shown.namespaces_left_out
    more = f"<p>And {left_out} namespaces that are less full.</p>" if left_out else ""
    return "Quotas, the fullest namespace first", sections + more


def _namespace(each: NamespaceUse) -> str:
    whose = f" (project {escape(each.project or '-')}, domain {escape(each.domain or '-')})"
    tables = "".join(
        f"<table><caption>{escape(quota.name)}{escape(_scoped(quota))}</caption>"
        '<tr><th>resource</th><th class="number">used</th><th class="number">hard</th><th class="number">free</th></tr>'
        f"{''.join(map(_amount, quota.resources))}</table>"
        for quota in each.quotas
    )
    more = (
        f"<p>Largest task that fits now: {escape(each.fits_now or 'none')}<br>"
        f"with nothing else running: {escape(each.fits_ever or 'none')}</p>"
    )
    return f'<section class="namespace"><h3>{escape(each.namespace)}{whose}</h3>{tables}{more}</section>'


def _scoped(quota: QuotaUse) -> str:
    return f" (counts only Pods of {', '.join(quota.scopes)})" if quota.scopes else ""


def _amount(amount: ResourceUse) -> str:
    percent, label = amount.percent, escape(f"{amount.name}: {amount.used} of {amount.hard} used", quote=True)
    meter = f'<meter max="100" low="80" high="95" optimum="0" value="{percent}" aria-label="{label}">{percent}%</meter>'
    numbers = "".join(
        f'<td class="number">{escape(text)}</td>' for text in map(str, (amount.used, amount.hard, amount.free))
    )
    return f"<tr><td>{escape(amount.name)}<br>{meter}</td>{numbers}</tr>"


def _policy(shown: Status) -> Panel:
    policy = shown.policy
    problem = (
        f'<p class="problem">The file as it is now is not in use: {escape(policy.problem)}</p>'
        if policy.problem
        else ""
    )
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in policy.warnings)
    facts = _facts((("digest", policy.digest), ("mode", policy.mode), ("warnings", "" if warnings else "none")))
    return "Policy", f"{problem}{facts}<ul>{warnings}</ul>"


def _health(shown: Status) -> Panel:
    cache, certificate = shown.cache, shown.certificate
    facts = [
        ("quotas from", cache.source + ("" if cache.synced else ", not read yet")),
        ("last heard from the API server", "-" if cache.age_seconds is None else f"{cache.age_seconds:g} s ago"),
        *((f"{read} fails", why) for read, why in cache.problems.items()),
        ("certificate valid from", certificate.valid_from),
        ("certificate expires", certificate.expires),
        ("its CA expires", certificate.ca_expires or "not known"),
        *([("not trusted", certificate.untrusted)] if certificate.untrusted else []),
    ]
    return "Cache and certificate", _facts(facts)


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>' for name, text in facts)}</dl>"


class _Number(str):
    """The text of a cell with a number."""

    __slots__ = ()


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    body = "".join(f"<tr>{''.join(_cell('td', text) for text in row)}</tr>" for row in rows)
    if not body:
        return "<p>None.</p>"
    return f"<table><tr>{''.join(_cell('th', text) for text in heads)}</tr>{body}</table>"


def _cell(kind: str, text: str) -> str:
    style = ' class="number"' if isinstance(text, _Number) else ""
    return f"<{kind}{style}>{escape(text)}</{kind}>"
