"""The page in a real browser: Debian's chromium, driven by Playwright; two tabs with two patients."""

from __future__ import annotations

import base64
import contextlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import SimpleITK

from FetusMapV2Lib.imaging.case_search import find_cases
from FetusMapV2Lib.phantom.simulated_case import simulate_case, write_case
from FetusMapV2Lib.presenting.translation import finished_translations
from FetusMapV2Lib.serving.languages import language_for

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Testing" / "packaging"))

import update_translations  # noqa: E402

GERMAN = update_translations.TRANSLATIONS / "FetusMapV2_de.ts"

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright (extra test)")
pytest.importorskip("trame_rca", reason="needs trame (extra serve)")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs chromium (make system-packages)"),
]
#: Milliseconds for whatever is waited for: the start of a process, an estimate, a busy computer.
LONG = 120_000
expect = sync_api.expect
expect.set_options(timeout=LONG)


@pytest.fixture(scope="module")
def address(patients) -> Iterator[str]:
    """The page of `fetusmap serve CASES`, a process of its own as a user starts it."""
    folder = patients[0].volume_path.parent
    command = [sys.executable, "-m", "FetusMapV2Lib.cli", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            line = server.stdout.readline()
            yield re.search(r"http://\S+", line)[0]
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def browser(address) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        # small, and without moving decoration, since views and page are drawn by the CPU
        context = running.new_context(
            viewport={"width": 1100, "height": 640}, reduced_motion="reduce", accept_downloads=True
        )
        context.set_default_timeout(LONG)
        yield context
        running.close()


@pytest.fixture(scope="module")
def tab(browser, address) -> Any:
    """A tab in which the first case is open; the tests go on with it, one after the other, as a user does."""
    return opened(browser, address, "case-0000")


def opened(browser: Any, address: str, name: str) -> Any:
    """A new tab with a case of the work list."""
    page = browser.new_page()
    page.goto(address)
    page.locator("tr.case", has_text=name).click()
    expect(page.locator(".fm-patient")).to_have_text(name)
    expect(page.get_by_role("button", name="Estimate pose")).to_be_enabled()  # until then clicks open no other case
    return page


def estimate(page: Any) -> None:
    page.get_by_role("button", name="Estimate pose").click()
    expect(page.locator(".fm-line")).to_contain_text("CRL")


def line_of(page: Any) -> str:
    return page.locator(".fm-line").inner_text()


def landmark(page: Any, name: str) -> Any:
    return page.locator("tr.landmark", has_text=name)


def drag(page: Any, name: str, view: str) -> None:
    """Drag a landmark by the mouse; selecting it puts it into the middle of the views, once these are drawn."""
    box = page.locator(f'[data-view="{view}"]').bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    landmark(page, name).click()
    deadline = time.monotonic() + LONG / 1000
    while "edited" not in landmark(page, name).inner_text():
        assert time.monotonic() < deadline, "the landmark cannot be dragged"
        page.mouse.move(x - 40, y - 40)
        page.mouse.move(x, y)
        page.mouse.down()
        for step in range(1, 5):
            page.mouse.move(x + 10 * step, y - 5 * step)
        page.mouse.up()
        with contextlib.suppress(AssertionError):
            expect(landmark(page, name)).to_contain_text("edited", timeout=1000)


def drop(page: Any, *paths: Path) -> None:
    """Drop files on the page."""
    files = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
    page.evaluate(
        """files => {
            const transfer = new DataTransfer();
            for (const [name, content] of files)
                transfer.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], name));
            window.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, cancelable: true}));
        }""",
        files,
    )


def test_an_estimate_is_cancelled_and_the_page_is_as_it_was(tab) -> None:
    tab.get_by_role("button", name="Estimate pose").click()
    tab.get_by_role("button", name="Cancel").click()
    expect(tab.locator(".fm-message")).to_contain_text("Cancelled")
    expect(tab.locator(".fm-line")).to_contain_text("No result yet")
    expect(tab.get_by_role("button", name="Estimate pose")).to_be_enabled()


def test_a_pose_is_shown_dragged_undone_and_confirmed(tab) -> None:
    estimate(tab)
    estimated = line_of(tab)
    assert re.search(r"CRL \d+\.\d ± \d+\.\d mm · \d+w\d", estimated)
    assert tab.locator("tr.landmark").count() == 22
    drag(tab, "1 Cranial crest", "Green")
    assert line_of(tab) != estimated
    tab.get_by_role("button", name="Undo").click()
    expect(landmark(tab, "1 Cranial crest")).to_contain_text("estimated")
    expect(tab.locator(".fm-line")).to_have_text(estimated)
    tab.keyboard.press("Control+y")
    expect(landmark(tab, "1 Cranial crest")).to_contain_text("edited")
    tab.get_by_role("button", name="Confirm").click()
    expect(landmark(tab, "1 Cranial crest")).to_contain_text("confirmed")
    tab.get_by_role("button", name="Missing").click()
    expect(landmark(tab, "1 Cranial crest")).to_contain_text("missing")
    landmark(tab, "10 Rump").click()
    tab.locator(".fm-line a", has_text="CRL missing").click()  # leads to the end that is missing
    expect(landmark(tab, "1 Cranial crest")).to_have_class(re.compile("selected"))
    tab.get_by_role("button", name="Place").click()
    expect(tab.locator(".fm-message")).to_contain_text("Click in a view where Cranial crest is")
    tab.keyboard.press("Escape")
    expect(landmark(tab, "1 Cranial crest")).to_contain_text("missing")
    tab.get_by_role("button", name="Place").click()
    expect(tab.get_by_role("button", name="Click in a view")).to_be_visible()
    tab.locator('[data-view="Green"]').click(position={"x": 150, "y": 120})
    expect(landmark(tab, "1 Cranial crest")).to_contain_text("edited")
    tab.keyboard.press("Control+z")
    expect(landmark(tab, "1 Cranial crest")).to_contain_text("missing")
    tab.keyboard.press("Control+z")
    expect(landmark(tab, "1 Cranial crest")).to_contain_text("confirmed")
    tab.get_by_role("button", name="Refine").click()
    expect(tab.locator(".fm-message")).to_contain_text("moved")
    expect(landmark(tab, "1 Cranial crest")).to_contain_text("confirmed")


def test_head_and_abdomen_follow_the_pose_and_a_click_goes_to_their_planes(tab) -> None:
    sizes = tab.locator("table.fm-sections tr")
    expect(sizes).to_have_count(4)
    expect(sizes.nth(0)).to_contain_text("HC")
    before = tab.locator('[data-view="Red"]').screenshot()
    tab.get_by_role("button", name="Go to the abdomen").click()
    deadline = time.monotonic() + LONG / 1000
    while tab.locator('[data-view="Red"]').screenshot() == before:
        assert time.monotonic() < deadline, "the Red view is not turned"
    neck = tab.locator(".fm-nuchal")
    expect(neck).to_contain_text("Nothing sets these callipers but you")
    tab.get_by_role("button", name="New try").click()
    expect(neck).to_contain_text("Drag both callipers")
    tab.get_by_role("button", name="Remove last try").click()
    expect(neck).to_contain_text("Not measured")


def test_the_page_is_light_or_dark_as_the_computer_is_until_one_chooses(tab) -> None:
    def is_dark() -> bool:
        return tab.evaluate("getComputedStyle(document.querySelector('.v-application')).colorScheme") == "dark"

    for scheme in ("dark", "light"):
        tab.emulate_media(color_scheme=scheme)
        expect(tab.locator(".v-application")).to_have_class(re.compile(f"v-theme--{scheme}"))
        assert is_dark() == (scheme == "dark")
    tab.get_by_role("button", name="Light / dark").click()
    expect(tab.locator(".v-application")).to_have_class(re.compile("v-theme--dark"))
    tab.get_by_role("button", name="Light / dark").click()
    expect(tab.locator(".v-application")).to_have_class(re.compile("v-theme--light"))


def test_files_are_downloaded(tab, tmp_path: Path) -> None:
    beginnings = {"pdf": b"%PDF", "csv": b"", "landmarks": b"{", "scene": b"PK"}
    for kind, beginning in beginnings.items():
        with tab.expect_download() as download:
            tab.locator(f'a[href="files/{kind}"]').click()
        assert download.value.suggested_filename.startswith("case-0000.")
        content = Path(download.value.path()).read_bytes()
        assert len(content) > 500 and content.startswith(beginning)


def test_a_case_is_saved_for_training_and_found_again(tab, patients) -> None:
    tab.get_by_role("button", name="Save training case").click()
    expect(tab.locator(".fm-message")).to_contain_text("Saved as case-0000")
    expect(tab.locator("tr.case", has_text="case-0000")).to_contain_text("confirmed")
    results = patients[0].volume_path.parent / "fetusmap-results"
    (saved,) = find_cases(results / "training-cases")
    assert saved.pose().present.sum() == 1
    line = line_of(tab)
    tab.get_by_role("button", name="Next case").click()
    expect(tab.locator(".fm-patient")).to_have_text("case-0001")
    expect(tab.locator(".fm-line")).to_contain_text("No result yet")
    tab.locator("tr.case", has_text="case-0000").press("Enter")  # by the keyboard too
    expect(tab.locator(".fm-line")).to_have_text(line)
    expect(landmark(tab, "1 Cranial crest")).to_contain_text("confirmed")


def test_two_tabs_show_two_patients_and_a_reload_keeps_the_work(tab, browser, address, patients, tmp_path) -> None:
    first = line_of(tab)
    other = opened(browser, address, "case-0001")
    expect(other.locator(".fm-line")).to_contain_text("No result yet")  # nothing of the other tab's pose
    other.locator("tr.case", has_text="case-0000").click()
    expect(other.locator(".fm-message")).to_contain_text("in use")
    expect(other.locator(".fm-patient")).to_have_text("case-0001")
    dropped = tmp_path / "dropped.mhd"  # a header and its voxels
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(patients[1].volume_path)), str(dropped))
    drop(other, dropped, dropped.with_suffix(".raw"))
    expect(other.locator(".fm-patient")).to_have_text("dropped")
    estimate(other)
    assert line_of(other) != first
    expect(tab.locator(".fm-patient")).to_have_text("case-0000")
    assert line_of(tab) == first
    tab.reload()
    expect(tab.locator(".fm-line")).to_have_text(first)
    expect(tab.locator(".fm-patient")).to_have_text("case-0000")
    # a file that is no volume leaves all as it is
    shown = line_of(other)
    other.locator("input[type=file]").set_input_files(patients[1].truth_path)
    expect(other.locator(".fm-message")).to_contain_text("✕")
    expect(other.locator(".fm-patient")).to_have_text("dropped")
    assert line_of(other) == shown
    other.close()


