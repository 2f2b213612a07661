"""Settings of matching: the section ``matching`` of the settings file, and the parts of it that steps take.

``CandidateConfig`` is part of the key of a checkpoint. ``DecisionConfig`` acts on stored candidates and never re-runs a
chunk. Imports neither NumPy nor Arrow, because the command line imports it on every start.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from enrich_dist.core.files import document_digest

# Raise it whenever the same input would give other candidates or other comparison vectors: after a change of a rule, of
# a constant or of a file in data/.
# 5: placeholders for names are no evidence.
# 6: words that distinguish siblings, names in other scripts, numbers in words.
# 7: a name within a longer one is a level of its own; former names; legal forms of the world; parts of names;
# similar names at any size of the tables; candidates by address.
ENGINE_VERSION = "7"

Share = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveShare = Annotated[float, Field(gt=0.0, le=1.0)]


class SettingsSection(BaseModel):
    """A section of the settings. Its errors never repeat a value, which may be a secret in the wrong place."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false for anything else; Python would take them for 1 and 0."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are no value of this setting")
        return value


class CandidateConfig(SettingsSection):
    """Settings of blocking, described in ``config/base.yaml``. ``batch_rows`` bounds memory, never changes results."""

    min_name_overlap: PositiveShare = 0.45
    max_candidates_per_name: Annotated[int, Field(ge=1, le=1_000)] = 8
    max_block_size: Annotated[int, Field(ge=1, le=1_000_000)] = 2_000
    batch_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 65_536

    @classmethod
    def result_settings(cls) -> set[str]:
        """Return the names of the settings that affect candidates."""
        return set(CandidateConfig.model_fields) - {"batch_rows"}

    def digest(self) -> str:
        """Return the BLAKE3 digest, hexadecimal, of the settings that affect candidates."""
        return document_digest(self.model_dump(include=self.result_settings()))


class DecisionConfig(SettingsSection):
    """Thresholds on the match probability: of an accepted match, and of a candidate kept for review."""

    accept_probability: PositiveShare = 0.5
    review_probability: Share = 0.05

    @model_validator(mode="after")
    def _review_is_at_most_accept(self) -> DecisionConfig:
        if self.review_probability > self.accept_probability:
            raise ValueError(
                f"review_probability {self.review_probability} is above accept_probability {self.accept_probability}"
            )
        return self


class MatchingSettings(DecisionConfig, CandidateConfig):
    """The section ``matching``."""

    def candidates(self) -> CandidateConfig:
        """Return the settings of blocking."""
        return CandidateConfig(**self._part(CandidateConfig))

    def decision(self) -> DecisionConfig:
        """Return the thresholds."""
        return DecisionConfig(**self._part(DecisionConfig))

    def _part(self, model: type[SettingsSection]) -> dict[str, Any]:
        return self.model_dump(include=set(model.model_fields))
