"""Write enrich_dist/matching/data/word_frequencies.txt: the number of names of a recipients file that have each word.

    python scripts/word_frequencies.py data/sample/recipients.parquet

Run it when the sample or the word lists of the normaliser change.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from enrich_dist.matching.arrays import as_array
from enrich_dist.matching.normalise import split_names
from enrich_dist.matching.vocabulary import split_words

TARGET = Path(__file__).parents[1] / "enrich_dist/matching/data/word_frequencies.txt"
MIN_NAMES = 5
HEAD = """\
# Words of US organisation names, and how many of the distinct names have each: the background frequencies for runs with
# few companies. Written by scripts/word_frequencies.py from the sample's vendor names.
"""


def main(path: str) -> None:
    """Count the words of the distinct normalised names."""
    names = as_array(pc.unique(split_names(pq.read_table(path, columns=["legal_business_name"]).column(0))["name"]))
    owner, surface = split_words(names)
    encoded = pc.dictionary_encode(surface)
    texts, word = encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)
    pairs = np.unique(word * len(names) + owner)
    counts = np.bincount(pairs // len(names))
    kept = np.flatnonzero(counts >= MIN_NAMES)
    order = kept[np.lexsort((texts.take(kept).to_numpy(zero_copy_only=False), -counts[kept]))]
    lines = [f"{texts[int(at)].as_py()} {counts[at]}" for at in order]
    TARGET.write_text(HEAD + f"names {len(names)}\n" + "\n".join(lines) + "\n", "ascii")


if __name__ == "__main__":
    main(sys.argv[1])
