"""What the receiver keeps: spans as JSON lines, the newest of them, within a number of bytes."""

import collections
import json
import threading


def _value(any_value):
    """An attribute's value as JSON has it; bytes in hex."""
    kind = any_value.WhichOneof("value")
    if kind is None:
        return None
    value = getattr(any_value, kind)
    if kind == "array_value":
        return [_value(item) for item in value.values]
    if kind == "kvlist_value":
        return _attributes(value.values)
    if kind == "bytes_value":
        return value.hex()
    return value


def _attributes(pairs):
    return {pair.key: _value(pair.value) for pair in pairs}


def flatten(request):
    """Yields each span of an OTLP export request as a flat object. Ids are lower-case hex, times are
    nanoseconds since 1970."""
    for of_resource in request.resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield {
                    "service": resource.get("service.name"),
                    "name": span.name,
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_span_id": span.parent_span_id.hex() or None,
                    "start_unix_nano": span.start_time_unix_nano,
                    "end_unix_nano": span.end_time_unix_nano,
                    "kind": span.kind,
                    "status": {"code": span.status.code, "message": span.status.message},
                    "attributes": _attributes(span.attributes),
                    "events": [
                        {
                            "name": event.name,
                            "unix_nano": event.time_unix_nano,
                            "attributes": _attributes(event.attributes),
                        }
                        for event in span.events
                    ],
                    "links": [
                        {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()}
                        for link in span.links
                    ],
                    "scope": of_scope.scope.name,
                    "resource": resource,
                }


class Store:
    """The newest spans. When the limit is reached the oldest ones go, and are counted."""

    def __init__(self, limit_bytes):
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._lines = collections.deque()
        self._bytes = 0
        self._dropped = 0

    def add(self, spans):
        """Keeps these spans."""
        lines = [json.dumps(span, separators=(",", ":")).encode() + b"\n" for span in spans]
        with self._lock:
            for line in lines:
                self._lines.append(line)
                self._bytes += len(line)
            while self._bytes > self._limit:
                self._bytes -= len(self._lines.popleft())
                self._dropped += 1

    def snapshot(self):
        """The kept lines in the order of their arrival, and how many were dropped before them."""
        with self._lock:
            return list(self._lines), self._dropped
