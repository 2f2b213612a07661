"""Generated inputs: deterministic, constant in memory, similar to real ones, with a correct truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from enrich_dist.matching.normalise import normalise_names
from enrich_dist.sources import read_awards, read_recipients
from scripts import measure_former_names
from scripts.generator import recipients as recipients_module
from scripts.generator import shares
from scripts.generator.draws import keys_of
from scripts.generator.errors import NAME_ERRORS
from scripts.generator.generate import (
    RECIPIENTS,
    write_award_download,
    write_awards,
    write_common_names,
    write_recipients,
)
from scripts.generator.names import NameModel, distinct_names, split_legal
from scripts.generator.truth import write_truth

SAMPLE = Path(__file__).parents[3] / "data" / "sample" / "recipients.parquet"
ROWS, COMPANIES = 30_000, 10_000
PARTNERS = round(COMPANIES * shares.PARTNER_SHARE)
FILES = ("recipients.parquet", "awards.csv", "truth.parquet", "organisations.parquet")


def flat(table: pa.Table) -> pa.Table:
    """The table without lists, which Arrow cannot join."""
    return table.drop_columns([field.name for field in table.schema if pa.types.is_list(field.type)])


@dataclass(frozen=True)
class Case:
    """A generated case: its directory and tables."""

    directory: Path
    recipients: pa.Table
    truth: pa.Table
    organisations: pa.Table
    awards: pa.Table

    @property
    def partners(self) -> pa.Table:
        """Companies with a partner: truth, the company's columns, and the partner's with the prefix ``right_``."""
        right = flat(self.recipients)
        joined = flat(self.truth).join(flat(self.organisations), "company", "id", join_type="inner")
        right = right.rename_columns([f"right_{name}" for name in right.column_names])
        return joined.join(right, "recipient_hash", "right_recipient_hash", join_type="inner").sort_by("company")


def generate(directory: Path, rows: int, companies: int, seed: int) -> Path:
    write_recipients(directory / "recipients.parquet", rows=rows, seed=seed, sample=SAMPLE)
    write_awards(
        directory / "awards.csv",
        companies=companies,
        recipients=directory / "recipients.parquet",
        seed=seed,
        truth=directory / "truth.parquet",
        organisations=directory / "organisations.parquet",
    )
    return directory


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    directory = generate(tmp_path_factory.mktemp("case"), ROWS, COMPANIES, seed=1)
    tables = [pq.read_table(directory / f"{name}.parquet") for name in ("recipients", "truth", "organisations")]
    text = pcsv.ConvertOptions(column_types={"Agency Tracking Number": pa.string()})
    return Case(directory, *tables, awards=pcsv.read_csv(directory / "awards.csv", convert_options=text))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return generate(tmp_path_factory.mktemp("small"), 2_500, 600, seed=1)


def share(mask: pa.ChunkedArray | pa.Array) -> float:
    return float(pc.mean(pc.fill_null(mask, False).cast(pa.float64())).as_py())


def has(kinds: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    return pc.match_substring_regex(kinds, rf"(^|\+){kind}(\+|$)")


# --- the files as files


def test_same_seed_gives_same_bytes(tmp_path, small):
    again = generate(tmp_path, 2_500, 600, seed=1)
    for name in FILES:
        assert (again / name).read_bytes() == (small / name).read_bytes(), name


def test_other_seed_gives_other_rows(tmp_path, small):
    other = generate(tmp_path, 2_500, 600, seed=2)
    first, second = pq.read_table(small / FILES[0]), pq.read_table(other / FILES[0])
    for column in ("recipient_hash", "legal_business_name", "address_line_1"):
        assert share(pc.equal(first[column], second[column])) < 0.05
    for name in FILES:
        assert (other / name).read_bytes() != (small / name).read_bytes(), name


def test_shorter_file_is_a_prefix(tmp_path, small, monkeypatch):
    shorter = tmp_path / "shorter.parquet"
    monkeypatch.setattr(recipients_module, "BATCH_ROWS", 700)
    write_recipients(shorter, rows=1_700, seed=1, sample=SAMPLE)
    assert pq.read_table(shorter).equals(pq.read_table(small / FILES[0]).slice(0, 1_700))
    metadata = pq.read_metadata(shorter)
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [700, 700, 300]


def test_memory_does_not_grow_with_rows(tmp_path, monkeypatch):
    pool = pa.default_memory_pool()
    allocated: list[int] = []
    make = recipients_module._recipients

    def metered(*args):
        allocated.append(pool.bytes_allocated())
        return make(*args)

    monkeypatch.setattr(recipients_module, "BATCH_ROWS", 1_000)
    monkeypatch.setattr(recipients_module, "_recipients", metered)
    write_recipients(tmp_path / "recipients.parquet", rows=20_000, seed=1, sample=SAMPLE)
    assert len(allocated) == 20
    # Only the footer of the writer grows between batches.
    batch_bytes = pq.read_table(tmp_path / "recipients.parquet").nbytes / 20
    assert allocated[-1] - allocated[2] < batch_bytes


@pytest.mark.parametrize("companies", [0, 2_501])
def test_invalid_sizes_are_refused(tmp_path, small, companies):
    with pytest.raises(ValueError, match="companies must be 1 to 2500"):
        write_awards(tmp_path / "awards.csv", companies=companies, recipients=small / FILES[0], seed=1)
    with pytest.raises(ValueError, match="rows must be at least 1"):
        write_recipients(tmp_path / "none.parquet", rows=0, seed=1, sample=SAMPLE)


def test_every_recipient_can_be_a_company(tmp_path, small):
    write_awards(tmp_path / "all.csv", companies=2_500, recipients=small / FILES[0], seed=3)
    assert read_awards(tmp_path / "all.csv", {}).rows_rejected == 0


# --- recipients resemble real ones


def test_recipients_are_as_sparse_as_declared(case):
    batches = list(read_recipients(case.directory / FILES[0], {}, batch_rows=10_000))
    assert sum(len(batch.recipients) for batch in batches) == ROWS
    # Foreign places have other codes, as in the sample.
    repaired = {(row["outcome"], row["column"]) for batch in batches for row in batch.rejects.to_pylist()}
    assert repaired <= {("repaired", "zip5"), ("repaired", "state")}
    rows = pa.concat_tables(batch.recipients for batch in batches)
    assert len(rows["recipient_id"].unique()) == ROWS
    for column, declared in (("uei", shares.UEI_SHARE), ("duns", shares.DUNS_SHARE), ("city", shares.PLACE_SHARE)):
        assert share(pc.is_valid(rows[column])) == pytest.approx(declared, abs=0.02), column
    real = pq.read_table(SAMPLE)
    for column in ("state", "zip5", "congressional_district"):
        of_places = [share(t.filter(pc.is_valid(t["city"]))[column].is_valid()) for t in (real, case.recipients)]
        assert of_places[1] == pytest.approx(of_places[0], abs=0.02), column
    assert share(pc.is_in(case.recipients["city"].drop_null(), value_set=pc.unique(real["city"]))) == 1.0


def test_names_are_as_distinct_as_real(case):
    real = pq.read_table(SAMPLE)
    real = real.filter(pc.is_valid(real["uei"]))["legal_business_name"]
    for names, low in ((real, 0.90), (case.recipients["legal_business_name"], 0.917)):
        normal = normalise_names(names)
        assert low < len(pc.unique(normal)) / len(normal) < 0.97


def test_vocabulary_grows_like_the_real(case):
    """Doubling the names adds about as many new words as in the sample; many are not in the sample."""

    def types(names: pa.Array, count: int) -> int:
        words = pc.list_element(pc.split_pattern(pc.fill_null(normalise_names(names.slice(0, count)), ""), " "), 0)
        return len(pc.unique(words))

    column = pq.read_table(SAMPLE, columns=["legal_business_name"])["legal_business_name"]
    real = distinct_names(pa.concat_arrays(column.chunks))
    real = real.take(pa.array(np.random.default_rng(0).permutation(len(real))))
    coined = NameModel.of(real).coin(keys_of(np.arange(60_000), 1, "test"))
    for count in (15_000, 30_000, 60_000):
        assert types(coined, count) == pytest.approx(types(real, count), rel=0.25), count
    words = pc.unique(pc.split_pattern(normalise_names(coined), " ").flatten())
    known = pc.unique(pc.split_pattern(pc.fill_null(normalise_names(real), ""), " ").flatten())
    assert 0.3 < share(pc.invert(pc.is_in(words, value_set=known))) < 0.8


def test_names_are_as_long_as_real(case):
    names, real = case.recipients["legal_business_name"], pq.read_table(SAMPLE)["legal_business_name"]
    assert not pc.any(pc.is_null(names)).as_py()
    for ending in (" LLC", "INC."):
        expected = share(pc.ends_with(real, pattern=ending))
        assert share(pc.ends_with(names, pattern=ending)) == pytest.approx(expected, abs=0.05), ending
    assert pc.mean(pc.utf8_length(names)).as_py() == pytest.approx(pc.mean(pc.utf8_length(real)).as_py(), rel=0.1)


def test_chains_second_registrations_and_parents(case):
    rows = case.recipients.append_column("normal", normalise_names(case.recipients["legal_business_name"]))
    groups = rows.group_by("normal").aggregate([("uei", "count"), ("city", "count_distinct"), ("normal", "count")])
    assert pc.max(groups["city_count_distinct"]).as_py() >= 10  # a chain
    assert 0.02 < share(pc.greater(groups["normal_count"], 1)) < 0.06
    counts = rows.drop_columns("normal").group_by("uei").aggregate([("recipient_hash", "count")])
    twice = counts.filter(pc.and_(pc.is_valid(counts["uei"]), pc.greater(counts["recipient_hash_count"], 1)))
    assert 0.001 < len(twice) / ROWS < 0.01
    parents = rows["parent_uei"].drop_null()
    assert 0.01 < len(parents) / ROWS < 0.10
    assert share(pc.is_in(parents, value_set=pc.unique(rows["uei"].drop_null()))) > 0.15
    assert share(pc.greater(pc.list_value_length(rows["alternate_names"]), 0)) == pytest.approx(0.025, abs=0.005)


# --- awards and truth are consistent


def test_awards_are_valid(case):
    result = read_awards(case.directory / "awards.csv", {})
    assert result.rows_rejected == 0
    assert result.cells_repaired == 0
    assert result.rows_read == len(result.awards)
    assert COMPANIES <= len(result.awards) <= 4 * COMPANIES


def test_truth_covers_awards_and_recipients(case):
    truth = case.truth
    assert truth["company"].to_pylist() == [f"C{number:06d}" for number in range(1, COMPANIES + 1)]
    assert truth["company"].equals(case.organisations["id"])
    numbers = truth["agency_tracking_numbers"].combine_chunks().flatten()
    numbers = numbers.take(pc.array_sort_indices(numbers))
    awarded = case.awards["Agency Tracking Number"].combine_chunks()
    assert numbers.equals(awarded.take(pc.array_sort_indices(awarded)))
    assert len(pc.unique(numbers)) == len(numbers) == len(case.awards)
    known = case.recipients["recipient_hash"].combine_chunks()
    assert truth["recipient_hash"].drop_null().length() == PARTNERS
    assert pc.all(pc.is_in(truth["acceptable"].combine_chunks().flatten(), value_set=known)).as_py()
    has_partner = pc.is_valid(truth["recipient_hash"])
    assert has_partner.equals(pc.greater(pc.list_value_length(truth["acceptable"]), 0))
    assert has_partner.equals(pc.not_equal(truth["kind"], "none"))
    assert not pc.any(pc.and_not(truth["findable"], has_partner)).as_py()
    for right, acceptable in zip(
        *(truth[name].to_pylist()[:500] for name in ("recipient_hash", "acceptable")), strict=True
    ):
        assert right is None or right in acceptable


def test_awards_match_their_companies(case):
    """Most awards have the name and town of their company; some have others, as in real data."""
    lists = case.truth["agency_tracking_numbers"].combine_chunks()
    owners = pa.table({"number": lists.flatten(), "id": case.truth["company"].take(pc.list_parent_indices(lists))})
    awards = case.awards.select(["Company", "City", "Award Year", "Agency Tracking Number"])
    awards = awards.join(owners, "Agency Tracking Number", "number").join(flat(case.organisations), "id")
    assert awards["name"].null_count == 0
    same_name = pc.equal(pc.utf8_upper(awards["Company"]), awards["name"])
    same_town = pc.equal(pc.utf8_upper(awards["City"]), awards["city"])
    assert 0.90 < share(same_name) < 0.97
    assert 0.94 < share(same_town) < 0.99
    assert 0.5 < share(pc.equal(awards["Company"], awards["name"])) / share(same_name) / 0.39 < 1.5  # upper case
    assert awards["Award Year"].null_count == 0


def test_errors_are_as_frequent_as_declared(case):
    kinds = case.partners["kind"]
    total = sum(shares.VARIANT_KINDS.values())
    expected = {kind: shares.VARIANT_SHARE * weight / total for kind, weight in shares.VARIANT_KINDS.items()}
    expected["renamed"] = shares.RENAMED_SHARE
    for kind, declared in expected.items():
        assert share(has(kinds, kind)) == pytest.approx(declared, abs=0.0002), kind
    placed = case.partners.filter(
        pc.and_(pc.is_valid(case.partners["right_city"]), pc.is_valid(case.partners["right_zip5"]))
    )
    same_town = 1 - shares.OTHER_CITY_SHARE - shares.OTHER_STATE_SHARE
    for kind, declared in (
        ("state", shares.OTHER_STATE_SHARE),
        ("city", shares.OTHER_CITY_SHARE),
        ("zip", same_town * shares.OTHER_ZIP_SHARE),
        ("street", same_town * (1 - shares.OTHER_ZIP_SHARE) * shares.OTHER_STREET_SHARE),
    ):
        assert share(has(placed["kind"], kind)) == pytest.approx(declared, abs=0.02), kind
    named = shares.SAME_NAME_SHARE + shares.VARIANT_SHARE
    assert share(has(kinds, "legal_form")) == pytest.approx(named * shares.LEGAL_SHARE, abs=0.02)
    assert share(has(kinds, "spacing")) == pytest.approx(named * shares.SPACED_SHARE, abs=0.004)


def test_kind_names_the_differences(case):
    rows = case.partners
    named = pc.equal(rows["name"], rows["right_legal_business_name"])
    changed = [*NAME_ERRORS, "alternate", "legal_form", "punctuation", "spacing"]
    kinds = pc.match_substring_regex(rows["kind"], rf"(^|\+)({'|'.join(changed)})(\+|$)")
    assert named.equals(pc.invert(kinds))
    placed = rows.filter(pc.is_valid(rows["right_state"]))
    for kind, column, right in (("city|state", "city", "right_city"), ("state", "state", "right_state")):
        differs = pc.not_equal(placed[column], placed[right])
        said = pc.match_substring_regex(placed["kind"], rf"(^|\+)({kind})(\+|$)")
        assert differs.equals(said), kind
    alternates = rows.filter(has(rows["kind"], "alternate"))
    assert 0.008 < len(alternates) / PARTNERS < 0.018
    listed = case.recipients["alternate_names"].combine_chunks().flatten()
    assert share(pc.is_in(alternates["name"], value_set=listed)) == 1.0
    same = rows.filter(pc.equal(rows["kind"], "same"))
    assert share(pc.equal(same["address"], same["right_address_line_1"])) == 1.0
    assert pc.is_null(rows.filter(has(rows["kind"], "no_place"))["right_state"]).unique().to_pylist() == [True]


def test_variants_change_more_than_style(case):
    """Differences in case, punctuation or legal form are styles; normalisation removes few other errors."""
    rows = case.partners
    variants = rows.filter(pc.match_substring_regex(rows["kind"], rf"(^|\+)({'|'.join(shares.VARIANT_KINDS)})(\+|$)"))
    assert len(variants) > 400
    names = variants["name"], variants["right_legal_business_name"]
    bare = [split_legal(pa.concat_arrays(side.chunks))[0] for side in names]
    assert share(pc.equal(*(pc.replace_substring_regex(core, "[^A-Z0-9 ]", "") for core in bare))) == 0.0
    assert share(pc.equal(*(normalise_names(side) for side in names))) < 0.2


@pytest.mark.parametrize(
    ("kind", "name", "possible"),
    [
        ("cut", "ADVANCED SCIENCE AND AUTOMATION CORP", {"ADVANCED SCIENCE AND AUTOMATIO"}),
        ("cut", "SHORT NAME, INC.", {"SHORT NAME, INC."}),
        ("word_dropped", "SENTIENT SCIENCE CORPORATION", {"SENTIENT CORPORATION"}),
        ("word_dropped", "KITWARE, INC.", {"KITWARE, INC."}),
        ("inflection", "SCIENCE & ENGINEERING SERVICE INC", {"SCIENCE & ENGINEERING SERVICES INC"}),
        ("abbreviation", "TEXAS LABORATORY TECH", {"TEXAS LAB TECH"}),
        ("abbreviation", "TEXAS INSTITUTE, INC.", {f"TEXAS {short}, INC." for short in ("INS", "INST", "INSTI")}),
        ("initials", "CORNERSTONE RESEARCH GROUP, INC.", {"CRG, INC."}),
        ("initials", "TWO WORDS, INC.", {"TWO WORDS, INC."}),
        ("joined", "SEN SIGMA SYSTEMS LLC", {"SENSIGMA SYSTEMS LLC", "SEN SIGMA SYSTEMS LLC"}),
        ("order", "PARK STRATTON ENGINEERING", {"STRATTON PARK ENGINEERING"}),
        ("typo", "ABCDE, INC.", {"ABDE, INC.", "ABDCE, INC."}),
        ("typo", "ABC DE, INC.", {"ABC DE, INC."}),
    ],
)
def test_errors_change_names_as_documented(model, kind, name, possible):
    names = pa.array([name] * 50)
    changed = NAME_ERRORS[kind].change(keys_of(np.arange(50), 1, "test"), names, model)
    assert set(changed.to_pylist()) == possible


@pytest.fixture(scope="module")
def model(case) -> NameModel:
    return NameModel.of(pa.concat_arrays(case.recipients["legal_business_name"].slice(0, 5_000).chunks))


def test_identifiers_are_independent_of_errors(case):
    rows = case.partners
    for name, declared in (("uei", shares.COMPANY_UEI_SHARE), ("duns", shares.COMPANY_DUNS_SHARE)):
        has_identifier = pc.is_valid(rows[name])
        assert share(has_identifier) == pytest.approx(declared, abs=0.02)
        assert share(pc.equal(rows[name].drop_null(), rows.filter(has_identifier)[f"right_{name}"])) == 1.0
        for kind in ("same", "renamed", "city", "legal_form", "no_place"):
            having = rows.filter(has(rows["kind"], kind))
            # Three standard errors of a share of so many rows.
            assert share(pc.is_valid(having[name])) == pytest.approx(declared, abs=1.5 / len(having) ** 0.5), kind
    both = share(pc.and_(pc.is_valid(rows["uei"]), pc.is_valid(rows["duns"])))
    assert both == pytest.approx(shares.COMPANY_UEI_SHARE * shares.COMPANY_DUNS_SHARE, abs=0.02)
    alone = case.organisations.filter(pc.is_null(case.truth["recipient_hash"]))
    assert share(pc.is_valid(alone["uei"])) == pytest.approx(shares.COMPANY_UEI_SHARE, abs=0.03)
    known = pc.unique(case.recipients["uei"].drop_null())
    assert not pc.any(pc.is_in(alone["uei"].drop_null(), value_set=known)).as_py()


def test_companies_without_partner_include_decoys(case):
    alone = flat(case.truth).join(flat(case.organisations), "company", "id")
    alone = alone.filter(pc.is_null(alone["recipient_hash"]))
    assert len(alone) == COMPANIES - PARTNERS
    for decoy, declared in shares.decoys(ROWS).items():
        assert share(pc.equal(alone["decoy"], decoy)) == pytest.approx(declared, abs=0.002), decoy
    recipients = flat(case.recipients)
    equal = alone.filter(pc.equal(alone["decoy"], "same_name"))
    assert share(pc.is_in(equal["name"], value_set=pc.unique(recipients["legal_business_name"]))) == 1.0
    here = equal.join(recipients, ["name", "state"], ["legal_business_name", "state"], join_type="left semi")
    assert len(here) < 0.2 * len(equal)  # a chain may also be in that state
    streets = alone.filter(pc.equal(alone["decoy"], "same_street"))
    of = ["address", "city", "state"], ["address_line_1", "city", "state"]
    assert len(streets.join(recipients, *of, join_type="left semi")) > 0.8 * len(streets)
    near = alone.filter(pc.equal(alone["decoy"], "near_name"))
    assert len(near.join(recipients, ["name"], ["legal_business_name"], join_type="left semi")) < 0.05 * len(near)
    new = alone.filter(pc.is_null(alone["decoy"]))
    assert len(new.join(recipients, ["name"], ["legal_business_name"], join_type="left semi")) < 0.05 * len(new)


def test_namesakes_grow_with_recipients():
    few, more, most, beyond = (
        shares.decoys(recipients)["same_name"] for recipients in (11_177, 22_354, 200_000, 10**7)
    )
    assert 0.0014 / 3 < few < 0.0014  # 5 of 3,557 real ones, which are few
    assert more == pytest.approx(2 * few)
    assert beyond == most
    assert shares.decoys(50)["near_name"] == shares.decoys(10**7)["near_name"]


def test_renamed_partners_are_not_findable(case):
    kinds, findable = case.partners["kind"], case.partners["findable"]
    assert 0.80 < share(findable) < 0.90
    assert share(findable.filter(pc.equal(kinds, "same"))) > 0.95
    assert share(findable.filter(has(kinds, "renamed"))) == 0.0
    assert share(findable.filter(has(kinds, "initials"))) == 0.0


# --- the rule of findable and acceptable, by hand

HAND_RECIPIENTS = [
    # hash, name, uei, parent, city, state, zip5
    ("alone", "KITWARE, INC.", "U1", None, "CLIFTON PARK", "NY", "12065"),
    ("east", "APEX LLC", "U2", None, "BOSTON", "MA", "02108"),
    ("west", "APEX INC", "U3", None, "SEATTLE", "WA", "98101"),
    ("town_a", "TWIN CO", "U4", None, "DENVER", "CO", "80201"),
    ("town_b", "THE TWIN COMPANY", "U5", None, "DENVER", "CO", "80299"),
    ("again_a", "DOUBLE LLC", "U6", None, "AUSTIN", "TX", "78701"),
    ("again_b", "DOUBLE", "U6", None, "AUSTIN", "TX", "78701"),
    ("child_a", "NESTED INC", "U7", None, "MIAMI", "FL", "33101"),
    ("child_b", "NESTED LLC", "U8", "U7", "MIAMI", "FL", "33101"),
    ("child_c", "NESTED LLC", "U9", "U7", "TAMPA", "FL", "33601"),
    ("nowhere", "HIDDEN INC", "UA", None, None, None, None),
    ("unplaced", "APEX CORP", "UB", None, None, None, None),
    ("short", "ORION", "UC", None, "RENO", "NV", "89501"),
    ("long", "ORION GROUP", "UD", None, "RENO", "NV", "89501"),
]
HAND_COMPANIES = [
    # name, its partner, city, state, zip5, evidence, expected findable, expected acceptable
    ("KITWARE", "alone", "CLIFTON PARK", "NY", "12065", True, True, ["alone"]),
    ("KITWARE", "alone", "RENO", "NV", "89501", True, True, ["alone"]),  # moved, but the only one of the name
    ("COINED AGAIN", "alone", "CLIFTON PARK", "NY", "12065", False, False, ["alone"]),  # renamed
    ("APEX", "east", "BOSTON", "MA", "02108", True, True, ["east"]),
    ("APEX", "east", "WORCESTER", "MA", "01601", True, True, ["east"]),  # the state is enough
    ("APEX", "east", "SEATTLE", "WA", "98199", True, False, ["east"]),  # moved to the town of a namesake
    ("APEX", "east", "MIAMI", "FL", "33101", True, False, ["east"]),  # no place agrees
    ("APEX", "unplaced", "MIAMI", "FL", "33101", True, False, ["unplaced"]),
    ("TWIN", "town_a", "DENVER", "CO", "80201", True, True, ["town_a"]),  # the ZIP code decides
    ("TWIN", "town_a", "DENVER", "CO", "80222", True, False, ["town_a"]),
    ("DOUBLE", "again_a", "AUSTIN", "TX", "78701", True, True, ["again_a", "again_b"]),
    ("NESTED", "child_a", "MIAMI", "FL", "33101", True, True, ["child_a", "child_b"]),
    ("NESTED", "child_c", "TAMPA", "FL", "33601", True, True, ["child_c"]),
    ("HIDDEN", "nowhere", "MIAMI", "FL", "33101", True, True, ["nowhere"]),
    ("ORION", "long", "RENO", "NV", "89501", True, False, ["long"]),  # has the name of another in its town
    ("ORION GROUP", "long", "RENO", "NV", "89501", True, True, ["long"]),
]


def test_findable_rule_by_hand(tmp_path):
    names = ("recipient_hash", "legal_business_name", "uei", "parent_uei", "city", "state", "zip5")
    known = pa.table(dict(zip(names, zip(*HAND_RECIPIENTS, strict=True), strict=True)))
    for field in RECIPIENTS:
        if field.name not in names:
            known = known.append_column(field, pa.nulls(len(known), field.type))
    pq.write_table(known, tmp_path / "recipients.parquet")
    by_hash = {row[0]: row for row in HAND_RECIPIENTS}
    rows = [
        {
            "company": f"C{number:06d}",
            "agency_tracking_numbers": [f"T{number}"],
            "name": name,
            "city": city,
            "state": state,
            "zip5": zip5,
            "evidence": evidence,
            "kind": "same",
            "decoy": None,
            "partner_recipient_hash": partner,
            "partner_legal_business_name": by_hash[partner][1],
            "partner_uei": by_hash[partner][2],
            "partner_parent_uei": by_hash[partner][3],
        }
        for number, (name, partner, city, state, zip5, evidence, *_) in enumerate(HAND_COMPANIES)
    ]
    companies = pa.Table.from_pylist(rows)
    decoy = companies.column_names.index("decoy")
    companies = companies.set_column(decoy, "decoy", pa.nulls(len(companies), pa.string()))
    write_truth(tmp_path / "truth.parquet", companies, tmp_path / "recipients.parquet")
    truth = pq.read_table(tmp_path / "truth.parquet").to_pylist()
    found = [(row["findable"], row["acceptable"]) for row in truth]
    assert found == [(findable, acceptable) for *_, findable, acceptable in HAND_COMPANIES]


# --- former names in an award download


def test_download_has_former_names(case, small):
    download = write_award_download(case.directory, seed=1)
    rows = pcsv.read_csv(download)
    current, before = normalise_names(rows["recipient_name"]), normalise_names(rows["recipient_name_raw"])
    with_uei = case.recipients.filter(pc.is_valid(case.recipients["uei"]))
    renamed = case.partners.filter(has(case.partners["kind"], "renamed"))
    names = pa.table({"uei": rows["recipient_uei"], "before": before})
    own = pa.table({"uei": renamed["right_uei"], "before": normalise_names(renamed["name"])})
    recorded = own.join(names, ["uei", "before"], join_type="left semi")

    assert not set(rows["recipient_uei"].to_pylist()) - set(with_uei["uei"].to_pylist())
    assert share(pc.equal(current, before)) == pytest.approx(1 - shares.RENAMED_SHARE, abs=0.08)
    assert len(recorded) / len(renamed) == pytest.approx(shares.RENAME_RECORDED_SHARE, abs=0.06)
    first, again = (write_award_download(small, seed=1).read_bytes() for _ in range(2))
    assert first == again
    assert write_award_download(small, seed=2).read_bytes() != first


def test_former_names_find_renamed_partners(small):
    measured = measure_former_names.measure(small, seed=1)
    rows = {cells[1].strip(): cells[2:4] for line in measured.splitlines() if len(cells := line.split("|")) > 3}
    [without, found], [recorded, _] = rows["of these matched"], rows["renamed and recorded"]

    assert int(recorded) > 10
    assert int(without) == 0
    assert int(found) > int(recorded) / 3
    # A former name is as rare or common as any: one or two of the 500 matches may be wrong by it.
    assert float(rows["precision"][1]) >= float(rows["precision"][0]) - 0.004


# --- equal names in different places


def test_place_decides_common_names(tmp_path):
    write_common_names(tmp_path / "a", sample=SAMPLE, seed=1)
    write_common_names(tmp_path / "b", sample=SAMPLE, seed=1)
    for name in ("right", "left", "truth"):
        assert (tmp_path / "a" / f"{name}.parquet").read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()
    right, left, truth = (pq.read_table(tmp_path / "a" / f"{name}.parquet") for name in ("right", "left", "truth"))
    right, left = (t.append_column("normal", normalise_names(t["name"])) for t in (right, left))
    sizes = right.group_by("normal").aggregate([("id", "count")])["id_count"]
    assert share(pc.greater(sizes, 1)) > 0.98
    assert 40 <= pc.max(sizes).as_py() <= 55
    assert len(left) == len(truth) == 1_000
    assert truth["left_id"].equals(left["id"])
    decided = truth["decided"]
    assert share(decided) == 0.7
    assert decided.equals(pc.is_valid(truth["right_id"]))
    town = ["normal", "city", "state"]
    counts = right.group_by(town).aggregate([("id", "count"), ("id", "min")])
    joined = left.append_column("decided", decided).append_column("right_id", truth["right_id"])
    joined = joined.join(counts, town, join_type="left outer")
    known = joined.filter(joined["decided"])
    assert share(pc.equal(known["id_count"], 1)) > 0.99
    assert share(pc.equal(known["id_min"], known["right_id"])) > 0.99
    others = joined.filter(pc.invert(joined["decided"]))
    assert share(pc.equal(others["id_count"], 1)) < 0.01
    assert 80 < pc.sum(pc.is_null(others["city"])).as_py() < 120
    assert 80 < pc.sum(pc.greater(pc.fill_null(others["id_count"], 0), 1)).as_py() < 120
