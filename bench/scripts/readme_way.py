"""The way of the README from photographs to an export, run as it is printed.

The commands are read from the README. So that they run without a download, the
backbones are others: `sample_net`, and beside it in the ranking one with random
weights. The photographs are sample images.

    python bench/scripts/readme_way.py OUT [--small] [--pictures docs/way]

leaves everything in OUT, a new folder. `--pictures` has the pictures of the README
drawn again.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[2]
README = PROJECT / "README.md"
HEADING = "## From your photographs to a model"
BACKBONES = {
    "efficientnet_b0": "sample_net",
    "mobilenet_v2": "mobilenet_v2_035=random.weights.h5",
}
"""Those of the README, and what stands for them here."""
SHOWN = ("ranking.png", "sweep.png", "pictures/confusion.png", "pictures/mistakes.png")
"""What the commands leave, and the README shows."""


def commands() -> list[str]:
    """Return the lines of the README that begin with `tlcore`."""
    section = README.read_text("utf-8").split(HEADING)[1].split("\n## ")[0]
    block = section.split("```")[1]
    return [line.partition("#")[0] for line in block.splitlines() if "tlcore " in line]


def offline(line: str, *, small: bool) -> Iterator[str]:
    """Yield the words of a command that needs no download."""
    _, command, *words = line.split()
    yield command
    for word in words:
        yield ",".join(BACKBONES.get(name, name) for name in word.split(","))
    if command in {"rank", "sweep", "run"}:
        yield from ("--image-size", "32" if small else "96")
    if command in {"sweep", "run"}:
        yield from ("--backbone", "sample_net")
        if small:
            yield from ("--epochs", "2")
    if command == "run":
        yield from ("--learning-rate", "0.01")


def random_weights(path: Path, size: int) -> None:
    """Write weights of a backbone that has learned nothing."""
    import keras

    import tlcore as tl

    keras.utils.set_random_seed(1)
    shape = (size, size, 3)
    model = tl.load_backbone("mobilenet_v2_035", weights=None, input_shape=shape)
    model.save_weights(path)


def picture_of_maps(maps: Path, target: Path) -> None:
    """Put the heat maps of a few images side by side."""
    from PIL import Image

    found = sorted(maps.rglob("*.*"))
    chosen = found[:: max(1, len(found) // 6)][:6]
    images = [Image.open(path).convert("RGB").resize((160, 160)) for path in chosen]
    strip = Image.new("RGB", (168 * len(images) - 8, 160), "white")
    for place, image in enumerate(images):
        strip.paste(image, (168 * place, 0))
    strip.save(target)


def main() -> int:
    """Run the commands in a new folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--small", action="store_true", help="a minute, to try it")
    parser.add_argument("--pictures", type=Path, help="folder of the README's pictures")
    options = parser.parse_args()
    options.out.mkdir(parents=True)
    size, count = ("32", "8") if options.small else ("96", "40")
    random_weights(options.out / "random.weights.h5", int(size))
    sample = ["sample-images", "photos", "--size", size, "--per-class", count]
    ways = [sample, *(list(offline(x, small=options.small)) for x in commands())]
    environment = {**os.environ, "TLCORE_CACHE_DIR": str(options.out / "features")}
    for words in ways:
        print("$ tlcore", *words, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "tlcore", *words],
            cwd=options.out,
            env=environment,
            check=False,
        )
        if done.returncode:
            print(f"readme_way: exit code {done.returncode}", file=sys.stderr)
            return 1
    if options.pictures is not None:
        options.pictures.mkdir(exist_ok=True)
        for name in SHOWN:
            shutil.copy(options.out / name, options.pictures)
        picture_of_maps(options.out / "maps", options.pictures / "heat_maps.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
