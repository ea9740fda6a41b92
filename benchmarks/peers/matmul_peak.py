"""The most float32 operations per second that torch reaches here in a large matrix product.

    python -m benchmarks.peers.matmul_peak

Prints one JSON line.
"""

import json
import time

from benchmarks.peers.report import versions

# Large enough that nothing but the product counts, small enough for a second of work per product on two cores.
SIZE = 3072
REPEATS = 10


def main() -> None:
    """Multiply, and print the best and the median of the repeats in GFLOP/s."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    a, b = torch.rand(SIZE, SIZE), torch.rand(SIZE, SIZE)
    seconds = []
    with torch.inference_mode():
        torch.mm(a, b)
        for _ in range(REPEATS):
            started = time.perf_counter()
            torch.mm(a, b)
            seconds.append(time.perf_counter() - started)
    gflops = [2 * SIZE**3 / each / 1e9 for each in sorted(seconds)]
    report = {
        "program": "torch matmul",
        "size": SIZE,
        "gflops": gflops[0],
        "median_gflops": gflops[REPEATS // 2],
        "threads": torch.get_num_threads(),
        "versions": versions("torch"),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
