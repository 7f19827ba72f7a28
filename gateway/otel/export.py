"""Traces on their way to a collector: in a thread of their own, in batches, and dropped rather than waited for."""

import asyncio
import logging
import threading
from collections.abc import Sequence

from django.conf import settings
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from gateway.outage import Outage

SERVICE_NAME = "sardeenz-gateway"
END_SECONDS = 3.0
"""How long the end of a process waits for its last spans."""
CLOSE_SECONDS = 0.5
"""And then for the attempt in progress to see that it is over."""

_SDK = logging.getLogger("opentelemetry")
_ABOUT_EXPORT = ("opentelemetry.exporter.", "opentelemetry.sdk._shared_internal")

logger = logging.getLogger(__name__)


class Watched(SpanExporter):
    """Another exporter, and whether it works."""

    def __init__(self, exporter: SpanExporter, outage: Outage) -> None:
        self._exporter = exporter
        self._outage = outage
        self._over = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; called in the batch processor's thread."""
        if self._over:
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._outage.ended()
        return result

    def shutdown(self) -> None:
        """Send nothing more, and do not try again what is being tried."""
        if not self._over:
            self._over = True
            self._exporter.shutdown()


class Complaints(logging.Handler):
    """What the SDK would log: an outage where it is about exporting, and said once; of the rest, failures only.

    The rest has warnings about headers too, which every caller could cause as often as it likes.
    """

    def __init__(self, outage: Outage) -> None:
        super().__init__(logging.WARNING)
        self._outage = outage

    def emit(self, record: logging.LogRecord) -> None:
        """Called in whichever thread complains."""
        if record.name.startswith(_ABOUT_EXPORT):
            self._outage.began(OSError(record.getMessage()))
        elif record.levelno >= logging.ERROR:
            logger.handle(record)


class Export:
    """A provider whose spans go through `exporter`; the SDK's own log is ours until the end."""

    def __init__(self, exporter: SpanExporter, resource: Resource) -> None:
        self.outage = Outage("exporting traces")
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._exporter = Watched(exporter, self.outage)
        self.provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._complaints = Complaints(self.outage)
        _SDK.addHandler(self._complaints)
        _SDK.propagate = False

    async def end(self) -> None:
        """Send what is left; what a collector has not taken in time is lost."""
        ending = threading.Thread(target=self.provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, END_SECONDS)
        if ending.is_alive():
            logger.warning("the last traces were not sent within %.0f s", END_SECONDS)
            self._exporter.shutdown()
            await asyncio.to_thread(ending.join, CLOSE_SECONDS)
        _SDK.removeHandler(self._complaints)
        _SDK.propagate = True


def from_environment(gateway_id: str) -> Export:
    """As the `OTEL_*` variables want it. Raises ValueError where one of them makes no sense."""
    ours = Resource.create(
        {"service.name": SERVICE_NAME, "service.version": settings.VERSION, "service.instance.id": gateway_id}
    )
    return Export(OTLPSpanExporter(), ours.merge(OTELResourceDetector().detect()))
