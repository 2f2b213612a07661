"""``python -m enrich_dist.matching`` compiles all kernels into numba's cache, so that no run waits for it."""

from enrich_dist.matching.warm import warm_up

if __name__ == "__main__":
    warm_up()