def test_each_frame_of_a_sequence_has_its_own_pose(tab, patients, tmp_path: Path) -> None:
    other = simulate_case(11, 0, shape_kji=(80, 60, 60), spacing_mm=1.8)  # found, as the first patient is
    paths = [patients[0].volume_path, write_case(tmp_path / "other", other, 0)[0]]
    frames = [SimpleITK.ReadImage(str(path)) for path in paths]
    SimpleITK.WriteImage(SimpleITK.JoinSeries(frames), str(tmp_path / "moving.nii.gz"))
    drop(tab, tmp_path / "moving.nii.gz")
    expect(tab.locator(".fm-patient")).to_have_text("moving")
    expect(tab.locator(".fm-frame")).to_contain_text("Frame 1 of 2")
    estimate(tab)
    first = line_of(tab)
    tab.keyboard.press(".")
    expect(tab.locator(".fm-frame")).to_contain_text("Frame 2 of 2")
    expect(tab.locator(".fm-line")).to_contain_text("No result yet")
    expect(tab.locator("tr.landmark")).to_have_count(0)
    tab.get_by_role("button", name="Estimate all frames").click()
    expect(tab.locator(".fm-stage")).to_contain_text("frame 1 of 2")
    tab.get_by_role("button", name="Cancel").click()
    expect(tab.locator(".fm-message")).to_contain_text("Cancelled")
    expect(tab.locator(".fm-line")).to_contain_text("No result yet")
    tab.get_by_role("button", name="Estimate all frames").click()
    expect(tab.locator(".fm-message")).to_contain_text("A fetus was found in 2 of 2 frames.")
    assert line_of(tab) != first and tab.locator(".fm-movement tr").count() > 5
    tab.locator("input.fm-frames").fill("0")
    expect(tab.locator(".fm-frame")).to_contain_text("Frame 1 of 2")
    expect(tab.locator(".fm-line")).to_have_text(first)


def test_the_page_speaks_the_language_of_the_browser(browser, address) -> None:
    context = browser.browser.new_context(locale="de-AT")
    context.set_default_timeout(LONG)
    page = context.new_page()
    page.goto(address)
    expect(page.get_by_role("button", name="Pose schätzen")).to_be_visible()
    expect(page.locator(".fm-research")).to_contain_text("Nur für die Forschung")
    expect(page.locator(".fm-patient")).to_have_text("Kein Volumen ist geöffnet")
    expect(page.locator("tr.case").last).to_contain_text("offen")
    german = set(finished_translations(GERMAN).values())
    buttons = {text.strip() for text in page.locator(".v-btn").all_text_contents()} - {"◀", "▶"}
    assert {text for text in buttons if text not in german} <= {"Senden an"}
    context.close()


def test_the_language_is_the_first_that_is_there() -> None:
    accepted = {"de-AT,de;q=0.8,en;q=0.5": "de", "fr,en;q=0.3,de;q=0.9": "de", "en-GB,de;q=0.5": "en", "x;q=y": "en"}
    assert {text: language_for(text) for text in accepted} == accepted
