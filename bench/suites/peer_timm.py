"""The peer: EfficientNetB0 of timm in plain PyTorch, timed on the device at hand.

    python peer_timm.py --size 224 --batch 256 --images 2048 --steps 20 --rounds 5

Prints one line of JSON: seconds by name, once for each round. It is a program of its
own, so that its figures are the same whichever backend Keras has beside it.
"""

import argparse
import json
import sys
import time

CLASSES = 10


def main() -> None:
    """Measure inference, training and the epochs of transfer learning."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in ("size", "batch", "images", "steps", "rounds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    figures = Peer(parser.parse_args()).measured()
    sys.stdout.write(f"{json.dumps(figures)}\n")


class Peer:
    """What is timed, as someone who writes PyTorch for this device would write it.

    Products are in TF32 and batches in the layout that convolutions prefer, as in
    timm's own benchmark.
    """

    def __init__(self, chosen):
        import timm
        import torch

        self.torch, self.chosen = torch, chosen
        self.gpu = torch.cuda.is_available()
        self.device = "cuda" if self.gpu else "cpu"
        torch.manual_seed(1)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.benchmark_limit = 3  # more takes longer than the figures
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        network = timm.create_model(
            "efficientnet_b0", pretrained=False, num_classes=CLASSES
        )
        self.network = self._placed(network)
        self.images = self._images(chosen.batch).to(self.device)
        self.labels = torch.randint(0, CLASSES, (chosen.batch,)).to(self.device)

    def measured(self):
        """Return the seconds of each kind of work, by name."""
        found = {}
        for name, half in (("", False), ("_bfloat16", True)):
            found[f"inference_step{name}"] = self._steps(self._inference(half=half))
            found[f"training_step{name}"] = self._steps(self._training(half=half))
        found["feature_extraction_epoch"] = self._epochs([self.network.classifier])
        net = self.network
        # The last 10 layers as Keras counts them.
        block = net.blocks[-1][-1]
        last = [block.se, block.conv_pwl, block.bn3, net.conv_head, net.bn2]
        found["last_10_epoch"] = self._epochs([*last, net.classifier])
        return found

    def _placed(self, tensors):
        return tensors.to(self.device).to(memory_format=self.torch.channels_last)

    def _images(self, count):
        shape = (count, 3, self.chosen.size, self.chosen.size)
        images = self.torch.randint(0, 256, shape, dtype=self.torch.uint8)
        return images.contiguous(memory_format=self.torch.channels_last)

    def _forward(self, images, *, half):
        bfloat16 = self.torch.bfloat16
        with self.torch.autocast(self.device, dtype=bfloat16, enabled=half):
            return self.network(images.float() / 127.5 - 1.0).float()

    def _inference(self, *, half):
        self.network.eval()

        def step():
            with self.torch.inference_mode():
                self._forward(self.images, half=half)

        return step

    def _training(self, *, half):
        self.network.train()
        optimizer = self._optimizer(self.network.parameters())
        return lambda: self._learn(optimizer, self.images, self.labels, half=half)

    def _optimizer(self, parameters):
        return self.torch.optim.Adam(parameters, lr=1e-4, fused=self.gpu)

    def _learn(self, optimizer, images, labels, *, half=False):
        outputs = self._forward(images, half=half)
        loss = self.torch.nn.functional.cross_entropy(outputs, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def _wait(self):
        if self.gpu:
            self.torch.cuda.synchronize()

    def _steps(self, step):
        for _ in range(3):
            step()
        self._wait()
        taken = []
        for _ in range(self.chosen.rounds):
            begin = time.perf_counter()
            for _ in range(self.chosen.steps):
                step()
            self._wait()
            taken.append((time.perf_counter() - begin) / self.chosen.steps)
        return taken

    def _epochs(self, trained):
        """Return the seconds of epochs over images in memory; the first warms up."""
        count, size = self.chosen.images, self.chosen.batch
        images, labels = self._images(count), self.torch.randint(0, CLASSES, (count,))
        if self.gpu:
            images, labels = images.pin_memory(), labels.pin_memory()
        self.network.requires_grad_(requires_grad=False)
        for module in trained:
            module.requires_grad_(requires_grad=True)
        parameters = [p for module in trained for p in module.parameters()]
        self.network.eval()  # statistics stay, as those of a frozen backbone do
        optimizer = self._optimizer(parameters)
        taken = []
        for _ in range(self.chosen.rounds + 1):
            begin, total = time.perf_counter(), 0.0
            for first in range(0, count, size):
                some = images[first : first + size], labels[first : first + size]
                placed = [x.to(self.device, non_blocking=True) for x in some]
                total = total + self._learn(optimizer, *placed)
            float(total)
            self._wait()
            taken.append(time.perf_counter() - begin)
        return taken[1:]


if __name__ == "__main__":
    main()
