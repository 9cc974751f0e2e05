"""A real headless browser, and pages in it whose complaints and requests are noted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 120_000


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A page of a browser.

    Args:
        page: The page.
        problems: What it complained of: errors and warnings of its console, errors that nobody
            caught, requests that failed.
        requests: The addresses that it asked for.
    """

    page: Page
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start a browser; skip the test where there is none."""
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"there is no browser: no {', '.join(NAMES)}, and CHROMIUM names none")
    with sync_playwright() as playwright:
        # A process of root's has no sandbox to give, and the pages are our own.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(browser: Browser, **context: Any) -> Iterator[Watched]:
    """Open a page.

    Args:
        browser: Where.
        context: What else `Browser.new_context` takes, for example the size of the window.
    """
    opened = browser.new_context(**context)
    page = opened.new_page()
    page.set_default_timeout(PATIENCE_MS)
    watch = Watched(page=page)
    page.on("pageerror", lambda error: watch.problems.append(f"error: {error}"))
    page.on("requestfailed", lambda request: _note_failure(watch, request))
    page.on("request", lambda request: watch.requests.append(request.url))
    page.on("console", lambda message: _note(watch, message.type, message.text))
    try:
        yield watch
    finally:
        opened.close()


def _note_failure(watch: Watched, request: Any) -> None:
    """Note a request that failed; one that the page gave up when it went elsewhere did not."""
    if "ERR_ABORTED" not in str(request.failure):
        watch.problems.append(f"failed: {request.url}")


def _note(watch: Watched, kind: str, text: str) -> None:
    if kind in ("error", "warning"):
        watch.problems.append(f"{kind}: {text}")
