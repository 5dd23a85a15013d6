"""Asks a service by NVIDIA's client of the Open Inference Protocol; writes what it was told as JSON.

The address, without its scheme, is the first argument, the name of the model the second. On stdin:
{"features": [{...}, ...], "types": {"tenure": "INT64", ...}}.
"""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

address, model = sys.argv[1:]
asked = json.load(sys.stdin)
rows, types = asked["features"], asked["types"]
client = triton.InferenceServerClient(url=address)

TYPES = {"BYTES": np.object_, "INT64": np.int64, "FP64": np.float64}


def tensors(binary):
    inputs = []
    for name, datatype in types.items():
        values = [row[name] for row in rows]
        if datatype == "FP64":
            values = [float("nan") if value is None else value for value in values]
        tensor = triton.InferInput(name, [len(values)], datatype)
        inputs.append(tensor.set_data_from_numpy(np.array(values, dtype=TYPES[datatype]), binary_data=binary))
    return inputs


def objects(binary):
    tensor = triton.InferInput("rows", [len(rows), 1], "BYTES")
    entries = np.array([[json.dumps(row)] for row in rows], dtype=np.object_)
    return [tensor.set_data_from_numpy(entries, binary_data=binary)]


def answered(result):
    outputs = {output["name"] for output in result.get_response()["outputs"]}
    text = [value.decode() if isinstance(value, bytes) else value for value in column(result, "request_id", outputs)]
    return {
        "probability": column(result, "probability", outputs),
        "prediction": column(result, "prediction", outputs),
        "request_id": text,
        "version": result.get_response()["model_version"],
    }


def column(result, name, outputs):
    return result.as_numpy(name).tolist() if name in outputs else []


def refused(**how):
    try:
        client.infer(model, **how)
    except InferenceServerException as error:
        return {"status": error.status(), "message": error.message()}
    return None


probability = triton.InferRequestedOutput("probability", binary_data=False)
mixed = [probability, triton.InferRequestedOutput("prediction", binary_data=True)]
too_short = tensors(True)
too_short[0]._raw_data = too_short[0]._raw_data[:-1]
complete = all(value is not None for row in rows for value in row.values())
told = {
    "live": client.is_server_live(),
    "ready": client.is_server_ready(),
    "model_ready": client.is_model_ready(model),
    "other_ready": client.is_model_ready(model, "77"),
    "server": client.get_server_metadata(),
    "model": client.get_model_metadata(model),
    "answers": {
        # As the client does it unless it is told otherwise: all of it binary.
        "usual": answered(client.infer(model, tensors(True))),
        "objects": answered(client.infer(model, objects(True), request_id="abc")),
        "version": answered(client.infer(model, objects(True), model_version="1")),
        "mixed": answered(client.infer(model, objects(False), outputs=mixed)),
        # JSON has no NaN.
        "json": answered(client.infer(model, tensors(False) if complete else objects(False), outputs=[probability])),
    },
    "refused": {
        "gzip": refused(inputs=objects(True), request_compression_algorithm="gzip"),
        "deflate": refused(inputs=objects(False), request_compression_algorithm="deflate"),
        "incomplete": refused(inputs=tensors(True)[1:]),
        "too_short": refused(inputs=too_short),
        "version": refused(inputs=objects(True), model_version="77"),
        "output": refused(inputs=objects(True), outputs=[triton.InferRequestedOutput("margin")]),
    },
}
json.dump(told, sys.stdout)
