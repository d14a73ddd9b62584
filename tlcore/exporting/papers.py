"""Papers: what travels with an exported model.

Owns the input contract, for programs, and the README, for people.
"""

from collections.abc import Mapping
from typing import Any

from tlcore.exporting.targets import Target
from tlcore.runs.prediction import Predictor


def contract(
    predictor: Predictor, target: Target, check: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what an exported model takes and gives.

    Args:
        predictor: the model, its classes, and how images are read for it.
        target: its form.
        check: how it was made and compared. In 8 bits images and outputs stay floats.
    """
    height, width, channels = predictor.model.input_shape[1:]
    outputs = predictor.model.output_shape[-1]
    meaning = "one probability per class"
    if outputs == 1:
        meaning = f"the probability of {predictor.labels[1]!r}"
    return {
        "file": target.file,
        "int8": check["int8"],
        "quantization": check["quantization"],
        "input": {
            "shape": [None, height, width, channels],
            "dtype": "float32",
            "range": [0, 255],
            "channels": "RGB",
            "reading": predictor.reading.as_dict(),
        },
        "output": {"shape": [None, outputs], "dtype": "float32", "meaning": meaning},
        "classes": list(predictor.labels),
    }


def _in_8_bits(how: Mapping[str, Any] | None) -> str:
    """Return the section of the README on how a model got its 8 bits."""
    if how is None:
        return ""
    in_float, uncorrected = (
        "".join(f"\n- {name}" for name in how[x]) or " none"
        for x in ("in_float", "uncorrected")
    )
    return f"""
## In 8 bits

Weights are in 8 bits by channel, what layers give in 8 bits by layer; images and
outputs stay floats. The ranges were set by {how["images"]} images that are not compared
below: {how["calibrated_on"]}.

- layers whose bias was corrected for the rounding of the weights: {how["corrected"]}
- layers in 8 bits whose bias was not:{uncorrected}
- operations in floats:{in_float}
"""


def readme(
    contract: Mapping[str, Any], check: Mapping[str, Any], target: Target
) -> str:
    """Return the README of an export.

    Args:
        contract: what `contract` returned.
        check: how it was compared.
        target: its form.
    """
    height, width = contract["input"]["shape"][1:3]
    agreement, names = check["agreement"], contract["classes"]
    same, low, high = (agreement[x] for x in ("value", "low", "high"))
    ours, before = (check[x] * 1e3 for x in ("seconds", "model_seconds"))
    code = "\n".join(f"    {line}" for line in target.runs_by.splitlines())
    classes = "\n".join(f"- {i}: {name}" for i, name in enumerate(names))
    bits = "8 bits" if check["int8"] else "floats"
    return f"""# {contract["file"]}

An image classifier of {len(names)} classes, in {bits}.

It takes RGB images of {height} x {width} pixels, `(n, {height}, {width}, 3)` float32 in
[0, 255]: the range and the channel order of its backbone are applied inside. It gives
{contract["output"]["meaning"]}, `(n, {contract["output"]["shape"][1]})`.

    import numpy as np
    {target.imports}
    from PIL import Image

    photo = Image.open("photo.jpg").convert("RGB").resize(({width}, {height}))
    images = np.asarray(photo, np.float32)[None]
{code}

`contract.json` says the same to programs, and how images were read in training.

## Classes

{classes}
{_in_8_bits(check["quantization"])}
## Compared with the model that was trained

On {agreement["n"]} images (`check.json`):

- the largest difference of an output: {check["difference"]:.2g}
- the same class: {same:.1%} (95 % interval {low:.1%} to {high:.1%})
- size: {check["nbytes"] / 1e6:.2f} MB
- an image by itself: {ours:.1f} ms, the model before its export {before:.1f} ms
"""
