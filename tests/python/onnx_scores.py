"""Holds the scores of our graphs in Python to the expected ones.

    onnx_scores.py graphs FOLDER            every NAME.onnx there, with the rows of NAME.json
    onnx_scores.py registered FILE MODEL    a model of the server at MLFLOW_TRACKING_URI, such as
                                            models:/churn@production, with the rows of FILE

Prints a line per case; ends with an error at the first difference.
"""

import json
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy
import onnx
import onnxruntime
import pandas
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

# The promise is 1e-6. Double precision keeps far more.
TOLERANCE = 1e-12

# What Python has for a text that is missing.
NULLS = (None, float("nan"), pandas.NA)


def column(spec, null):
    values = spec["values"]
    if spec["kind"] == "string":
        # As an object: mlflow hands a frame's column to onnxruntime as it is, and that knows
        # nothing of the texts of pandas 3.
        # A level of such a name is that level.
        if str(null) in spec["levels"]:
            null = next(other for other in NULLS if str(other) not in spec["levels"])
        return pandas.Series([null if v is None else v for v in values], dtype=object)
    if spec["kind"] == "long":
        return pandas.Series([int(float(v)) for v in values], dtype="int64")
    return pandas.Series([float("nan") if v is None else float(v) for v in values], dtype="float64")


def compare(case, how, expected, labels, outputs):
    """`outputs` by name; those of a feature's name have an underscore behind them."""
    outputs = {name.rstrip("_"): values for name, values in outputs.items()}
    names = {"prediction"} if labels is None else {"probability", "prediction"}
    assert set(outputs) == names, f"{case}, {how}: outputs {set(outputs)}"
    scores = outputs["prediction" if labels is None else "probability"]
    assert scores.dtype == numpy.float64 and scores.shape == expected.shape, f"{case}, {how}"
    off = numpy.abs(scores - expected) / numpy.maximum(numpy.abs(expected), 1.0)
    worst = int(numpy.argmax(off))
    assert off[worst] <= TOLERANCE, f"{case}, {how}, row {worst}: {scores[worst]!r}, expected {expected[worst]!r}"
    if labels is not None:
        wrong = numpy.flatnonzero(outputs["prediction"] != labels)
        assert wrong.size == 0, f"{case}, {how}, row {wrong[0]}: label, score {scores[wrong[0]]!r}"
    return off[worst]


def read(path):
    case = json.loads(path.read_text())
    expected = numpy.array([float(score) for score in case["scores"]])
    labels = None if case["labels"] is None else numpy.array(case["labels"], dtype="int64")
    return case["columns"], expected, labels


def frame_of(columns, null):
    return pandas.DataFrame({spec["name"]: column(spec, null) for spec in columns})


def by_name(answer):
    return {name: answer[name].to_numpy() for name in answer}


def graph(path):
    columns, expected, labels = read(path.with_suffix(".json"))
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {value.name: value.type for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    types = {"string": "tensor(string)", "long": "tensor(int64)", "double": "tensor(double)"}
    assert inputs == {spec["name"]: types[spec["kind"]] for spec in columns}, inputs
    worst = 0.0
    for null in NULLS:
        frame = frame_of(columns, null)
        shape = [-1, 1] if len(inputs) == 1 else [-1]
        feeds = {name: frame[name].to_numpy().reshape(shape) for name in frame}
        outputs = dict(zip(names, session.run(names, feeds)))
        worst = max(worst, compare(path.stem, f"onnxruntime, {null}", expected, labels, outputs))

    # One row alone, which is what a service sends.
    alone = session.run(names, {name: values[:1] for name, values in feeds.items()})
    first = None if labels is None else labels[:1]
    compare(path.stem, "one row", expected[:1], first, dict(zip(names, alone)))

    # As MLflow saves and loads a model of its own, with the types of the columns checked.
    signature = ModelSignature(Schema([ColSpec(spec["kind"], spec["name"]) for spec in columns]))
    with tempfile.TemporaryDirectory() as folder:
        saved = {"signature": signature, "save_as_external_data": False, "pip_requirements": []}
        mlflow.onnx.save_model(model, f"{folder}/model", **saved)
        answer = mlflow.pyfunc.load_model(f"{folder}/model").predict(frame)
        worst = max(worst, compare(path.stem, "pyfunc", expected, labels, by_name(answer)))
    print(f"{len(expected)} rows of {path.stem}", f"largest difference {worst:.1e}", sep="\n")


def registered(path, uri):
    columns, expected, labels = read(path)
    loaded = mlflow.pyfunc.load_model(uri)
    assert set(loaded.metadata.flavors) == {"pmmds", "onnx", "python_function"}, loaded.metadata
    described = {spec.name: (spec.type.name, spec.required) for spec in loaded.metadata.signature.inputs}
    assert described == {s["name"]: (s["kind"], not s["nullable"]) for s in columns}, described
    answer = loaded.predict(frame_of(columns, None))
    assert list(answer) == loaded.metadata.signature.outputs.input_names(), list(answer)
    worst = compare(uri, "pyfunc", expected, labels, by_name(answer))
    # The flavor of its own checks the graph.
    assert len(mlflow.onnx.load_model(uri).graph.input) == len(columns)
    print(f"{len(expected)} rows of {uri}", f"largest difference {worst:.1e}", sep="\n")


def main():
    what, path = sys.argv[1], Path(sys.argv[2])
    if what == "registered":
        return registered(path, sys.argv[3])
    graphs = sorted(path.glob("*.onnx"))
    assert what == "graphs" and graphs, "there is nothing to check"
    for path in graphs:
        graph(path)


main()
