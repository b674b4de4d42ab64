"""What is on the page, and which field goes where."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from limner.core import InputError, check
from limner.serve.catalogue import Model
from limner.serve.orders import MOST_PICTURES
from limner.serve.page import drawing, galleries, knobs, several, showing
from limner.serve.page.drawing import Sessions, key_in
from limner.serve.page.galleries import Kept
from limner.serve.problems import problem
from limner.serve.service import Service

CSS = Path(__file__).with_name("page.css")


def blocks(service: Service) -> Any:
    """The whole page of a service."""
    sessions = Sessions(service)
    with gr.Blocks(title="Limner", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown("# Limner", elem_classes="title")
        with gr.Tabs() as tabs:
            with gr.Tab("Draw", id="draw"):
                draw = Draw(service, sessions)
            with gr.Tab("Mine", id="mine") as tab:
                mine = Mine(service)
            if len(service.catalogue) > 1:
                with gr.Tab("Two models", id="two"):
                    two_models(service, sessions)
            with gr.Tab("Grid", id="grid"):
                grid(service, sessions)
        tab.select(mine.newest, outputs=mine.outputs)
        mine.again.click(mine.settings, [mine.chosen, *draw.again], draw.again).then(
            lambda: gr.Tabs(selected="draw"), outputs=tabs
        )
        page.unload(_left(sessions))
    return page


def _left(sessions: Sessions) -> Callable[[gr.Request], Awaitable[None]]:
    async def left(request: gr.Request) -> None:
        """The tab was closed: nobody will see what it draws."""
        await sessions.stop(request.session_hash)

    return left


def _models(service: Service) -> gr.Dropdown:
    names = list(service.catalogue)
    return gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1, elem_id="model")


def _html(value: str, **about: Any) -> gr.Markdown:
    """HTML of ours. A gr.HTML would take what is in braces in a text for a template, and run it."""
    return gr.Markdown(value, sanitize_html=False, latex_delimiters=[], **about)


def _prompt(**about: Any) -> gr.Textbox:
    return gr.Textbox(label="Prompt", placeholder="a red balloon over a meadow", lines=1, max_lines=6, **about)


class Draw:
    """A prompt, what the model can be told beside it, and the picture."""

    def __init__(self, service: Service, sessions: Sessions) -> None:
        self.service, self.sessions = service, sessions
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                self.prompt = _prompt(elem_id="prompt", autofocus=True)
                self.model = _models(service)
                with gr.Row():
                    self.start = gr.Button("Draw", variant="primary", elem_id="start")
                    self.stop = gr.Button("Stop", elem_id="stop", interactive=False)
                self.line = _html(showing.line("Enter draws, Shift+Enter begins a new line."), elem_id="line")
            with gr.Column(scale=3, min_width=300):
                self.easel = _html(showing.EMPTY, elem_id="easel")
        with gr.Row():
            with gr.Column(min_width=300):
                self._settings()
            with gr.Column(min_width=300):
                self._over()
        self.outputs = [self.easel, self.line, self.start, self.stop]
        self.again = [self.model, self.prompt, self.negative, self.seed, *self.fields]
        self._wire()

    def _settings(self) -> None:
        with gr.Accordion("Settings", open=False, elem_id="settings"):
            guided = self.service.catalogue.default.has("guidance")
            self.negative = gr.Textbox(label="Not in the picture", max_lines=3, elem_id="negative", visible=guided)
            with gr.Row():
                self.count = gr.Slider(1, MOST_PICTURES, value=1, step=1, label="Pictures", elem_id="count")
                self.seed = gr.Textbox(
                    label="Seed", placeholder="by chance", max_lines=1, min_width=120, elem_id="seed"
                )
                self.size = gr.Textbox(label="Size", placeholder="usual", max_lines=1, min_width=120, elem_id="size")
            self.groups, self.of_models = [], {}
            for model in self.service.catalogue.values():
                with gr.Group(visible=model is self.service.catalogue.default) as group, gr.Row():
                    self.of_models[model.name] = knobs.fields(model)
                self.groups.append(group)
        self.fields = [one for fields in self.of_models.values() for one in fields.components.values()]

    def _over(self) -> None:
        with gr.Accordion("Draw over a picture", open=False, elem_id="over"):
            gr.Markdown("What you paint is drawn anew; without any paint the whole picture is.")
            self.editor = gr.ImageEditor(
                type="pil", sources=["upload", "clipboard"], label="Picture", show_label=False, elem_id="editor",
                brush=gr.Brush(colors=["#e11d48"], color_mode="fixed", default_size="auto"), transforms=("crop",),
                layers=False, height=360, format="png", buttons=[],
            )  # fmt: skip
            self.strength = gr.Slider(
                0.05, 1.0, value=0.6, step=0.05, label="How much is drawn anew", elem_id="strength"
            )

    def _wire(self) -> None:
        inputs = [self.model, self.prompt, self.negative, self.count, self.seed, self.size, self.editor, self.strength,
                  *self.fields]  # fmt: skip
        for event in (self.start.click, self.prompt.submit):
            event(self.draw, inputs, self.outputs, show_progress="hidden", concurrency_limit=None)
        self.stop.click(self.halt, outputs=self.line, show_progress="hidden", concurrency_limit=None)
        self.model.change(self._chosen, self.model, [self.negative, *self.groups], show_progress="hidden")

    def _chosen(self, name: str) -> list[Any]:
        shown = [gr.update(visible=model == name) for model in self.service.catalogue]
        return [gr.update(visible=self.service.catalogue[name].has("guidance")), *shown]

    async def halt(self, request: gr.Request) -> str:
        await self.sessions.stop(request.session_hash)
        return showing.line("stopped", wrong=False)

    async def draw(self, request: gr.Request, *given: Any) -> AsyncIterator[list[Any]]:
        """Pictures and lines as they come; one drawing of a tab at a time."""
        await self.sessions.stop(request.session_hash)
        try:
            asked, sheet = self._order(*given)
        except (InputError, ValueError, TypeError) as error:
            yield [gr.skip(), showing.line(problem(_plain(error)).message, wrong=True), gr.skip(), gr.skip()]
            return
        busy, idle = gr.update(interactive=True), gr.update(interactive=False)
        seen: dict[int, str] = {}
        async for shown in drawing.drawing(self.service, self.sessions, request, asked, sheet):
            easel = gr.skip() if shown.pictures == seen and seen else showing.easel(shown.pictures, asked.count)
            seen = dict(shown.pictures)
            yield [easel, showing.line(shown.said, share=shown.share, wrong=shown.wrong), gr.skip(), busy]
        yield [gr.skip(), gr.skip(), gr.skip(), idle]

    def _order(
        self, name: str, prompt: str, negative: str, count: int, seed: str, size: str, edited: Any, strength: float,
        *given: Any,
    ) -> tuple[Any, Any]:  # fmt: skip
        model = self.service.catalogue.find(name)
        sheet = drawing.sheet(edited)
        check(sheet is None or model.has("strength"), f"{name} draws from the prompt alone: remove the picture")
        order = drawing.order(
            model, prompt, negative=negative or "", seed=drawing.seed(seed), count=int(count), size=drawing.size(size),
            sheet=sheet, strength=strength,
            knobs=self.of_models[model.name].values(self._own(model, given)),
        )  # fmt: skip
        return order, sheet

    def _own(self, model: Model, given: Sequence[Any]) -> list[Any]:
        """Of all models' fields those of this one."""
        first = 0
        for name, fields in self.of_models.items():
            if name == model.name:
                return list(given[first : first + len(fields.components)])
            first += len(fields.components)
        raise AssertionError(model.name)


