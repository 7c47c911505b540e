"""Receives traces by OTLP over gRPC on port 4317 and shows them on port 16686.

`/received` answers every span that is kept, one JSON object a line; `/received?trace=ID` those of one
trace; `/` is a page for people. TRACES_LIMIT_BYTES bounds what is kept.
"""

import concurrent.futures
import html
import http.server
import json
import os
import signal
import threading
import urllib.parse

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc

from spans import Store, flatten

TRACES_ON_PAGE = 100

PAGE = """<!doctype html><meta charset="utf-8"><title>Traces</title>
<style>body {{ font: 14px sans-serif; margin: 2em }} td, th {{ text-align: left; padding: 2px 1em }}</style>
<h1>Traces</h1>
<p>{spans} spans are kept, {dropped} older ones were dropped. <a href="/received">All as JSON lines</a></p>
<table><tr><th>Trace<th>First span<th>Services<th>Spans<th>Milliseconds</tr>
{rows}</table>
"""


class Service(trace_grpc.TraceServiceServicer):
    """The one call of OTLP's trace service."""

    def __init__(self, store):
        self._store = store

    def Export(self, request, context):
        self._store.add(flatten(request))
        return trace.ExportTraceServiceResponse()


def row(trace_id, spans):
    """One trace as a row of the page's table."""
    first = min(spans, key=lambda span: span["start_unix_nano"])
    end = max(span["end_unix_nano"] for span in spans)
    cells = [
        f'<a href="/received?trace={trace_id}">{trace_id}</a>',
        html.escape(first["name"]),
        html.escape(", ".join(sorted({str(span["service"]) for span in spans}))),
        str(len(spans)),
        f"{(end - first['start_unix_nano']) / 1e6:.1f}",
    ]
    return "<tr><td>" + "<td>".join(cells) + "</tr>\n"


def page(lines, dropped):
    """The page for people: the traces that were heard of last, newest first."""
    traces = {}
    for line in lines:
        span = json.loads(line)
        # Taken out and put in again: the order is then that of the last span.
        traces[span["trace_id"]] = [*traces.pop(span["trace_id"], []), span]
    newest = list(traces.items())[: -TRACES_ON_PAGE - 1 : -1]
    rows = "".join(row(trace_id, spans) for trace_id, spans in newest)
    return PAGE.format(spans=len(lines), dropped=dropped, rows=rows).encode()


def handler(store):
    """The class of HTTP handlers over this store."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            url = urllib.parse.urlsplit(self.path)
            lines, dropped = store.snapshot()
            if url.path == "/":
                self.answer("text/html; charset=utf-8", page(lines, dropped))
            elif url.path == "/received":
                wanted = urllib.parse.parse_qs(url.query).get("trace")
                if wanted:
                    needle = f'"trace_id":"{wanted[0]}"'.encode()
                    lines = [line for line in lines if needle in line]
                self.answer("application/x-ndjson", b"".join(lines), dropped)
            else:
                self.send_error(404)

        def answer(self, content_type, body, dropped=0):
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Spans-Dropped", str(dropped))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *arguments):
            """Says nothing: health checks would be all that is said."""

    return Handler


def main():
    store = Store(int(os.environ.get("TRACES_LIMIT_BYTES", 64 * 1024 * 1024)))
    receiver = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    trace_grpc.add_TraceServiceServicer_to_server(Service(store), receiver)
    receiver.add_insecure_port("0.0.0.0:4317")
    web = http.server.ThreadingHTTPServer(("0.0.0.0", 16686), handler(store))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    receiver.start()
    threading.Thread(target=web.serve_forever, daemon=True).start()
    print("traces are received on port 4317 and shown on port 16686")
    stopped.wait()
    receiver.stop(2).wait()
    web.shutdown()


if __name__ == "__main__":
    main()
