"""Writes the Arrow files of this folder by pyarrow, as other tools than this project would: run `python make.py` here."""

import pyarrow as pa

WIDTH = 8
CLUSTERS = 3


def vector(cluster: int, index: int) -> list[float]:
    """A unit vector near the axis of its cluster."""
    values = [0.0] * WIDTH
    values[cluster] = 1.0
    values[CLUSTERS + index % (WIDTH - CLUSTERS)] = 0.05 * (1 + index % 3)
    norm = sum(v * v for v in values) ** 0.5
    return [v / norm for v in values]


def rows(cameras: list[int], names: str) -> pa.Table:
    """Each person once on each of these cameras; columns in another order than ours, and ones that we do not know."""
    seen = [(cluster, camera) for camera in cameras for cluster in range(CLUSTERS)]
    return pa.table(
        {
            "note": pa.array([None if i % 2 else {"blur": i / 10, "tags": ["a"] * (i % 3)} for i in range(len(seen))]),
            "embedding": pa.array(
                [vector(cluster, i) for i, (cluster, _) in enumerate(seen)], pa.list_(pa.float32(), WIDTH)
            ),
            "camera": pa.array([camera for _, camera in seen], pa.int32()),
            "weather": pa.array(["rain" if i % 2 else "sun" for i in range(len(seen))]).dictionary_encode(),
            "image": [f"{names}/{cluster:04d}_c{camera}.jpg" for cluster, camera in seen],
            "person": pa.array([cluster + 1 for cluster, _ in seen], pa.int32()),
        }
    )


gallery = rows([2, 3, 4], "gallery")
query = rows([1], "query")

with pa.ipc.new_file("gallery.arrow", gallery.schema) as file:
    for batch in gallery.to_batches(max_chunksize=4):
        file.write_batch(batch)

with pa.ipc.new_stream("query.arrows", query.schema) as stream:
    stream.write_table(query)

images = pa.table(
    {
        "image": ["a.jpg", "b.jpg"],
        "person": pa.array([1, 2], pa.int32()),
        "camera": pa.array([1, 1], pa.int32()),
        "pixels": pa.array([bytes(range(18)), bytes(range(18, 36))], pa.binary(18)),
    },
    metadata={"height": "3", "width": "2", "dataset": "test", "split": "train"},
)
options = pa.ipc.IpcWriteOptions(compression="zstd")
with pa.ipc.new_file("images-zstd.arrow", images.schema, options=options) as file:
    file.write_table(images)