class Mine:
    """What one has drawn before."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.kept = gr.State([])  # those that are shown
        self.chosen = gr.State(None)
        self.gallery = gr.Gallery(
            label="Your pictures", show_label=False, columns=6, fit_columns=False, height="auto", object_fit="contain",
            preview=False, buttons=[], elem_id="gallery", interactive=False,
        )  # fmt: skip
        with gr.Row():
            self.newer = gr.Button("Newest", elem_id="newest")
            self.older = gr.Button("Older", elem_id="older")
            self.again = gr.Button("Use these settings again", variant="primary", interactive=False, elem_id="again")
        self.about = _html("", elem_id="about")
        self.outputs = [self.kept, self.gallery, self.about, self.again]
        self.newer.click(self.newest, outputs=self.outputs)
        self.older.click(self.before, self.kept, self.outputs)
        self.gallery.select(self.choose, self.kept, [self.chosen, self.about, self.again])

    async def newest(self, request: gr.Request) -> list[Any]:
        return self._shown(await galleries.kept(self.service, key_in(request)), request)

    async def before(self, kept: list[Kept], request: gr.Request) -> list[Any]:
        oldest = kept[-1].job.id if kept else None
        return self._shown(await galleries.kept(self.service, key_in(request), oldest), request)

    def _shown(self, kept: list[Kept], request: gr.Request) -> list[Any]:
        base = str(request.request.base_url).rstrip("/")  # type: ignore[union-attr]
        said = "" if kept else showing.line("There is nothing here yet.")
        return [kept, [one.item(base) for one in kept], said, gr.update(interactive=False)]

    def choose(self, kept: list[Kept], event: gr.SelectData) -> list[Any]:
        one = kept[event.index]
        return [one, showing.about(one.job, one.drawn), gr.update(interactive=True)]

    def settings(self, chosen: Kept | None, *fields: Any) -> list[Any]:
        """For the fields of Draw: its model, prompt, negative prompt and seed, and the knobs of every model."""
        if chosen is None:
            return [gr.skip() for _ in fields]
        found, values = galleries.settings(chosen), []
        for model in self.service.catalogue.values():
            own = found["knobs"] if model.name == found["model"] else {}
            values += [own.get(name, gr.skip()) for name in knobs.names(model)]
        return [found["model"], found["prompt"], found["negative"], str(found["seed"]), *values]


def two_models(service: Service, sessions: Sessions) -> None:
    """The same prompt and seed, by two models."""
    names = list(service.catalogue)
    prompt = _prompt(elem_id="two-prompt")
    with gr.Row():
        left = gr.Dropdown(names, value=names[0], label="Left")
        right = gr.Dropdown(names, value=names[1], label="Right")
        seed = gr.Textbox("1", label="Seed", max_lines=1)
    start, line, shown = gr.Button("Draw both", variant="primary"), _html(showing.line("")), _html("")

    async def draw(request: gr.Request, text: str, one: str, other: str, number: str) -> AsyncIterator[list[Any]]:
        try:
            models = [service.catalogue.find(name) for name in (one, other)]
            orders = [drawing.order(model, text, seed=drawing.seed(number)) for model in models]
        except (InputError, ValueError) as error:
            yield [showing.line(problem(_plain(error)).message, wrong=True), gr.skip()]
            return
        async for pictures, said, wrong in several.all_of(service, sessions, request, orders):
            yield [showing.line(said, wrong=wrong), showing.beside([one, other], pictures)]

    start.click(draw, [prompt, left, right, seed], [line, shown], show_progress="hidden", concurrency_limit=None)


def grid(service: Service, sessions: Sessions) -> None:
    """The same picture with other values of two knobs."""
    prompt, model = _prompt(elem_id="grid-prompt"), _models(service)
    known = sorted(service.catalogue.default.defaults)
    first, second = (known[0], known[-1]) if "steps" not in known else ("steps", "guidance")
    with gr.Row():
        down = gr.Dropdown(known, value=first, label="Down", allow_custom_value=True, elem_id="down")
        ones = gr.Textbox("5, 10, 20", label="Its values", elem_id="rows")
        across = gr.Dropdown(known, value=second, label="Across", allow_custom_value=True, elem_id="across")
        others = gr.Textbox("1, 3, 6", label="Its values", elem_id="columns")
        seed = gr.Textbox("1", label="Seed", max_lines=1)
    start = gr.Button("Draw all", variant="primary", elem_id="grid-start")
    line, shown = _html(showing.line(""), elem_id="grid-line"), _html("", elem_id="grid-shown")

    async def draw(
        request: gr.Request, text: str, name: str, one: str, ones: str, other: str, others: str, number: str
    ) -> AsyncIterator[list[Any]]:
        try:
            found = service.catalogue.find(name)
            order = drawing.order(found, text, seed=drawing.seed(number))
            orders = several.grid(order, found, (one, ones), (other, others))
        except (InputError, ValueError) as error:
            yield [showing.line(problem(_plain(error)).message, wrong=True), gr.skip()]
            return
        flat = [order for row in orders for order in row]
        rows = [f"{one} {row[0].knobs[one]}" for row in orders]
        columns = [f"{other} {cell.knobs[other]}" for cell in orders[0]]
        async for pictures, said, wrong in several.all_of(service, sessions, request, flat):
            cells = {divmod(number, len(orders[0])): picture for number, picture in enumerate(pictures)}
            yield [showing.line(said, wrong=wrong), showing.table(rows, columns, cells)]

    start.click(
        draw, [prompt, model, down, ones, across, others, seed], [line, shown], show_progress="hidden",
        concurrency_limit=None,
    )  # fmt: skip


def _plain(error: Exception) -> Exception:
    """A number in no field of the page can be read is at fault as any other input is."""
    return error if isinstance(error, InputError) else InputError(str(error))
