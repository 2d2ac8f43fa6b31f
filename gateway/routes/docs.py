"""/docs: the OpenAPI document as a page that needs no script and no other host."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from gateway.openapi.examples import URL

router = APIRouter(include_in_schema=False)

CODE = re.compile(r"`([^`]+)`")
POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><link rel="stylesheet" href="page/style.css"></head>
<body><main><h1>{title}</h1><p>{description} <a href="openapi.json">openapi.json</a></p>
{operations}</main></body></html>
"""


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    address = str(request.base_url).rstrip("/")
    return HTMLResponse(page(request.app.openapi(), address), headers={"Content-Security-Policy": POLICY})


def page(document: dict[str, Any], address: str) -> str:
    """The whole page, with samples that work at this address."""
    operations = [
        "".join(_operation(f"{method.upper()} {path}", operation, address))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    info = document["info"]
    return PAGE.format(
        title=escape(info["title"]),
        description=escape(info.get("description", "")),
        operations="".join(operations),
    )


def _operation(name: str, operation: dict[str, Any], address: str) -> Iterator[str]:
    yield f'<section id="{escape(operation["operationId"])}"><h2><code>{escape(name)}</code></h2>'
    yield f"<p>{_prose(operation.get('description', ''))}</p>"
    for sample in operation.get("x-codeSamples", ()):
        yield f"<pre>{escape(sample['source'].replace(URL, address))}</pre>"
    inputs = [
        (
            parameter["name"],
            f"{parameter['in']}, {_type(parameter['schema'])}",
            parameter.get("description", ""),
        )
        for parameter in operation.get("parameters", ())
    ]
    inputs += _body_inputs(operation.get("requestBody", {}).get("content", {}))
    if inputs:
        yield _table(("Input", "Type", "Meaning"), inputs)
    answers = [
        (status, ", ".join(response.get("content", {})), response.get("description", ""))
        for status, response in operation["responses"].items()
    ]
    yield _table(("Status", "Content", "Meaning"), answers)
    for media_type, content in operation["responses"]["200"].get("content", {}).items():
        for example in _examples(content):
            yield f"<p>{escape(media_type)}</p><pre>{escape(example)}</pre>"
    yield "</section>"


def _body_inputs(content: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Each field once, whatever the kinds of body that have it; where a body is a file alone, its kind."""
    inputs: dict[str, tuple[str, str, str]] = {}
    for kind, body in content.items():
        schema = body["schema"]
        for field, one in schema.get("properties", {f"body, {kind}": schema}).items():
            row = (field, _type(one), one.get("description", ""))
            inputs.setdefault(field.removesuffix("[]"), row)
    return list(inputs.values())


def _examples(content: dict[str, Any]) -> Iterator[str]:
    values = [content["example"]] if "example" in content else []
    values += [named["value"] for named in content.get("examples", {}).values()]
    for value in values:
        yield value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _prose(text: str) -> str:
    """The text with its `code` marked."""
    return CODE.sub(r"<code>\1</code>", escape(text))


def _table(head: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    lines = [
        f"<tr><td><code>{escape(first)}</code></td><td>{escape(second)}</td><td>{_prose(third)}</td></tr>"
        for first, second, third in rows
    ]
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _type(schema: dict[str, Any]) -> str:
    """A schema in one word or two."""
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"{_type(schema['items'])}, several"
    if schema.get("format") == "binary":
        return "file"
    return str(schema.get("type", ""))
