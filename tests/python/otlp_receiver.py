"""Takes traces as a collector does, by OTLP over HTTP, and prints each span as a line of JSON.

The first line that it prints is its port.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


def value(any_value):
    return str(getattr(any_value, any_value.WhichOneof("value")))


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        for of_service in request.resource_spans:
            resource = {a.key: value(a.value) for a in of_service.resource.attributes}
            for of_scope in of_service.scope_spans:
                for span in of_scope.spans:
                    said = {
                        "path": self.path,
                        "content_type": self.headers["content-type"],
                        "service": resource.get("service.name"),
                        "trace": span.trace_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "name": span.name,
                        "kind": span.kind,
                        "status": span.status.code,
                        "attributes": {a.key: value(a.value) for a in span.attributes},
                    }
                    print(json.dumps(said), flush=True)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
