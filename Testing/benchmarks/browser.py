"""The page in a browser: how fast it answers, and pictures of it, by a real chromium on this computer.

    python Testing/benchmarks/browser.py                                # times, as a table for docs/browser.md
    python Testing/benchmarks/browser.py --pictures docs/images         # and pictures at three widths, light and dark

From a drag to new numbers: from the moment at which chromium hands the page a move of the mouse to the moment at which
the table of measurements has other text. Needs the extras serve and test, and chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from FetusMapV2Lib.phantom.simulated_case import simulate_case, write_case

#: Width, height and colour scheme of the pictures.
PICTURES = {
    "browser-1280": (1280, 800, "light"),
    "browser-1920-dark": (1920, 1080, "dark"),
    "browser-tablet": (820, 1180, "light"),
    "browser-tablet-dark": (820, 1180, "dark"),
}
LONG = 300_000
MOVES = 60
#: Notes when the mouse moves and when the table of measurements changes.
_WATCH = """() => {
  window.fmMoved = 0; window.fmTimes = [];
  document.addEventListener("mousemove", () => { window.fmMoved = performance.now(); }, true);
  new MutationObserver(() => {
    if (window.fmMoved) { window.fmTimes.push(performance.now() - window.fmMoved); window.fmMoved = 0; }
  }).observe(document.querySelector(".fm-measurements"), {subtree: true, characterData: true, childList: true});
}"""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of `fetusmap serve FOLDER`."""
    command = [sys.executable, "-m", "FetusMapV2Lib.cli", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None
        try:
            yield found[0]
        finally:
            server.terminate()


def opened(page: Page, address: str) -> dict[str, float]:
    """Open the page, its first case, and estimate; seconds of each."""
    times = {}
    started = time.perf_counter()
    page.goto(address)
    page.locator("tr.case").first.wait_for(timeout=LONG)
    times["open the page"] = time.perf_counter() - started
    started = time.perf_counter()
    page.locator("tr.case").first.click()
    page.get_by_text("case-0000", exact=True).first.wait_for(timeout=LONG)
    page.wait_for_function("!document.querySelector('.fm-patient').textContent.includes('No volume')", timeout=LONG)
    times["open a volume"] = time.perf_counter() - started
    for name in ("estimate, engine not started", "estimate, engine warm"):
        started = time.perf_counter()
        page.get_by_role("button", name="Estimate pose").click()
        page.get_by_role("button", name="Cancel").wait_for(timeout=LONG)
        page.get_by_role("button", name="Cancel").wait_for(state="hidden", timeout=LONG)
        times[name] = time.perf_counter() - started
    return times


def drag_times(page: Page, landmark: str, view: str) -> list[float]:
    """Milliseconds from moves of the mouse to new numbers."""
    box = page.locator(f'[data-view="{view}"]').bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.locator("tr.landmark", has_text=landmark).click()
    page.wait_for_timeout(2000)
    page.mouse.move(x - 30, y - 30)
    page.mouse.move(x, y)
    page.wait_for_timeout(500)
    page.mouse.down()
    page.evaluate(_WATCH)
    for step in range(1, MOVES + 1):
        page.mouse.move(x + step, y - step / 2)
        page.wait_for_timeout(100)
    page.mouse.up()
    page.wait_for_timeout(1000)
    times: list[float] = page.evaluate("window.fmTimes")
    page.get_by_role("button", name="Undo").click()
    page.wait_for_timeout(500)
    return times


def take_pictures(browser: Browser, page: Page, folder: Path) -> None:
    """Pictures of an estimated case, with the planes of the fetus in the slices."""
    page.get_by_role("button", name="Planes of the fetus").click()
    page.mouse.move(5, 5)
    for name, (width, height, scheme) in PICTURES.items():
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.get_by_role("button", name="Planes of the fetus").click()
        page.evaluate("window.scrollTo(0, 0); document.querySelector('.fm-panel').scrollTo(0, 0)")
        page.wait_for_timeout(3000)
        page.screenshot(path=str(folder / f"{name}.jpg"), type="jpeg", quality=80)


def main() -> None:
    """Measure, print a table, and take pictures if they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the page")
    parser.add_argument("--spacing-mm", type=float, default=0.5, help="of the simulated volume")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        shape = tuple(round(size * 0.5 / options.spacing_mm) for size in (276, 188, 187))
        case = simulate_case(20260, 0, shape_kji=shape, spacing_mm=options.spacing_mm, style="held-out")
        write_case(folder, case, 0)
        with served(folder) as address:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(LONG)
            print(f"Load of this computer: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            print(f"| a volume of {' x '.join(map(str, shape[::-1]))} voxels | |\n|---|---|")
            for what, seconds in opened(page, address).items():
                print(f"| {what} | {seconds:.1f} s |")
            for view in ("Green", "Yellow"):
                report(f"from a drag in {view} to new numbers", drag_times(page, "1 Cranial crest", view))
            if options.pictures:
                take_pictures(browser, page, options.pictures)
            browser.close()


def report(what: str, times: list[float]) -> None:
    """One line of the table."""
    if not times:
        print(f"| {what} | nothing was dragged |")
        return
    ordered: list[Any] = sorted(times)
    tenth = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
    text = f"median {statistics.median(ordered):.0f} ms, 90 % within {tenth:.0f} ms, at most {ordered[-1]:.0f} ms"
    print(f"| {what} | {text} ({len(ordered)} moves) |")


if __name__ == "__main__":
    main()
