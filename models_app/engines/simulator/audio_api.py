"""/v1/audio/transcriptions and /v1/audio/translations: a multipart form in, words out."""

from contextlib import aclosing
from io import BytesIO
from typing import Any

from python_multipart import parse_form
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File

from models_app.engines.simulator import generation, text
from models_app.engines.simulator.context import Context, request_id
from models_app.engines.simulator.errors import ApiError
from models_app.engines.simulator.prompts import Prompt
from models_app.engines.simulator.wire import Reply, Request, event

_BYTES_PER_SECOND = 32_000  # 16 kHz, 16 bits, one channel
_LONGEST_TOKENS = 448  # Whisper's


async def transcribe(context: Context, request: Request, reply: Reply) -> None:
    """POST with a file and its form fields."""
    form, audio = _read_form(request, await request.body())
    generation.check_model(context.engine, form)
    prompt = f"<audio {text.digest(audio.hex()):016x}> {form.get('prompt', '')}"
    identity = request_id("transcribe", request, form)
    limit = min(_LONGEST_TOKENS, context.options.max_model_len // 2)
    choice = generation.prepare(context.engine, [Prompt.of(prompt)], {}, identity, max_tokens=limit)[0]
    if form.get("stream", "").lower() in ("true", "1"):
        await reply.events()
        shape = {"id": identity, "object": "transcription.chunk", "model": form.get("model")}
        async with aclosing(generation.merge([choice])) as arrivals:
            async for _, batch, ended in arrivals:
                delta = {"content": "".join(batch)}
                reason = choice.finish_reason if ended else None
                await reply.chunk(event({**shape, "choices": [{"delta": delta, "finish_reason": reason}]}))
        await reply.end(b"data: [DONE]\n\n")
        return
    words = (await generation.collect([choice]))[0]
    seconds = max(len(audio) // _BYTES_PER_SECOND, 1)
    if form.get("response_format") == "text":
        await reply.data(words.encode(), 200, (b"content-type", b"text/plain; charset=utf-8"))
        return
    answer: dict[str, Any] = {"text": words, "usage": {"type": "duration", "seconds": seconds}}
    if form.get("response_format") == "verbose_json":
        answer |= {"duration": float(seconds), "language": form.get("language", "en"), "segments": []}
    await reply.json(answer)


def _read_form(request: Request, body: bytes) -> tuple[dict[str, str], bytes]:
    form: dict[str, str] = {}
    audio: list[bytes] = []

    def on_field(field: Field) -> None:
        form[(field.field_name or b"").decode()] = (field.value or b"").decode()

    def on_file(file: File) -> None:
        file.file_object.seek(0)
        audio.append(file.file_object.read())

    headers = {
        "Content-Type": request.header(b"content-type").encode("latin-1"),
        "Content-Length": str(len(body)).encode(),
    }
    try:
        parse_form(headers, BytesIO(body), on_field, on_file)
    except (FormParserError, ValueError) as error:
        raise ApiError.invalid("missing", "body.file", "Field required", str(error)) from error
    if not audio:
        raise ApiError.invalid("missing", "body.file", "Field required")
    return form, audio[0]
