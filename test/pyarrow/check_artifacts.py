"""Checks every Arrow file of a run with pyarrow: columns, types and metadata as the design pins them.

    python3 check_artifacts.py RUN

Prints how many files and rows of each artifact there are. Exit code 1 with a line for each breach.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc


def vector(kind):
    return pa.types.is_fixed_size_list(kind) and pa.types.is_float32(kind.value_type)


def int_list(kind):
    return pa.types.is_list(kind) and pa.types.is_int32(kind.value_type)


UTF8, INT32, INT8 = pa.types.is_string, pa.types.is_int32, pa.types.is_int8
FLOAT32, FLOAT64, BOOL = pa.types.is_float32, pa.types.is_float64, pa.types.is_boolean

# By port, which also names the file: columns with their types, and the keys that the metadata must have.
PINNED = {
    "images": (
        {"image": UTF8, "person": INT32, "camera": INT32, "pixels": pa.types.is_fixed_size_binary},
        {"height", "width", "dataset", "split"},
    ),
    "batches": (
        {"image": UTF8, "label": INT32, "camera": INT32, "view": INT8, "pixels": vector},
        {"iteration", "height", "width"},
    ),
    "embeddings": ({"image": UTF8, "person": INT32, "camera": INT32, "embedding": vector}, set()),
    "pseudo-labels": ({"image": UTF8, "label": INT32}, set()),
    "centroids": ({"label": INT32, "size": INT32, "centroid": vector}, set()),
    "train-metrics": ({"epoch": INT32, "iteration": INT32, "learningRate": FLOAT32, "millis": FLOAT32}, set()),
    "teacher-updates": ({"update": INT32, "alpha": FLOAT64, "studentSums": vector}, {"parameters"}),
    "checkpoint": (
        {"network": UTF8, "name": UTF8, "dtype": UTF8, "shape": int_list, "data": pa.types.is_large_binary},
        {"model"},
    ),
    "metrics": ({"name": UTF8, "value": FLOAT64}, set()),
    "ranking": ({"query": UTF8, "rank": INT32, "gallery": UTF8, "distance": FLOAT32, "match": BOOL}, {"depth"}),
}


def pixel_problems(table, metadata):
    wide = table.schema.field("pixels").type.byte_width
    expected = int(metadata["height"]) * int(metadata["width"]) * 3
    return [] if wide == expected else [f"pixels are {wide} bytes a row, the metadata says {expected}"]


def loss_problems(table):
    pinned = PINNED["train-metrics"][0]
    losses = [field for field in table.schema if field.name not in pinned]
    wrong = [f"loss term {field.name} is {field.type}" for field in losses if not FLOAT32(field.type)]
    return wrong if losses else ["it has no loss terms"]


def checkpoint_problems(table, metadata):
    json.loads(metadata["model"])
    sizes = {"float32": 4, "int64": 8}
    problems = []
    for row in table.to_pylist():
        values = 1
        for side in row["shape"]:
            values *= side
        if len(row["data"]) != values * sizes[row["dtype"]]:
            problems.append(f"{row['network']} {row['name']}: {len(row['data'])} bytes for {row['dtype']} {row['shape']}")
    return problems


def problems_of(port, table):
    if port not in PINNED:
        return [f"no artifact is called {port}"]
    columns, keys = PINNED[port]
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    problems = [f"metadata lacks {key}" for key in sorted(keys - metadata.keys())]
    for name, accepts in columns.items():
        if name not in table.schema.names:
            problems.append(f"column {name} is missing")
        elif not accepts(table.schema.field(name).type):
            problems.append(f"column {name} is {table.schema.field(name).type}")
        elif table[name].null_count > 0 and (port, name) != ("train-metrics", "millis"):
            problems.append(f"column {name} has {table[name].null_count} nulls")
    if problems:
        return problems
    if port == "images":
        return pixel_problems(table, metadata)
    if port == "train-metrics":
        return loss_problems(table)
    return checkpoint_problems(table, metadata) if port == "checkpoint" else []


def main(run):
    recorded = json.loads((run / "manifest.json").read_text())["tasks"]
    port_of = {file["path"]: (port, file["rows"]) for task in recorded.values() for port, output in task["outputs"].items() for file in output["files"]}
    files, rows, breaches = Counter(), Counter(), []
    for path in sorted(run.rglob("*.arrow")):
        name = path.relative_to(run).as_posix()
        if name not in port_of:
            breaches.append(f"{name}: the manifest does not know it")
            continue
        port, expected = port_of.pop(name)
        with ipc.open_file(path) as reader:
            table = reader.read_all()
        table.validate(full=True)
        found = problems_of(port, table)
        if table.num_rows != expected:
            found.append(f"{table.num_rows} rows, the manifest says {expected}")
        breaches += [f"{name}: {problem}" for problem in found]
        files[port] += 1
        rows[port] += table.num_rows
    breaches += [f"{name}: it is not there" for name in port_of]
    for port in sorted(files):
        print(f"{port}: {files[port]} files, {rows[port]} rows")
    for breach in breaches:
        print(breach, file=sys.stderr)
    if not files:
        print(f"{run}: it holds no Arrow file", file=sys.stderr)
    return 1 if breaches or not files else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: check_artifacts.py RUN")
    sys.exit(main(Path(sys.argv[1])))
