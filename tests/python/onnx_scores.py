"""Scores the rows of every case in a folder with onnxruntime and with MLflow's pyfunc, and holds the
scores to the expected ones. Prints one line per case; ends with an error at the first difference."""

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


def check(path):
    case = json.loads(path.with_suffix(".json").read_text())
    expected = numpy.array([float(score) for score in case["scores"]])
    labels = None if case["labels"] is None else numpy.array(case["labels"], dtype="int64")

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = {value.name: value for value in session.get_inputs()}
    assert list(inputs) == [spec["name"] for spec in case["columns"]]
    types = {"string": "tensor(string)", "long": "tensor(int64)", "double": "tensor(double)"}
    for spec in case["columns"]:
        assert inputs[spec["name"]].type == types[spec["kind"]], spec["name"]
    worst = 0.0

    for null in NULLS:
        frame = pandas.DataFrame({spec["name"]: column(spec, null) for spec in case["columns"]})
        shape = [-1, 1] if len(inputs) == 1 else [-1]
        feeds = {name: frame[name].to_numpy().reshape(shape) for name in frame}
        names = [value.name for value in session.get_outputs()]
        outputs = dict(zip(names, session.run(names, feeds)))
        worst = max(worst, compare(path.stem, f"onnxruntime, {null}", expected, labels, outputs))

    # One row alone, which is what a service sends.
    alone = session.run(names, {name: values[:1] for name, values in feeds.items()})
    compare(path.stem, "one row", expected[:1], None if labels is None else labels[:1], dict(zip(names, alone)))

    # As MLflow saves and loads a model of its own, with the types of the columns checked.
    signature = ModelSignature(Schema([ColSpec(spec["kind"], spec["name"]) for spec in case["columns"]]))
    with tempfile.TemporaryDirectory() as folder:
        mlflow.onnx.save_model(
            model,
            f"{folder}/model",
            signature=signature,
            save_as_external_data=False,
            pip_requirements=[],
        )
        loaded = mlflow.pyfunc.load_model(f"{folder}/model")
        answer = loaded.predict(frame.astype({name: object for name in frame if frame[name].dtype == object}))
        outputs = {name: answer[name].to_numpy() for name in answer}
        worst = max(worst, compare(path.stem, "pyfunc", expected, labels, outputs))
    print(f"{len(expected)} rows of {path.stem}", f"largest difference {worst:.1e}", sep="\n")


def main():
    graphs = sorted(Path(sys.argv[1]).glob("*.onnx"))
    assert graphs, "there is nothing to check"
    for path in graphs:
        check(path)


main()
