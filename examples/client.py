#!/usr/bin/env python3
"""A client of the service, with nothing but Python's standard library.

As a module:

    from client import Client
    client = Client("http://127.0.0.1:8000", token=None)
    answer = client.predict({"tenure": 12, ...})
    client.outcomes([(answer["request_id"], 1)])

As a program:

    python3 examples/client.py predict < features.json
    python3 examples/client.py batch < list-of-features.json
    python3 examples/client.py outcome REQUEST_ID 1
    python3 examples/client.py drift
    python3 examples/client.py alerts

The address is in SERVICE_URL (http://127.0.0.1:8000), the admin token in PMMDS_ADMIN_TOKEN.
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid


class ServiceError(Exception):
    """The service said no; `problem` is its answer by RFC 9457."""

    def __init__(self, status, problem):
        super().__init__(f"{status}: {problem.get('detail', problem)}")
        self.status, self.problem = status, problem

    @property
    def code(self):
        return self.problem.get("code")


class Client:
    """One service. What passes (503, no connection) is tried again, under the same id."""

    def __init__(self, url="http://127.0.0.1:8000", token=None, timeout=10.0, tries=3):
        self.url, self.token, self.timeout, self.tries = url.rstrip("/"), token, timeout, tries

    def predict(self, features, request_id=None):
        """One row. The id makes it safe to send again: it is predicted and logged once."""
        body = {"request_id": str(request_id or uuid.uuid4()), "features": features}
        return self._call("POST", "/api/v1/predict", body)

    def predict_batch(self, rows):
        """Many rows at once, answered in their order."""
        instances = [{"request_id": str(uuid.uuid4()), "features": row} for row in rows]
        return self._call("POST", "/api/v1/predict/batch", {"instances": instances})

    def outcomes(self, pairs):
        """What really happened, as pairs of request id and outcome."""
        body = [{"request_id": str(request_id), "outcome": outcome} for request_id, outcome in pairs]
        return self._call("POST", "/api/v1/outcomes", body, key=str(uuid.uuid4()))

    def drift_latest(self):
        """The latest drift run; None before the first, which is not the same as no drift."""
        try:
            return self._call("GET", "/api/v1/drift/latest")
        except ServiceError as error:
            if error.code == "no_drift_run":
                return None
            raise

    def alerts(self, state="open"):
        """Alerts, newest first, from as many pages as there are."""
        cursor = ""
        while cursor is not None:
            page = self._call("GET", f"/api/v1/alerts?state={state}{cursor}")
            yield from page["items"]
            cursor = page["next"] and f"&cursor={page['next']}"

    def acknowledge(self, alert_id, action_taken=None):
        """Says that somebody looks at an alert, and what was done."""
        body = {"action_taken": action_taken}
        return self._call("POST", f"/api/v1/alerts/{alert_id}/acknowledge", body, key=str(uuid.uuid4()))

    def _call(self, method, path, body=None, key=None):
        headers = {"accept": "application/json, application/problem+json"}
        data = None
        if body is not None:
            data = json.dumps(body, allow_nan=False).encode()
            headers["content-type"] = "application/json"
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        if key:
            headers["idempotency-key"] = key
        for left in reversed(range(self.tries)):
            request = urllib.request.Request(self.url + path, data, headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    problem = _problem(error)
                if error.code != 503 or not left:
                    raise ServiceError(error.code, problem) from None
                pause = min(float(error.headers.get("retry-after") or 1), 5.0)
            except (OSError, http.client.HTTPException):
                if not left:
                    raise
                pause = 0.5
            time.sleep(pause)


def _problem(answer):
    try:
        problem = json.load(answer)
        return problem if isinstance(problem, dict) else {"detail": problem}
    except ValueError:
        return {"detail": answer.reason}


def main(arguments):
    client = Client(os.environ.get("SERVICE_URL", "http://127.0.0.1:8000"), os.environ.get("PMMDS_ADMIN_TOKEN"))
    match arguments:
        case ["predict"]:
            found = client.predict(json.load(sys.stdin))
        case ["batch"]:
            found = client.predict_batch(json.load(sys.stdin))
        case ["outcome", request_id, outcome]:
            found = client.outcomes([(request_id, float(outcome))])
        case ["drift"]:
            found = client.drift_latest()
        case ["alerts"]:
            found = list(client.alerts())
        case ["acknowledge", alert_id, *action]:
            found = client.acknowledge(alert_id, " ".join(action) or None)
        case _:
            sys.exit(__doc__)
    try:
        json.dump(found, sys.stdout, indent=2)
        print()
    except BrokenPipeError:
        pass


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ServiceError as error:
        sys.exit(f"the service answered {error}")
