"""What the sections share: one job at a time, in one go or in steps, and a strip that follows who works or speaks."""

from __future__ import annotations

import pytest

from FetusMapV2Lib.core.errors import Cancelled, UserError


@pytest.fixture
def window(open_window, volume):
    return open_window()


@pytest.fixture
def sections(window):
    """Two sections: one that works, one that only listens."""
    return window.module_widget.sections[-2:]


def place(window, section) -> int:
    """Where the strip lies, counted from a section."""
    layout = section.widget.parentWidget().layout()
    return layout.indexOf(window.module_widget.ui.activityWidget) - layout.indexOf(section.widget)


def test_the_strip_lies_below_who_speaks(window, sections):
    ui = window.module_widget.ui
    assert not ui.activityWidget.visible
    for section in (*sections, sections[0]):
        section.say(f"from {section.UI}")
        assert ui.messageLabel.text == f"from {section.UI}"
        assert ui.activityWidget.visible
        assert place(window, section) == 1
    sections[0].say("")
    assert not ui.activityWidget.visible


def test_a_job_in_one_go(window, sections):
    ui, seen = window.module_widget.ui, []

    def work(on_progress, should_cancel):
        on_progress(0.25, "reading")
        seen.append((ui.progressBar.value, ui.stageLabel.text, ui.cancelButton.visible, place(window, sections[1])))
        assert not sections[0].run(work)  # one at a time

    assert sections[1].run(work)
    assert seen == [(25, "reading", True, 1)]
    assert not ui.progressBar.visible


def test_a_job_in_steps_leaves_the_event_loop_to_others(window, sections):
    from FetusMapV2Panel.state import Change

    state, changes, steps = window.module_widget.state, [], []
    state.addListener(changes.append)

    def work(on_progress, should_cancel):
        for step in range(3):
            on_progress(step / 3, "working")
            steps.append(step)
            yield
        sections[0].say("finished")

    assert not sections[0].run(work)  # it goes on
    assert state.running
    assert steps == [0]
    assert window.wait_until(lambda: not state.running)
    assert steps == [0, 1, 2]
    assert window.module_widget.ui.messageLabel.text == "finished"
    assert changes[0] is Change.MESSAGE_CHANGED
    assert [change for change in changes if change is Change.RUNNING_CHANGED] == [Change.RUNNING_CHANGED] * 2


@pytest.mark.parametrize("when", ["at once", "later"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("the file is gone", where="a.nrrd", remedy="Look for it"), "a.nrrd: the file is gone. Look for it."),
        (Cancelled("reading"), "Cancelled; the scene is as it was."),
        (KeyError("x"), "Something went wrong: 'x'. The log has the details."),
    ],
)
def test_a_job_that_fails_says_so_and_the_next_can_run(window, sections, when, error, said):
    state = window.module_widget.state

    def work(on_progress, should_cancel):
        if when == "later":
            yield
        raise error

    assert not sections[0].run(work)
    assert window.wait_until(lambda: not state.running)
    assert window.module_widget.ui.messageLabel.text == said
    assert sections[0].run(lambda on_progress, should_cancel: None)
    assert window.module_widget.ui.messageLabel.text == ""


def test_cancel_reaches_a_job_in_steps_and_not_one_that_must_not_stop(window, sections):
    state, ui = window.module_widget.state, window.module_widget.ui

    def work(on_progress, should_cancel):
        for _ in range(20):
            if should_cancel():
                raise Cancelled("working")
            yield

    sections[0].run(work)
    window.click(ui.cancelButton)
    assert window.wait_until(lambda: not state.running)
    assert "Cancelled" in ui.messageLabel.text
    sections[0].run(work, cancellable=False)
    assert not ui.cancelButton.enabled
    window.click(ui.cancelButton)
    assert window.wait_until(lambda: not state.running)
    assert ui.messageLabel.text == ""


def test_a_job_is_left_where_it_is_when_the_module_goes(window, sections):
    ended = []

    def work(on_progress, should_cancel):
        try:
            while True:
                yield
        finally:
            ended.append(True)

    sections[0].run(work)
    window.unload()
    assert ended == [True]


def test_what_is_said_is_one_line_that_any_label_can_show(window):
    state = window.module_widget.state
    state.say("Written:\n/data/\x1b[2Jname\udcfc\u202e.nrrd")
    assert state.message == "Written: /data/\\x1b[2Jname\\xfc\\u202e.nrrd"
