"""`Session`: what one tab shows and does: the open case, one job at a time, and the calls of the page."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trame.app import get_server

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.safe_text import printable_sentence
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.requests import EstimateRequest, RefineRequest
from FetusMapV2Lib.estimation.sequence import sequence_job
from FetusMapV2Lib.imaging.study import read_study
from FetusMapV2Lib.presenting.estimate_text import warnings_text
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.presenting.translation import translator
from FetusMapV2Lib.remote.client import RemoteEngine
from FetusMapV2Lib.serving import shown
from FetusMapV2Lib.serving.archive_part import archiving_job
from FetusMapV2Lib.serving.case_frames import read_frames
from FetusMapV2Lib.serving.first_values import START, START_OF_CASE
from FetusMapV2Lib.serving.frames_shown import frames_message, frames_shown
from FetusMapV2Lib.serving.job_runner import JobRunner
from FetusMapV2Lib.serving.marking import Marking
from FetusMapV2Lib.serving.nuchal_part import take_nuchal_step
from FetusMapV2Lib.serving.open_case import OpenCase
from FetusMapV2Lib.serving.outline_keeper import OutlineKeeper
from FetusMapV2Lib.serving.page import build_page
from FetusMapV2Lib.serving.routes import add_routes
from FetusMapV2Lib.serving.section_steps import propose_again, show_planes, show_section, use_shown_plane
from FetusMapV2Lib.serving.sequence_case import SequenceCase
from FetusMapV2Lib.serving.session_options import SessionOptions
from FetusMapV2Lib.serving.tasks import Tasks
from FetusMapV2Lib.serving.view_area import ViewArea
from FetusMapV2Lib.serving.work_keeper import WorkKeeper
from FetusMapV2Lib.serving.work_list import WorkList, vouched
from FetusMapV2Lib.serving.work_texts import state_text

_ = translator(__name__)

_LOG = logging.getLogger(__name__)
VIEW_NAMES = ("Red", "3D", "Yellow", "Green")


class Session:
    """What one tab shows and does.

    Attributes:
        options: what the tab may do.
        secret: that requests have to carry.
        case: the open case; None before one was opened.
    """

    def __init__(self, options: SessionOptions) -> None:
        self.options, self.secret = options, options.secret
        self.case: OpenCase | None = None
        self.server = get_server("fetusmap", client_type="vue3")
        self._engine = RemoteEngine(options.model, options.device, options.memory_budget)
        self.areas = {name: ViewArea(name) for name in VIEW_NAMES}
        self.state = self.server.state
        self.state.update(START)
        self.state.research = _("Research use only; default weights were trained on simulated volumes.")
        self.state.archive = str(options.archive or "")
        self._tasks = Tasks(self.say)
        self._jobs = JobRunner(self.state, self.say, self._show_actions)
        self._marking = Marking(self.state, lambda: self.case, self.say, self._show_actions)
        self._outlines = OutlineKeeper(self._show_outlines)
        self._work = WorkKeeper(_work_list(options), self._on_saved)
        self._show_work_list()
        self._add_triggers()
        build_page(self.server, self.areas)
        self.server.controller.on_server_bind.add(lambda server: add_routes(server.app, self))
        self.server.controller.on_server_ready.add(self._on_ready)

    @property
    def formula(self) -> str:
        """Key of the dating formula that comes first."""
        return str(self.state.formula)

    async def run(self) -> None:
        """Serve until the process is ended."""
        await self.server.start(
            port=0,
            host="127.0.0.1",
            exec_mode="coroutine",
            open_browser=False,
            show_connection_info=False,
            disable_logging=True,
            timeout=0,
        )

    def close(self) -> None:
        """Save the work, end the engine and release the case."""
        self._outlines.stop()
        try:
            self._work.leave()
        except UserError as error:
            _LOG.error("%s", error.line(with_option=False))
        self._engine.close()
        if self.case is not None:
            self.case.close()

    # --- opening

    async def open(self, path: Path) -> None:
        """Read a volume and show it in place of the open one.

        Raises:
            UserError: a job runs, or the file holds no usable volume; the open case stays.
        """
        with self._opening():
            self._show_case(await self._read(path))
        self._announce_unsaved()

    async def open_item(self, number: int) -> None:
        """Open a case of the work list, with the work that was done on it before.

        Raises:
            UserError: see `open`; or the case is open in another tab.
        """
        if number == self._work.number:
            return
        with self._opening(), self._work.lock(number) as lock:
            case = await self._read(self._work.path(number))
            self._show_case(case)
            self._work.take(number, case, lock)
        self._announce_unsaved()
        self._show_work_list()

    def _opening(self) -> contextlib.AbstractContextManager[None]:
        self._marking.stop_placing()
        if self._jobs.is_busy:
            raise UserError("a job is running", remedy="Cancel it or wait for its end")
        return self._jobs.running(_("reading the volume"), cancellable=False)

    async def _read(self, path: Path) -> OpenCase:
        loop = asyncio.get_running_loop()
        frames = await loop.run_in_executor(None, read_frames, path)
        study = await loop.run_in_executor(None, read_study, path)
        calls = self._on_pose, self._on_view, self._marking.grabbed
        if len(frames) > 1:
            return SequenceCase(frames, path, *calls, study)
        return OpenCase(frames.first, path, *calls, study)

    def _show_case(self, case: OpenCase) -> None:
        """Nothing of the case before stays: neither views nor texts.

        Raises:
            OutputError: the work on that cannot be saved; it stays.
        """
        try:
            self._work.leave()
        except UserError:
            case.close()
            raise
        for area in self.areas.values():
            area.show(None)
        self._outlines.stop()
        before, self.case = self.case, case
        if before is not None:
            before.close()
        self.state.update(
            {
                **START_OF_CASE,
                "case_name": case.name,
                "patient": case.patient,
                "page_title": f"{case.name} – FetusMapV2",
            }
        )
        for name, area in self.areas.items():
            area.show(case.views.views[name])
        self._on_pose()
        self.say("\n".join(case.warnings), Tone.WARNING)

    def _announce_unsaved(self) -> None:
        """Tell the front door whether the open case is in no file."""
        _announce(unsaved=self.case is not None and self._work.number is None)

    # --- jobs

    async def estimate(self) -> None:
        """Estimate the pose in the open volume."""
        case = self.case
        if case is None or self._jobs.is_busy:
            return
        self._marking.stop_placing()
        estimate = await self._submit(EstimateRequest(case.volume), "estimate")
        if estimate is None or case is not self.case:
            return
        case.show(estimate)
        warnings = warnings_text(estimate)
        if estimate.has_pose:
            self.say(warnings, Tone.WARNING)
        else:
            self.say(f"{estimate.reason}\n{warnings}".strip(), Tone.FINDING)
        self._on_pose()

    async def estimate_all(self) -> None:
        """Estimate the poses in all frames of the open sequence, one after the other."""
        case = self.case
        if not isinstance(case, SequenceCase) or self._jobs.is_busy:
            return
        self._marking.stop_placing()
        volumes = case.frames.volumes
        estimates = await self._jobs.run(
            lambda progress, cancel: sequence_job(self._engine, volumes, on_progress=progress, should_cancel=cancel),
            "estimate_all",
        )
        if estimates is not None and case is self.case:
            case.show_all(estimates)
            self.say(*frames_message(case, estimates))

    async def refine(self) -> None:
        """Refine the pose around the landmarks that were set by hand."""
        case = self.case
        if case is None or self._jobs.is_busy:
            return
        self._marking.stop_placing()
        estimate = await self._submit(case.refinement(), "refine")
        if estimate is not None and case is self.case:
            count = case.refined(estimate)
            self.say(
                "\n".join(
                    [_("{0} landmarks moved.").format(count) if count else _("No landmark moved."), *estimate.warnings]
                )
            )

    async def _submit(self, request: EstimateRequest | RefineRequest, kind: str) -> Estimate | None:
        """What the engine answers; None if it was cancelled or went wrong, which the page says."""
        return await self._jobs.run(lambda progress, cancel: self._engine.submit(request, progress, cancel), kind)

    async def send(self) -> None:
        """Send the report of the open case to the archive that the tab was told."""
        case, archive = self.case, self.options.archive
        if case is None or archive is None or self._jobs.is_busy:
            return
        self._marking.stop_placing()
        job = functools.partial(archiving_job, case, self.formula, archive)
        answer = await self._jobs.run(job, "send")
        if answer is not None and case is self.case:
            self.say(*answer)

    async def save_training_case(self) -> None:
        """Save the open case of the work list for training."""
        if self.case is None or self._jobs.is_busy:
            return
        with self._jobs.running(_("writing the case"), cancellable=False):
            name, count = self._work.save_training_case(), vouched(self.case)
            text = _("Saved as {0}: {1} landmarks were set or confirmed by hand; the others are omitted.")
            self.say(text.format(name, count), Tone.SUCCESS)

    def _on_saved(self, problem: str) -> None:
        if problem:
            self.say(problem, Tone.ERROR)
        self._show_work_list()

    def _show_work_list(self) -> None:
        items = self._work.items()
        with self.state as state:
            state.work_items = [[item.name, state_text(item.state)] for item in items]
            state.work_number = -1 if self._work.number is None else self._work.number
            counts = {one: sum(item.state == one for item in items) for one in dict.fromkeys(i.state for i in items)}
            state.work_summary = " · ".join(f"{count} {state_text(one)}" for one, count in counts.items())

    # --- what the page shows

    def say(self, text: str, tone: Tone = Tone.NOTE) -> None:
        """Show a message below the buttons, with the sign of its tone; an empty one removes the last."""
        with self.state as state:
            state.message = f"{tone.value} {printable_sentence(text)}" if text else ""
            state.message_tone = tone.name.lower()

    def _on_view(self, name: str) -> None:
        self.areas[name].draw()

    def _on_pose(self) -> None:
        """The pose has changed, also within a drag: new numbers go out before new pictures."""
        case = self.case
        if case is None:
            return
        poses = case.poses
        with self.state as state:
            if poses is None:
                values = shown.no_pose_shown(case.estimate, has_volume=True)
                state.update({**values, "selected": [], "has_pose": False})
            else:
                values = shown.pose_shown(poses.current(), case.estimate, poses.model, self.formula)
                state.update({**values, "has_pose": True})
            state.update(frames_shown(case))
            state.can_show_seen = poses is None and case.estimate is not None and case.estimate.seen is not None
        self._work.note_change()
        self._outlines.note_change(case)
        self._show_actions()

    def _show_outlines(self, values: dict[str, Any]) -> None:
        with self.state as state:
            state.update(values)

    def _show_actions(self) -> None:
        case = self.case
        placing = case is not None and case.is_placing
        busy = self._jobs.is_busy or placing
        poses = case.poses if case is not None else None
        with self.state as state:
            snapshot = poses.current() if poses is not None else None
            state.can = shown.actions_shown(snapshot, state.selected, is_busy=busy)
            state.can_undo = case is not None and not busy and case.can_undo
            state.can_redo = case is not None and not busy and case.can_redo
            state.is_placing = placing
            state.definition = shown.definition_shown(state.selected)

    # --- what the page calls

    def _add_triggers(self) -> None:
        for name, action in {
            "estimate": lambda: self._tasks.start(self.estimate()),
            "estimate_all": lambda: self._tasks.start(self.estimate_all()),
            "refine": lambda: self._tasks.start(self.refine()),
            "cancel": self._jobs.cancel,
            "open_item": lambda number: self._tasks.start(self.open_item(number)),
            "next_item": lambda: self._tasks.start(self._open_next()),
            "send": lambda: self._tasks.start(self.send()),
            "save_case": lambda: self._tasks.start(self.save_training_case()),
            "step": self._step,
            "undo": lambda: self._travel("undo"),
            "redo": lambda: self._travel("redo"),
            "show_frame": lambda frame: self._guarded(lambda case: case.show_frame(int(frame))),
            "step_frame": lambda by: self._guarded(lambda case: case.show_frame(case.frame + int(by))),
            "select": self._marking.select,
            "next_doubtful": self._marking.next_doubtful,
            "go_to_next": self._marking.go_to_next,
            "place": lambda: None if self._jobs.is_busy else self._marking.place(),
            "stop_placing": self._marking.stop_placing,
            "planes": lambda which: self._guarded(lambda case: show_planes(case, which)),
            "section": lambda key: self._guarded(lambda case: show_section(case, key)),
            "shown_plane": lambda: self._guarded(use_shown_plane),
            "propose": lambda: self._guarded(propose_again),
            "nuchal": lambda name: self._guarded(lambda case: take_nuchal_step(case, name)),
            "show_seen": lambda: self._guarded(lambda case: case.show_seen()),
            "focus": lambda name, focused: self.areas[name].focus(focused),
        }.items():
            self.server.trigger(name)(action)
        self.state.change("formula")(lambda **_: self._on_pose())

    async def _open_next(self) -> None:
        """Open the next case of the list that is not done."""
        items = self._work.items()
        first = 0 if self._work.number is None else self._work.number + 1
        order = [*range(first, len(items)), *range(first)]
        number = next((one for one in order if items[one].state != "confirmed"), None)
        if number is None:
            self.say(_("All cases are confirmed."))
        else:
            await self.open_item(number)

    def _guarded(self, action: Callable[[OpenCase], Any]) -> None:
        """Act on the open case unless a job runs; a mistake of the user becomes a message."""
        if self.case is None or self._jobs.is_busy:
            return
        try:
            action(self.case)
        except UserError as error:
            self.say(error.line(with_option=False), Tone.ERROR)
        self._show_actions()

    def _step(self, name: str) -> None:
        self._guarded(lambda case: case.step(name, self._marking.rows))

    def _travel(self, direction: str) -> None:
        self._guarded(lambda case: case.undo() if direction == "undo" else case.redo())

    def _on_ready(self, **_: Any) -> None:
        for area in self.areas.values():
            self.server.controller.rc_area_register(area.adapter)
        _announce(port=self.server.port)
        if self.options.file:
            self._tasks.start(self.open(Path(self.options.file)))


def _work_list(options: SessionOptions) -> WorkList | None:
    return WorkList(Path(options.cases), Path(options.results)) if options.cases else None


def _announce(**values: Any) -> None:
    """Tell the front door where this process listens, or whether it holds work that is in no file."""
    print(json.dumps(values), flush=True)
