"""Operations: what the graph of a SavedModel does besides computing.

Owns which operations of TensorFlow touch files, start Python code or end the process,
and finding them in a SavedModel before any of it runs. Nothing is loaded here: the
graph is read as a document. TensorFlow runs the initializers of a SavedModel while it
loads it, so whoever looks afterwards looks too late.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tlcore.hub.saved_models import read_graphs

# Of each the name without "Experimental" in front and a version behind it.
_TOUCHING = frozenset(
    {
        *("ReadFile", "WriteFile", "MatchingFiles", "ImmutableConst"),
        *("PyFunc", "PyFuncStateless", "EagerPyFunc", "Abort"),
        *("Save", "SaveSlices", "Restore", "RestoreSlice", "MergeV2Checkpoints"),
        *("LoadAndRemapMatrix", "GenerateVocabRemapping"),
        *("FixedLengthRecordReader", "LMDBReader", "TextLineReader"),
        *("TFRecordReader", "WholeFileReader"),
        *("CSVDataset", "CacheDataset", "DataServiceDataset", "DatasetToTFRecord"),
        *("DistributedSave", "FixedLengthRecordDataset", "LMDBDataset"),
        *("ListSnapshotChunksDataset", "LoadDataset", "MatchingFilesDataset"),
        *("RegisterDataset", "SaveDataset", "SnapshotChunkDataset"),
        *("SnapshotDataset", "SnapshotDatasetReader", "SnapshotNestedDatasetReader"),
        *("SqlDataset", "TFRecordDataset", "TextLineDataset"),
        *("CreateSummaryDbWriter", "CreateSummaryFileWriter"),
        *("DebugIdentity", "DebugNanCount", "DebugNumericSummary"),
        *("FileSystemSetConfiguration", "RpcCall", "RpcClient", "RpcServer"),
    }
)
_CHECKPOINTS = frozenset({"Save", "Restore", "MergeV2Checkpoints"})
"""What the loader's own functions for checkpoints do."""
_TABLE_FROM_FILE = "InitializeTableFromTextFile"
"""Fills a vocabulary; text models read those among their assets."""
_STREAMS = frozenset(
    {"", "stderr", "stdout", "log(info)", "log(warning)", "log(error)"}
)
_OWN_DESCRIPTORS = frozenset({"", "local://"})


def touching_operations(folder: Path) -> tuple[str, ...]:
    """Return the operations of a SavedModel that touch more than its own tensors.

    Args:
        folder: as `tlcore.hub.handles.resolve` returns it.

    Returns:
        One line for each kind and function, such as "WriteFile in __inference_fill_7";
        empty for a SavedModel that only computes.

    Raises:
        ValueError: the graph cannot be read.

    Example:
        >>> import keras
        >>> network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> network.export("computing", verbose=False)
        >>> touching_operations(Path("computing"))
        ()
    """
    found: dict[str, None] = {}
    for graph in read_graphs(folder):
        own = _loaders_own(graph)
        has_assets = any(graph.asset_file_def)
        outside = [x.filename for x in graph.asset_file_def if not _is_inside(x)]
        found |= dict.fromkeys(f"the file {name!r} as an asset" for name in outside)
        for function, node in _nodes(graph):
            kind = _kind(node.op)
            if function in own and kind in _CHECKPOINTS:
                continue
            if _touches(kind, node, has_assets=has_assets):
                found[f"{node.op} in {function or 'its main graph'}"] = None
    return tuple(found)


def _kind(operation: str) -> str:
    if operation == "MergeV2Checkpoints":
        return operation
    return re.sub(r"V\d+$", "", operation.removeprefix("Experimental"))


def _touches(kind: str, node: Any, *, has_assets: bool) -> bool:
    if kind == "Print":
        return _text(node, "output_stream") not in _STREAMS
    if kind in {"DecodeProto", "EncodeProto"}:
        source = _text(node, "descriptor_source")
        return source not in _OWN_DESCRIPTORS and not source.startswith("bytes://")
    if kind == _TABLE_FROM_FILE:
        return not has_assets
    return kind in _TOUCHING


def _text(node: Any, name: str) -> str:
    return node.attr[name].s.decode("utf-8", "replace") if name in node.attr else ""


def _is_inside(asset: Any) -> bool:
    name = asset.filename
    return not name.startswith("/") and ".." not in re.split(r"[/\\]", name)


def _nodes(graph: Any) -> Iterator[tuple[str, Any]]:
    """Yield every node with the name of its function, "" in the main graph."""
    for node in graph.graph_def.node:
        yield "", node
    for function in graph.graph_def.library.function:
        for node in function.node_def:
            yield function.signature.name, node


def _loaders_own(graph: Any) -> set[str]:
    """Return the functions that nothing but the saving of checkpoints reaches.

    A SavedModel brings the functions that write and restore its checkpoint. Loading it
    runs none of them; an initializer that calls one is not the loader's own.
    """
    ends = {graph.saver_def.save_tensor_name, graph.saver_def.restore_op_name}
    names = {end.partition(":")[0] for end in ends}
    saving: list[str] = []
    rest = list(graph.object_graph_def.concrete_functions)
    for node in graph.graph_def.node:
        (saving if node.name in names else rest).extend(_called(node))
    calls: dict[str, set[str]] = {}
    for function in graph.graph_def.library.function:
        called = (name for node in function.node_def for name in _called(node))
        calls[function.signature.name] = set(called)
    return _reached(saving, calls) - _reached(rest, calls)


def _called(node: Any) -> Iterator[str]:
    yield node.op  # a function is called by its name as well
    for value in node.attr.values():
        yield value.func.name
        for one in value.list.func:
            yield one.name


def _reached(names: Iterable[str], calls: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [name for name in names if name in calls]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [x for x in calls[name] if x in calls]
    return found
