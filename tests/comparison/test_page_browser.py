"""The page in headless Chromium: no error, no request, sorting, filtering, tooltips, keyboard, phone width."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stage_records import HOSTILE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the test extra)")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


class Visit:
    """An open page that remembers what it printed, asked for and raised."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        self.page = browser.new_context(**context).new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def names(self) -> list[str]:
        return list(self.page.locator("#rows tbody tr:visible .title").all_inner_texts())


@pytest.fixture
def visit(browser: Any, full_page: Path) -> Iterator[Visit]:
    opened = Visit(browser, full_page, viewport={"width": 1360, "height": 900})
    yield opened
    opened.page.context.close()


def test_no_error_and_no_request(visit: Visit) -> None:
    visit.page.mouse.wheel(0, 20_000)
    visit.page.wait_for_timeout(200)
    assert visit.said == []
    assert [url for url in visit.asked if not url.startswith(("file:", "data:"))] == []


def test_a_hostile_name_stays_text(visit: Visit) -> None:
    assert visit.page.locator("h1").inner_text() == HOSTILE
    assert HOSTILE in visit.names()
    assert visit.page.locator("main img").count() == 0
    assert visit.page.locator("script").count() == 1


def test_headings_sort_both_ways_and_say_so(visit: Visit) -> None:
    heading = visit.page.locator("#rows thead th", has_text="Latency").first
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    upwards = visit.names()
    assert upwards[0] == "cnn q2"
    assert upwards[-1] == "onnxruntime float16 tensorrt"  # no figure: last, either way
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert visit.names()[0] == "keras float32"
    assert visit.names()[-1] == "onnxruntime float16 tensorrt"


def test_where_more_is_better_the_best_comes_first(visit: Visit) -> None:
    visit.page.locator("#rows thead th", has_text="Accuracy").last.locator("button").click()
    assert visit.names()[0] == "keras float32"


def test_filter_by_text_family_and_front(visit: Visit) -> None:
    visit.page.fill("#filter", "cnn resource")
    assert visit.names() == ["cnn q8", "cnn q6", "cnn q4", "cnn q2"]
    visit.page.fill("#filter", "")
    visit.page.uncheck("input.family[value='FPGA design']")
    assert visit.names() == ["keras float32", "onnxruntime int8", "onnxruntime float16 tensorrt"]
    visit.page.check("input.family[value='FPGA design']")
    visit.page.check("#front")
    assert "onnxruntime float16 tensorrt" not in visit.names()
    assert "rows" in visit.page.locator("#shown").inner_text()


def test_intervals_and_ratios_on_request(visit: Visit) -> None:
    for name in ("interval", "ratio"):
        assert not visit.page.locator(f"#rows td .{name}").first.is_visible()
        visit.page.check(f"#{name}s")
        assert visit.page.locator(f"#rows td .{name}").first.is_visible()


def test_a_mark_shows_its_figures(visit: Visit) -> None:
    visit.page.locator("#chart-accuracy_lut .wide path[aria-label^='cnn q6']").hover()
    tip = visit.page.locator("#tip")
    assert tip.is_visible()
    shown = tip.inner_text()
    assert shown.startswith("cnn q6\n")
    assert "LUT: 12,060 (model" in shown
    assert "Accuracy:" in shown
    visit.page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_a_cell_shows_its_note(visit: Visit) -> None:
    visit.page.locator("#rows tbody tr", has_text="cnn q6").locator("td[data-tip*='estimator 1']").first.hover()
    assert "estimator 1" in visit.page.locator("#tip").inner_text()


def test_a_mark_is_reached_and_followed_by_keyboard(visit: Visit) -> None:
    mark = visit.page.locator("#chart-accuracy_lut .wide a[href='#row-4']").first
    mark.focus()
    assert visit.page.locator("#tip").inner_text().startswith("cnn q6")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_timeout(100)
    assert visit.page.evaluate("document.activeElement.id") == "row-4"


def test_light_and_dark(browser: Any, full_page: Path) -> None:
    for scheme in ("light", "dark"):
        opened = Visit(browser, full_page, color_scheme=scheme)
        colour = "getComputedStyle(document.body).backgroundColor"
        before = opened.page.evaluate(colour)
        assert (before == "rgb(255, 255, 255)") == (scheme == "light")
        opened.page.click("#theme")
        assert opened.page.evaluate(colour) != before
        opened.page.context.close()


@pytest.mark.parametrize("width", [360, 768, 1360])
def test_the_page_never_scrolls_sideways(browser: Any, full_page: Path, width: int) -> None:
    opened = Visit(browser, full_page, viewport={"width": width, "height": 800})
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    narrow = opened.page.locator("#chart-accuracy_lut .narrow").is_visible()
    assert narrow == (width <= 640)
    opened.page.context.close()


def test_works_without_javascript(browser: Any, full_page: Path) -> None:
    opened = Visit(browser, full_page, java_script_enabled=False)
    assert opened.page.locator("#rows tbody tr").count() == 8
    assert opened.page.locator("#chart-accuracy_lut .wide svg").is_visible()
    assert not opened.page.locator(".tools").is_visible()
    opened.page.context.close()


def test_every_control_has_a_name(visit: Visit) -> None:
    unnamed = visit.page.evaluate(
        """[...document.querySelectorAll('button, input, a')].filter(item =>
        !(item.textContent.trim() || item.getAttribute('aria-label') || item.labels?.length ||
          item.querySelector('[aria-label]'))).length"""
    )
    assert unnamed == 0


def test_a_hundred_designs_open_within_two_seconds(browser: Any, hundred_page: Path) -> None:
    milliseconds = []
    for _ in range(3):
        opened = Visit(browser, hundred_page)
        opened.page.wait_for_function("document.readyState === 'complete'")
        milliseconds.append(opened.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
        assert opened.said == []
        assert len(opened.names()) == 101
        opened.page.context.close()
    assert min(milliseconds) < 2000
